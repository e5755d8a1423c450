"""Hugging Face `VisionTextDualEncoderModel`: a BERT-like text tower with its pooler, beside any image tower."""

from pathlib import Path
from typing import Any

import transformers
from torch import Tensor, nn

from mla_extend.bases.family import Family, load_pretrained
from mla_extend.errors import BaseError


class VisionTextDualEncoder(Family):
    """A text tower of the kind of BERT or RoBERTa, pooled at its first token through a dense layer, and projected."""

    name = "vision-text-dual-encoder"
    model_types = ("vision-text-dual-encoder",)
    embedding = "embeddings.word_embeddings"
    blocks = r"encoder\.layer\.\d+"

    def load(self, folder: Path) -> nn.Module:
        """Load a `VisionTextDualEncoderModel`.

        Raises:
            BaseError: its text tower has no pooler, or is built in another way than BERT.
        """
        model: Any = load_pretrained(transformers.VisionTextDualEncoderModel, folder)
        tower = model.text_model
        if getattr(tower, "pooler", None) is None or not is_bert_like(tower):
            raise BaseError(
                f"The text tower of {folder} is of type {tower.config.model_type!r}, which gives no pooled output that "
                "could be projected. Use a model with a text tower like BERT, RoBERTa or XLM-RoBERTa."
            )
        return model  # type: ignore[no-any-return]

    def max_tokens(self, model: Any) -> int:
        """Return how many positions can hold tokens."""
        return usable_positions(model.text_model)

    def hidden_states(self, tower: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the text tower with positions that come from the mask."""
        return run_encoder(tower, ids, mask)

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Send the first token's state through the text tower's pooler and project it."""
        projected: Tensor = model.text_projection(model.text_model.pooler(hidden))
        return projected


def is_bert_like(tower: Any) -> bool:
    """Say whether a text tower has BERT's token table, as wide as its hidden states, and a list of blocks as BERT has.

    DistilBERT calls what holds the blocks otherwise.
    """
    table = getattr(getattr(tower, "embeddings", None), "word_embeddings", None)
    blocks = getattr(getattr(tower, "encoder", getattr(tower, "transformer", None)), "layer", None)
    # A list that is shorter than the tower is deep holds groups of shared blocks.
    return (
        type(table) is nn.Embedding
        and table.embedding_dim == tower.config.hidden_size
        and isinstance(blocks, nn.ModuleList)
        and len(blocks) == tower.config.num_hidden_layers
    )


def position_offset(tower: Any) -> int | None:
    """Return the position id of padding where tokens are counted from the next one on; `None` where from 0.

    RoBERTa and its kin count so, and find the padding by its id among the tokens.
    """
    offset = getattr(getattr(tower, "embeddings", None), "padding_idx", None)
    return None if offset is None else int(offset)


def usable_positions(tower: Any) -> int:
    """Return how many tokens the position table has room for."""
    offset = position_offset(tower)
    return int(tower.config.max_position_embeddings) - (0 if offset is None else offset + 1)


def run_encoder(tower: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Run a text tower on ids and mask, both `[B, T]`: hidden states `[B, T, W]`.

    Where positions depend on the id of padding, they are counted from the mask: in a language's own vocabulary that
    id is any piece.
    """
    offset = position_offset(tower)
    positions = {} if offset is None else {"position_ids": mask.long().cumsum(1) * mask.long() + offset}
    states: Tensor = tower(input_ids=ids, attention_mask=mask, **positions).last_hidden_state
    return states
