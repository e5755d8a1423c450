"""What decides the vectors of an index beside the pictures, and what to say where it has changed since."""

import json
from typing import TYPE_CHECKING

from mla_extend.bases.encoding import image_encoding, is_current

if TYPE_CHECKING:  # it imports torch, which a look at an index does without
    from mla_extend.bases.base import Base

OURS = {
    "rule": "how this version opens pictures",
    "video": "how it samples videos",
    "processor": "the base's own steps",
}
"""What a part of a preparation is called, where it is no library."""


def preparation_of(base: "Base") -> str:
    """Return what decides the vectors that a base makes of pictures here, as JSON."""
    return json.dumps(image_encoding(base), sort_keys=True)


def is_todays(preparation: str) -> bool:
    """Say whether vectors could be made in this way today; empty is how they were made before that was written down."""
    return bool(preparation) and is_current(json.loads(preparation))


def what_changed(before: str, now: str) -> str:
    """Return in what two preparations differ."""
    if not before:
        return "by a version that did not write down how"
    old, new = json.loads(before), json.loads(now)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    shown = [OURS.get(name) or f"{name} {old.get(name, 'absent')}, now {new.get(name, 'absent')}" for name in names]
    return "otherwise: " + "; ".join(shown)
