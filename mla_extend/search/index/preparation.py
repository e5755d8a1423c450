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
"""What a part of a preparation is called."""


def preparation_of(base: "Base") -> str:
    """Return what decides the vectors that a base makes of pictures, as JSON.

    Versions of libraries are left out: what they move is far less than what tells two pictures apart, and a million
    pictures are not encoded again for it.
    """
    return json.dumps({name: value for name, value in image_encoding(base).items() if name in OURS}, sort_keys=True)


def is_todays(preparation: str) -> bool:
    """Say whether vectors could be made in this way today; empty is how they were made before that was written down."""
    return bool(preparation) and is_current(json.loads(preparation))


def what_changed(before: str, now: str) -> str:
    """Return in what two preparations differ."""
    if not before:
        return "by a version that did not record how"
    old, new = json.loads(before), json.loads(now)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "otherwise: " + "; ".join(OURS.get(name, name) for name in names)
