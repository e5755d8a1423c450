"""Tiny random models of real shapes, saved to disk as real ones are, and a tiny language to add to them."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from mla_extend.settings import KNOWN

os.environ.pop("COLUMNS", None)  # tests that run beside each other are given a narrow terminal, which fixes all widths

NATIVE_WORDS = ["a", "red", "green", "blue", "cat", "dog", "bird", "tree", "house", "boat", "runs", "sleeps", "sits"]
NATIVE_WORDS += ["under", "over", "near", "the", "big", "small", "old"]
TARGET_WORDS = ["moja", "nyekundu", "kijani", "bluu", "paka", "mbwa", "ndege", "mti", "nyumba", "boti", "kimbia"]
TARGET_WORDS += ["lala", "kaa", "chini", "juu", "karibu", "ile", "kubwa", "dogo", "zee"]


def sentences(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Make sentences of a toy language pair: word by word, so that there is something to align and to learn."""
    draw = random.Random(seed)
    native, target = [], []
    for _ in range(count):
        picked = [draw.randrange(len(NATIVE_WORDS)) for _ in range(draw.randint(2, 6))]
        native.append(" ".join(NATIVE_WORDS[i] for i in picked))
        target.append(" ".join(TARGET_WORDS[i] for i in picked))
    return native, target


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Assert that vectors are equal but for float32 rounding.

    Processors add in different orders, by the batch's shape too: the bound is 1e-5 of the largest value.
    """
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def native_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """Make a word-level tokenizer with the special tokens of CLIP or BERT."""
    special = ["<|startoftext|>", "<|endoftext|>"] if kind == "clip" else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    unknown = "<|endoftext|>" if kind == "clip" else "[UNK]"
    # CLIP's end token has the highest id, which its older pooling relies on.
    words = [*NATIVE_WORDS, *special] if kind == "clip" else [*special, *NATIVE_WORDS]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    begin, end = special[-2:]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])]
    )
    if kind == "clip":
        names = {"bos_token": begin, "eos_token": end, "pad_token": end, "unk_token": end}
    else:
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def processor_config(size: int) -> str:
    """Return the preprocessing of a CLIP model for small images."""
    half = [0.5, 0.5, 0.5]
    return json.dumps(
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": size},
            "crop_size": {"height": size, "width": size},
            "do_resize": True,
            "do_center_crop": True,
            "do_rescale": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "image_mean": half,
            "image_std": half,
            "resample": 3,
        }
    )


def save_clip(folder: Path, *, eos: int | None = None) -> Path:
    """Save a tiny random `CLIPModel`; `eos=2` gives it the pooling of old configurations."""
    torch.manual_seed(0)
    tokenizer = native_tokenizer("clip")
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id if eos is None else eos,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(processor_config(16))
    return folder


def save_dual_encoder(folder: Path, classes: int = 0) -> Path:
    """Save a tiny random dual encoder of the demo's kind, its image tower's classes among it if there are any."""
    from mla_extend.bases.dual_encoder_model import DualEncoderConfig, DualEncoderModel

    torch.manual_seed(0)
    tokenizer = native_tokenizer("bert")
    text = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    stages = [[1, 3, 1, 1, 8]]
    image = {"model_type": "efficientnet-lite0", "image_size": 16, "stem_width": 8, "stages": stages, "features": 16}
    config = DualEncoderConfig(text.to_dict(), image, projection_dim=16, classes=classes, unlike=16)
    model = DualEncoderModel(config)
    if model.image_classes is not None:
        torch.nn.init.constant_(model.image_classes.unlike.bias, 0.25)  # else the names would count for nothing
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(processor_config(16))
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a tiny CLIP."""
    return save_clip(tmp_path_factory.mktemp("bases") / "tiny-clip")


@pytest.fixture(scope="session")
def dual_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a tiny dual encoder."""
    return save_dual_encoder(tmp_path_factory.mktemp("bases") / "tiny-dual")


@pytest.fixture(params=["clip", "clip-old", "dual-encoder"])
def base_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a tiny base of each family."""
    if request.param == "dual-encoder":
        return request.getfixturevalue("dual_folder")
    if request.param == "clip":
        return request.getfixturevalue("clip_folder")
    return save_clip(tmp_path / "tiny-old", eos=2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Keep tests out of the user's cache and registry; only those of the real demo base share it."""
    if "demo" not in request.keywords:
        monkeypatch.setenv("MLA_EXTEND_CACHE", str(tmp_path / "cache"))
    for name in KNOWN:
        monkeypatch.delenv(f"MLA_EXTEND_{name.upper()}", raising=False)
    for module in ("base", "precision"):  # vectors of images are the same whatever the processor can
        monkeypatch.setattr(f"mla_extend.bases.{module}.computes_bf16", lambda _: False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # where platformdirs looks for the user's settings


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Give the paths of sixty small pictures, all different."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = []
    for i in range(60):
        path = folder / f"{i:02}.png"
        Image.fromarray(generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    return paths


@pytest.fixture
def data(tmp_path: Path, pictures: list[Path]) -> dict[str, Path]:
    """Write parallel text and image-text of a toy language."""
    native, target = sentences(400)
    parallel = tmp_path / "en-sw.tsv"
    parallel.write_text("".join(f"{a}\t{b}\n" for a, b in zip(native, target, strict=True)), encoding="utf-8")
    # The last ten pictures are in the test set alone: what training shares with it would be dropped.
    shown = [pictures[i % 50] if i < 150 else pictures[50 + i % 10] for i in range(200)]
    rows = [{"image": f"pictures/{shown[i].name}", "caption": target[i], "english": native[i]} for i in range(200)]
    images = tmp_path / "sw.jsonl"
    images.write_text("".join(json.dumps(row) + "\n" for row in rows[:150]), encoding="utf-8")
    test = tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps(row) + "\n" for row in rows[150:]), encoding="utf-8")
    return {"parallel": parallel, "images": images, "test": test}
