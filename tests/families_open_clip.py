"""Small random models of open_clip, written as its hub folders hold them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.conftest import NATIVE_WORDS, native_tokenizer
from tests.families_text import liven

VISION: dict[str, Any] = {"layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16}
TEXT: dict[str, Any] = {"context_length": 16, "width": 16, "heads": 2, "layers": 2}
HALF = [0.5, 0.5, 0.5]
WEIGHTS = "open_clip_model.safetensors"


def siglip_tokenizer() -> PreTrainedTokenizerFast:
    """Make a word-level tokenizer that ends a text with its padding token and begins it with none."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "</s>", *NATIVE_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>", unk_token="<unk>", padding_side="right"
    )


def save_open_clip(
    folder: Path,
    *,
    text: dict[str, Any] | None = None,
    preprocessing: dict[str, Any] | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    **model: Any,
) -> Path:
    """Save a tiny random model; without a tokenizer of its own it reads open_clip's byte pairs."""
    open_clip = pytest.importorskip("open_clip", reason="needs the extra open-clip")
    torch.manual_seed(0)
    text_config = TEXT | (text or {})
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
        text_config |= {"vocab_size": len(tokenizer), "hf_tokenizer_name": "the-folder-itself"}
    config = {
        "model_cfg": {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": text_config} | model,
        "preprocess_cfg": {"mean": HALF, "std": HALF} | (preprocessing or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    made = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    liven(made, 0.1)
    save_file({name: tensor.contiguous() for name, tensor in made.state_dict().items()}, folder / WEIGHTS)
    return folder


def clip(folder: Path) -> Path:
    """Save a CLIP with open_clip's own tokenizer."""
    return save_open_clip(folder)


def custom_text(folder: Path) -> Path:
    """Save a CLIP whose text transformer is a module of its own, pooled at an end token that is named."""
    tokenizer = native_tokenizer("clip")
    text = {"pool_type": "eos", "eos_id": tokenizer.eos_token_id, "pad_id": tokenizer.pad_token_id}
    return save_open_clip(folder, custom_text=True, quick_gelu=True, tokenizer=tokenizer, text=text)


def siglip(folder: Path) -> Path:
    """Save a SigLIP: no causal mask, pooled at the last position, with a bias in its projection."""
    text = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    text["tokenizer_kwargs"] = {"clean": "canonicalize"}
    preprocessing = {"interpolation": "bicubic", "resize_mode": "squash"}
    return save_open_clip(
        folder,
        custom_text=True,
        init_logit_bias=-10,
        tokenizer=siglip_tokenizer(),
        text=text,
        preprocessing=preprocessing,
    )


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "open-clip": clip,
    "open-clip-custom-text": custom_text,
    "open-clip-siglip": siglip,
}


@torch.no_grad()
def reference(folder: Path, texts: list[str], images: list[Image.Image]) -> tuple[Tensor, Tensor | None]:
    """Encode by open_clip, as its documentation shows."""
    import open_clip

    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    return model.encode_text(tokenizer(texts)), model.encode_image(torch.stack([preprocess(image) for image in images]))


REFERENCES = dict.fromkeys(BUILDERS, reference)
