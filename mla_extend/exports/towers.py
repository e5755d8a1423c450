"""The text tower with one language, and the image tower, as modules that can be traced.

Shapes: `B` batch, `T` tokens, `D` width of the shared space.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend.bases.base import Base


class TextTower(nn.Module):
    """Map ids and mask `[B, T]`, padded on the right, to vectors `[B, D]` of length 1.

    Which language it is, is decided by the route that is open while it runs.

    Args:
        base: holds the text tower.
        pad_id: what stands at masked places; it matters where the tower reads its padding.
        native: take the base's own path, which finds the end of a text by itself.
    """

    def __init__(self, base: Base, pad_id: int, native: bool) -> None:
        super().__init__()
        self.native = native
        self.model = base.model
        self.family = base.family
        self.pad_id = pad_id
        self.length = base.family.padded_length(base.model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return vectors."""
        ids, mask = input_ids, attention_mask
        if self.length is not None:
            rest = torch.zeros(ids.shape[0], self.length, dtype=ids.dtype, device=ids.device)
            mask = torch.cat([mask, rest], dim=1)[:, : self.length]
            ids = torch.cat([ids, rest], dim=1)[:, : self.length]
            ids = torch.where(mask.bool(), ids, self.pad_id)
        model: Any = self.model
        if self.native:
            return F.normalize(self.family.native_features(model, ids, mask), dim=-1)
        hidden = self.family.hidden_states(self.family.text_tower(model), ids, mask)
        return F.normalize(self.family.pool(model, hidden, mask, mask.sum(dim=1) - 1), dim=-1)


class TextTowerOfIds(nn.Module):
    """Map ids `[B, T]` alone to vectors `[B, D]` of length 1: a text goes up to its first end token.

    Args:
        base: holds the text tower.
        pad_id: what stands after the end.
        end_id: the end token.
        native: as for `TextTower`.
        most: tokens of a text that are read, its end included; what cuts texts may leave one more.
    """

    def __init__(self, base: Base, pad_id: int, end_id: int, native: bool, most: int) -> None:
        super().__init__()
        self.most = most
        self.tower = TextTower(base, pad_id, native)
        self.end_id = end_id

    def forward(self, text: Tensor) -> Tensor:
        """Return vectors."""
        ids = text.long()
        ends = (ids == self.end_id).int().argmax(dim=1).clamp(max=self.most - 1).unsqueeze(1)
        places = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        vectors: Tensor = self.tower(torch.where(places == ends, self.end_id, ids), (places <= ends).long())
        return vectors


class ImageTower(nn.Module):
    """Map pixels `[B, 3, H, W]` to vectors `[B, D]` of length 1.

    Args:
        base: holds the image tower.
        plain: its family takes the pixels by themselves, and not by their name.
    """

    def __init__(self, base: Base, plain: bool) -> None:
        super().__init__()
        self.plain = plain
        self.model = base.model
        self.family = base.family

    def forward(self, image: Tensor) -> Tensor:
        """Return vectors."""
        pixels: Any = image if self.plain else {"pixel_values": image}
        return F.normalize(self.family.image_features(self.model, pixels), dim=-1)
