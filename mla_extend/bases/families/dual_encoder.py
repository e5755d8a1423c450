"""The dual encoder that this package defines: any BERT-like text tower with mean pooling beside an image tower."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mla_extend.bases.dual_encoder_model import DualEncoderModel
from mla_extend.bases.family import Family, load_pretrained, mean_pool


class DualEncoder(Family):
    """A bidirectional text tower, pooled by mean, whose own space is the shared space."""

    name = "dual-encoder"
    model_types = ("mla_dual_encoder",)
    embedding = "embeddings.word_embeddings"
    blocks = r"encoder\.layer\.\d+"

    def load(self, folder: Path) -> nn.Module:
        """Load a `DualEncoderModel`."""
        return load_pretrained(DualEncoderModel, folder)

    def max_tokens(self, model: Any) -> int:
        """Return the size of the position table."""
        return int(model.text_model.config.max_position_embeddings)

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Average over the tokens, the special ones included."""
        return mean_pool(hidden, mask)
