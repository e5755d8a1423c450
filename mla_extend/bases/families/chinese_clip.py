"""Hugging Face `ChineseCLIPModel`: a BERT text tower, pooled at its first token, linear projection."""

from pathlib import Path
from typing import Any

import transformers
from torch import Tensor, nn

from mla_extend.bases.family import Family, load_pretrained


class ChineseClip(Family):
    """Chinese-CLIP (Yang et al. 2022); its native language is Chinese."""

    name = "chinese-clip"
    model_types = ("chinese_clip",)
    embedding = "embeddings.word_embeddings"
    blocks = r"encoder\.layer\.\d+"

    def load(self, folder: Path) -> nn.Module:
        """Load a `ChineseCLIPModel`."""
        return load_pretrained(transformers.ChineseCLIPModel, folder)

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Take the first token's state and project it."""
        projected: Tensor = model.text_projection(hidden[:, 0])
        return projected
