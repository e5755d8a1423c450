"""The export to ONNX: a language's text tower with its tokenizer, or the image tower with its preprocessing."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mla_extend.errors import DataError
from mla_extend.exports.folder import finish, keep_card
from mla_extend.exports.hub_tokenizer import HubTokenizer, model_ids, probes
from mla_extend.exports.images import prepared, preprocess_cfg, sample_image
from mla_extend.exports.onnx_files import Arrays, quantise, require_onnx, run_onnx, write_onnx
from mla_extend.exports.readmes import image_readme, onnx_readme
from mla_extend.exports.subject import IMAGES, Subject
from mla_extend.exports.towers import ImageTower, TextTower
from mla_extend.files import write_json
from mla_extend.language.tokenizer import pad

TOLERANCE = 1e-4
"""How far a number of a vector of length 1 may lie from the model's own."""
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
OUTPUT = "sentence_embedding"


def write(subject: Subject, folder: Path, int8: bool) -> dict[str, Any]:
    """Write a text tower, or the image tower, to an empty folder; return what `export.json` says.

    Raises:
        DataError: a library is missing, or what was written gives other vectors than the model.
    """
    require_onnx()
    if subject.tag == IMAGES:
        return _write_images(subject, folder)
    tokenizer = subject.tokenizer()
    path = folder / MODEL
    write_text_tower(subject, tokenizer, folder / "full.onnx" if int8 else path)
    if int8:
        check_text_tower(subject, tokenizer, folder / "full.onnx")
        quantise(folder / "full.onnx", path)
        for left in folder.glob("full.onnx*"):
            left.unlink()
    (folder / TOKENIZER).write_text(tokenizer.json(), encoding="utf-8")
    keep_card(folder, subject.version_folder)
    found, error = check_text_tower(subject, tokenizer, path, tolerance=None if int8 else TOLERANCE)
    about = subject.about(
        "onnx",
        int8=int8,
        inputs=["input_ids", "attention_mask"],
        output=OUTPUT,
        dimension=found.shape[1],
        max_tokens=tokenizer.max_tokens,
        check=check_record(subject, len(found), error, TOLERANCE, int8=int8),
    )
    return finish(folder, about, onnx_readme(about))


def write_text_tower(subject: Subject, tokenizer: HubTokenizer, path: Path) -> None:
    """Write a text tower with ids and mask of any batch and length."""
    length = min(tokenizer.max_tokens, 6)
    ids = torch.full((2, length), tokenizer.end_id, dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with subject.active():
        tower = TextTower(subject.model.base, tokenizer.pad_id, subject.native)
        write_onnx(tower, path, inputs, OUTPUT, dynamic=(0, 1))


def check_text_tower(
    subject: Subject, tokenizer: HubTokenizer, path: Path, tolerance: float | None = TOLERANCE
) -> tuple[NDArray[np.float32], float]:
    """Return a written text tower's vectors of the probes, and the largest difference from the model's own.

    Each probe is run by itself and all in one batch.

    Raises:
        DataError: the difference is above the tolerance.
    """
    texts = probes(tokenizer.max_tokens)
    rows = model_ids(subject.model, subject.tag, texts)
    one, *single = run_onnx(path, [_feed(rows, tokenizer.pad_id), *(_feed([row], tokenizer.pad_id) for row in rows)])
    due = subject.model.encode_text(texts, subject.tag).numpy()
    return one, compare(subject, np.stack([one, np.concatenate(single)]), due, tolerance)


def compare(subject: Subject, found: NDArray[np.float32], due: NDArray[np.float32], tolerance: float | None) -> float:
    """Return the largest difference between vectors.

    Raises:
        DataError: it is above the tolerance, or something is not a number.
    """
    error = float(np.abs(found - due).max())
    if not np.isfinite(error) or (tolerance is not None and error > tolerance):
        raise DataError(
            f"The export of {subject.tag!r} over the base {subject.model.base.identity.name!r} gives vectors "
            f"unlike the model's (by {error:.1e}, at most {tolerance or 1:.0e} is allowed). Nothing was written. This "
            "is a bug in mla-extend: please report it."
        )
    return error


def check_record(subject: Subject, count: int, error: float, tolerance: float, *, int8: bool = False) -> dict[str, Any]:
    """Return what `export.json` says of the check."""
    what = "image" if subject.tag == IMAGES else "probe texts"
    sentence = f"Checked on {count} {what}: vectors equal to the model's within {error:.0e}."
    if int8:
        sentence = f"int8 weights: on {count} probe texts, vector components differ by up to {error:.0e}."
    return {"count": count, "largest_difference": error, "tolerance": None if int8 else tolerance, "sentence": sentence}


def _feed(rows: list[list[int]], pad_id: int) -> Arrays:
    batch = pad(rows, pad_id)
    return {"input_ids": batch.ids.numpy(), "attention_mask": batch.mask.numpy()}


def _write_images(subject: Subject, folder: Path) -> dict[str, Any]:
    cfg = preprocess_cfg(subject.model.base)
    due, error, difference = write_image_tower(subject, cfg, folder / MODEL, "pixel_values")
    write_json(folder / "preprocess_cfg.json", cfg)
    about = subject.about(
        "onnx",
        int8=False,
        inputs=["pixel_values"],
        output="image_embedding",
        dimension=due.shape[1],
        preprocessing_difference=difference,
        check=check_record(subject, 1, error, TOLERANCE),
    )
    return finish(folder, about, image_readme(about))


def write_image_tower(
    subject: Subject, cfg: dict[str, Any], path: Path, name: str
) -> tuple[NDArray[np.float32], float, float]:
    """Write the image tower with pixels of any batch.

    Returns:
        The model's vector `[1, D]` of a sample image, the largest difference of the written tower's from it, and that
        of an image prepared by `preprocess_cfg.json` alone.

    Raises:
        DataError: the base prepares its images in another way, or the vectors are others.
    """
    base = subject.model.base
    image = sample_image()
    pixels = base.family.pixels(base.processor, [image])
    plain = isinstance(pixels, Tensor)
    if not plain and set(pixels.keys()) != {"pixel_values"}:
        raise DataError(
            f"The image tower of the base {base.identity.name!r} takes {', '.join(pixels.keys())}, not pixels "
            "alone. It cannot be exported."
        )
    tensor: Tensor = pixels if plain else pixels["pixel_values"]
    write_onnx(ImageTower(base, plain), path, {name: torch.cat([tensor, tensor])}, "image_embedding", dynamic=(0,))
    due = base.encode_images([image]).numpy()
    one, own = run_onnx(path, [{name: tensor.numpy()}, {name: prepared(image, cfg)[None]}])
    return due, compare(subject, one, due, TOLERANCE), float(np.abs(own - due).max())
