"""What decides a base's own vector of a text or an image, beside the text or the image itself."""

import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mla_extend.images import PREPARATION
from mla_extend.images.video import RULE as VIDEO_RULE

if TYPE_CHECKING:  # it imports torch, which a look at the cache does without
    from mla_extend.bases.base import Base

TEXT_RULE = "1"
"""Counts the ways in which this package has handed native text to a base."""
OWN = frozenset({"base", "rule", "video", "processor", "precision"})
"""What stands in an encoding beside versions of libraries."""
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory, as functions among a processor's steps tell."""


def text_encoding(base: "Base") -> dict[str, str]:
    """Return what decides the vector of a native text: the base, our own rule, and the libraries that cut it."""
    return {"base": base.identity.fingerprint, "rule": TEXT_RULE, **_versions("transformers", "tokenizers")}


def image_encoding(base: "Base") -> dict[str, str]:
    """Return what decides the vector of an image: the base, how it is prepared, and the libraries that prepare it."""
    from mla_extend.bases.precision import computes_bf16  # noqa: PLC0415 - as above

    processor = base.processor
    values = processor.to_dict() if hasattr(processor, "to_dict") else repr(processor)
    kinds = type(processor).__mro__
    torchvision = any("torchvision" in f"{one.__module__}.{one.__qualname__}".lower() for one in kinds)
    return {
        "base": base.identity.fingerprint,
        "rule": PREPARATION,
        "video": VIDEO_RULE,
        **({"precision": "bf16"} if computes_bf16(base.device) else {}),
        "processor": f"{kinds[0].__qualname__} {ADDRESS.sub('', json.dumps(values, sort_keys=True, default=str))}",
        **_versions("transformers", "pillow", *(["torchvision"] if torchvision else [])),
    }


def is_current(space: Mapping[str, str]) -> bool:
    """Say whether vectors could be made in this way today, by this version and the libraries that are here."""
    ours = {"rule": PREPARATION, "video": VIDEO_RULE} if "processor" in space else {"rule": TEXT_RULE}
    libraries = [name for name in space if name not in OWN]
    return all(space.get(key) == value for key, value in {**ours, **_versions(*libraries)}.items())


def _versions(*names: str) -> dict[str, str]:
    """Return the minor versions of libraries: what changes a vector does not come with a patch."""
    found = {}
    for name in names:
        try:
            found[name] = ".".join(version(name).split(".")[:2])
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
