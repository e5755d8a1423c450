"""Hugging Face `CLIPModel` and `MetaClip2Model`: causal mask, end-token pooling, linear projection."""

from pathlib import Path
from typing import Any

import transformers
from torch import Tensor, nn

from mla_extend.bases.family import Family, load_pretrained, take_positions
from mla_extend.bases.source import model_type


class Clip(Family):
    """CLIP as Hugging Face saves it (Radford et al. 2021), and MetaCLIP 2, which has another tokenizer."""

    name = "clip"
    model_types = ("clip", "metaclip_2")
    embedding = "embeddings.token_embedding"
    blocks = r"encoder\.layers\.\d+"

    def load(self, folder: Path) -> nn.Module:
        """Load a `CLIPModel` or a `MetaClip2Model`."""
        newer = model_type(folder) == "metaclip_2"
        return load_pretrained(transformers.MetaClip2Model if newer else transformers.CLIPModel, folder)

    def text_tower(self, model: Any) -> nn.Module:
        """Return the text transformer; older versions of transformers wrap it once more."""
        tower: nn.Module = getattr(model.text_model, "text_model", model.text_model)
        return tower

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Take the end token's state (already after the final LayerNorm) and project it.

        The model's own pooling looks for *its* end id in the ids, which a foreign vocabulary gives another meaning;
        hence the position comes from the language's tokenizer.
        """
        projected: Tensor = model.text_projection(take_positions(hidden, ends))
        return projected
