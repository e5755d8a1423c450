"""Hugging Face `ChineseCLIPModel`: a BERT text tower, pooled at its first token, linear projection."""

from pathlib import Path
from typing import Any

import transformers
from torch import Tensor, nn

from mla_extend.bases.family import Family, as_features, load_pretrained


class ChineseClip(Family):
    """Chinese-CLIP (Yang et al. 2022); its native language is Chinese."""

    name = "chinese-clip"
    model_types = ("chinese_clip",)
    embedding = "embeddings.word_embeddings"
    blocks = r"encoder\.layer\.\d+"

    def load(self, folder: Path) -> nn.Module:
        """Load a `ChineseCLIPModel`."""
        return load_pretrained(transformers.ChineseCLIPModel, folder)

    def text_tower(self, model: Any) -> nn.Module:
        """Return the text tower."""
        tower: nn.Module = model.text_model
        return tower

    def max_tokens(self, model: Any) -> int:
        """Return the size of the position table."""
        return int(model.config.text_config.max_position_embeddings)

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Take the first token's state and project it."""
        projected: Tensor = model.text_projection(hidden[:, 0])
        return projected

    def native_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return `get_text_features`."""
        return as_features(model.get_text_features(input_ids=ids, attention_mask=mask))

    def image_features(self, model: Any, pixels: Tensor) -> Tensor:
        """Return `get_image_features`."""
        return as_features(model.get_image_features(pixel_values=pixels))
