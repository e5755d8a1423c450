"""Tiny made-up packages in the cache, so that the demo is built without network and in seconds."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn
from transformers import BertConfig, BertModel

from mla_extend.bases.efficientnet_lite import MODEL_TYPE, EfficientNetLite, SameConv
from mla_extend.demo import base as demo
from mla_extend.demo import classes as demo_classes
from mla_extend.demo import cldr, icons, packages
from mla_extend.demo import data as data_demo
from mla_extend.demo import locales as demo_locales
from mla_extend.demo import towers as demo_towers
from mla_extend.demo.packages import Package

WIDTH = 16
TOWER = {
    "model_type": MODEL_TYPE,
    "image_size": 224,
    "stem_width": 4,
    "stages": [[1, 3, 1, 1, 4], [2, 5, 2, 2, 6]],
    "features": 8,
}
WORDS = ["red", "big", "small", "old", "cat", "dog", "hat", "cup", "animal", "thing"]
NAMES = [f"{adjective} {noun}" for adjective in WORDS[:4] for noun in WORDS[4:8]]
EMOJI = [chr(0x1F600 + i) for i in range(len(NAMES))]

_PARTS = {"stem": "_conv_stem _bn0", "head": "_conv_head _bn1", "expand": "_expand_conv _bn0"}
_PARTS |= {"depthwise": "_depthwise_conv _bn1", "project": "_project_conv _bn2"}


def tar_gz(files: dict[str, bytes]) -> bytes:
    """Return a `.tgz` of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def place(cache: Path, package: Package, content: bytes) -> Package:
    """Put an archive where the cache keeps it, and return the package with its hash."""
    path = cache / "packages" / package.archive
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return replace(package, sha256=hashlib.sha256(content).hexdigest())


def annotations(names: dict[str, str], keywords: list[str]) -> bytes:
    """Return a CLDR file in which every emoji has these keywords."""
    entries = {emoji: {"default": [*keywords, name], "tts": [name]} for emoji, name in names.items()}
    return json.dumps({"annotations": {"identity": {}, "annotations": entries}}).encode()


def published_tower(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return random weights under the names of the published ones."""
    torch.manual_seed(0)
    weights = {"_fc.weight": torch.randn(3, config["features"]), "_fc.bias": torch.zeros(3)}
    for name, module in EfficientNetLite(config).named_modules():
        if isinstance(module, SameConv):
            where, _, last = name.rpartition(".")
            prefix = f"_{where}." if where else ""
            conv, norm = _PARTS[last].split()
            weights[f"{prefix}{conv}.weight"] = module.weight.detach().clone()
            state = nn.BatchNorm2d(module.out_channels).state_dict()
            for key in ("weight", "bias", "running_mean"):
                state[key] = torch.randn_like(state[key])
            weights |= {f"{prefix}{norm}.{key}": value for key, value in state.items()}
    return weights


def install(monkeypatch: pytest.MonkeyPatch, cache: Path, locales: dict[str, dict[str, str]]) -> None:
    """Make the whole demo tiny: 16 concepts, English and these locales (name by emoji)."""
    monkeypatch.setenv("MLA_EXTEND_CACHE", str(cache))
    files = {"package/annotations/en/annotations.json": annotations(dict(zip(EMOJI, NAMES, strict=True)), WORDS[8:])}
    for locale, names in locales.items():
        files[f"package/annotations/{locale}/annotations.json"] = annotations(names, [f"{locale}1", f"{locale}2"])
    fake = place(cache, packages.CLDR, tar_gz(files))
    for module in (cldr, demo, data_demo, demo_locales):
        monkeypatch.setattr(module, "CLDR", fake)
    sets = {}
    for k, (style, package) in enumerate(packages.ICONS.items()):
        drawn = {
            icons.slug(name): {"body": f'<circle cx="8" cy="8" r="{2 + i % 6}" fill="#{i:x}{k}f"/>'}
            for i, name in enumerate(NAMES)
        }
        content = {"icons": drawn, "aliases": {"turned": {"parent": "red-cat", "hFlip": True}}, "width": 16}
        sets[style] = place(cache, package, tar_gz({"package/icons.json": json.dumps(content).encode()}))
    for module in (icons, demo, data_demo, demo_locales):
        monkeypatch.setattr(module, "ICONS", sets)
    _install_towers(monkeypatch, cache)


def _install_towers(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    torch.manual_seed(1)
    weights = save(BertModel(config).state_dict())
    inner = {
        "config.json": json.dumps(config.to_dict()).encode(),
        "model.safetensors": weights,
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32, **special}
        ).encode(),
    }
    text = place(cache, packages.MINILM, zipped({demo_towers.TEXT_ARCHIVE: zipped(inner)}))
    tower = io.BytesIO()
    torch.save(published_tower(TOWER), tower)
    image = place(cache, packages.EFFICIENTNET, zipped({demo_towers.TOWER_WEIGHTS: tower.getvalue()}))
    for module in (demo, demo_towers):
        monkeypatch.setattr(module, "MINILM", text)
        monkeypatch.setattr(module, "EFFICIENTNET", image)
    monkeypatch.setattr(demo_towers, "TEXT_SHA256", hashlib.sha256(weights).hexdigest())
    monkeypatch.setattr(demo_towers, "tower_config", lambda: dict(TOWER))
    monkeypatch.setattr(demo, "tower_config", lambda: dict(TOWER))
    lists = ["n1\nn2\nn3\n", "n3\tcup, old cup\nn2\tdog\nn1\tcat\n", "n1\tanimal\nn2\tbig animal\nn3\tthing\n"]
    names = place(
        cache, packages.CLASSES, zipped({k: v.encode() for k, v in zip(demo_classes.FILES, lists, strict=True)})
    )
    for module in (demo, demo_classes):
        monkeypatch.setattr(module, "CLASSES", names)
    monkeypatch.setattr(demo, "NAMES", replace(demo.NAMES, unlike=4))
    monkeypatch.setattr(demo, "HEAD", replace(demo.HEAD, hidden=8, epochs=3, batch=8))
