"""Tiny random models of the families that transformers defines, each saved to a folder as its publishers do."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from PIL import Image
from tokenizers import Tokenizer, models, trainers
from tokenizers.pre_tokenizers import Split
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    GemmaTokenizer,
    MetaClip2Config,
    MetaClip2Model,
    Siglip2Config,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipModel,
    SiglipTokenizer,
)

from tests.conftest import native_tokenizer, processor_config, save_clip, save_dual_encoder, sentences

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
HALF = [0.5, 0.5, 0.5]
Reference = Callable[[Path, list[str], list[Image.Image]], tuple[Tensor, Tensor | None]]
"""Text and image vectors by the library that a family comes from."""


def save_siglip(folder: Path) -> Path:
    """Save a `SiglipModel` with a SentencePiece tokenizer, `</s>` for its end and its padding."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(200)[0]),
        model_writer=pieces,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "pieces.model").write_bytes(pieces.getvalue())
    # Without the mask, as the publishers' conversion saves it.
    tokenizer = SiglipTokenizer(str(folder / "pieces.model"), model_max_length=16, model_input_names=["input_ids"])
    tokenizer.save_pretrained(folder)
    (folder / "pieces.model").unlink()
    _save_fixed_siglip(folder, len(tokenizer), pad=1, end=1)
    return folder


def save_siglip2_fixed(folder: Path) -> Path:
    """Save a SigLIP 2 of a fixed resolution: a `SiglipModel` with Gemma's tokenizer."""
    torch.manual_seed(0)
    tokenizer = gemma_tokenizer(GemmaTokenizer)
    tokenizer.save_pretrained(folder)
    _save_fixed_siglip(folder, len(tokenizer), pad=0, end=1)
    return folder


def save_siglip2_naflex(folder: Path) -> Path:
    """Save a SigLIP 2 that keeps an image's proportions: a `Siglip2Model`."""
    torch.manual_seed(0)
    tokenizer = gemma_tokenizer(Siglip2Tokenizer)
    text = SMALL | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    vision = SMALL | {"patch_size": 4, "num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).eval()
    _draw(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = {
        "image_processor_type": "Siglip2ImageProcessor",
        "patch_size": 4,
        "max_num_patches": 16,
        "image_mean": HALF,
        "image_std": HALF,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def save_chinese_clip(folder: Path) -> Path:
    """Save a `ChineseCLIPModel`."""
    torch.manual_seed(0)
    tokenizer = native_tokenizer("bert")
    text = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    vision = SMALL | {"image_size": 16, "patch_size": 8}
    config = ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    model = ChineseCLIPModel(config).eval()
    _draw(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = json.loads(processor_config(16)) | {"image_processor_type": "ChineseCLIPImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def save_metaclip2(folder: Path) -> Path:
    """Save a `MetaClip2Model`, whose end token is not the highest id and is looked for by it."""
    torch.manual_seed(0)
    tokenizer = native_tokenizer("bert")
    tokenizer.bos_token, tokenizer.eos_token = "[CLS]", "[SEP]"
    text = SMALL | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = SMALL | {"image_size": 16, "patch_size": 8}
    model = MetaClip2Model(MetaClip2Config(text_config=text, vision_config=vision, projection_dim=12)).eval()
    _draw(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(processor_config(16))
    return folder


def reference(folder: Path, texts: list[str], images: list[Image.Image]) -> tuple[Tensor, Tensor]:
    """Encode texts and images with transformers alone, as the models' own documentation does."""
    model = AutoModel.from_pretrained(folder).eval()
    fixed = {"padding": "max_length", "max_length": 16, "truncation": True}
    how = fixed if model.config.model_type.startswith("siglip") else {"padding": True}
    encoded = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", **how)
    encoded.pop("token_type_ids", None)
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=images, return_tensors="pt")
    pixels = {
        name: pixels[name] for name in ("pixel_values", "pixel_attention_mask", "spatial_shapes") if name in pixels
    }
    with torch.no_grad():
        found = model.get_text_features(**encoded), model.get_image_features(**pixels)
    text, image = (each if isinstance(each, Tensor) else each.pooler_output for each in found)
    return text, image


def gemma_tokenizer(kind: Any) -> Any:
    """Make a tokenizer of Gemma's classes with the settings that SigLIP 2 is published with."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    trained.train_from_iterator([text.replace(" ", "▁") for text in sentences(200)[0]], trainer)
    model = json.loads(trained.to_str())["model"]
    return kind(
        vocab=model["vocab"],
        merges=[tuple(pair) for pair in model["merges"]],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        do_lower_case=True,
        model_input_names=["input_ids"],
    )


def _save_fixed_siglip(folder: Path, vocabulary: int, *, pad: int, end: int) -> None:
    text = SMALL | {
        "vocab_size": vocabulary,
        "max_position_embeddings": 16,
        "projection_size": 12,
        "pad_token_id": pad,
        "bos_token_id": None,
        "eos_token_id": end,
    }
    # Its image tower has no projection: the shared space has the width of that tower.
    vision = SMALL | {"hidden_size": 12, "image_size": 16, "patch_size": 8}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).eval()
    _draw(model)
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": 16, "width": 16},
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": HALF,
        "image_std": HALF,
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def _draw(model: torch.nn.Module) -> None:
    """Draw weights large enough that texts differ, and a scale and a bias as SigLIP learns them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "logit_scale":
                parameter.fill_(2.3)
            elif name == "logit_bias":
                parameter.fill_(-5.0)
            elif parameter.dim() > 1:
                parameter.normal_(std=0.5)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "clip": save_clip,
    "clip-old": lambda folder: save_clip(folder, eos=2),
    "metaclip-2": save_metaclip2,
    "siglip": save_siglip,
    "siglip2-fixed": save_siglip2_fixed,
    "siglip2-naflex": save_siglip2_naflex,
    "chinese-clip": save_chinese_clip,
    "dual-encoder": save_dual_encoder,
}
REFERENCES: dict[str, Reference] = dict.fromkeys(BUILDERS, reference)
