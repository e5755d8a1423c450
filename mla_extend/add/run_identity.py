"""What decides the weights of a run: a run goes on only as the run that it was."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from mla_extend.add.request import Request
from mla_extend.bases.base import Base
from mla_extend.bases.encoding import TEXT_RULE
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.images import PREPARATION
from mla_extend.language.pieces import CUTTING_RULE
from mla_extend.training.split import Split

SHOWN = 60


@dataclass(frozen=True)
class RunIdentity:
    """Hold what makes a run the same run.

    Attributes:
        decides: what the weights follow from: the rows that are trained on and those held out (texts, image contents,
            weights, in order), the recipe, the seed, the base, the start, the rules of this package.
        asked: what the user gave that those rows came from, to name a difference by.
    """

    decides: Mapping[str, Any]
    asked: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Return the SHA-256 over what decides."""
        return hashlib.sha256(json.dumps(self.decides, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return it for the run's folder."""
        return {"decides": dict(self.decides), "asked": dict(self.asked)}

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Say in what this run is not another one, which its folder describes; `other` is what `to_json` gave."""
        decides, asked = other.get("decides"), other.get("asked")
        if not isinstance(decides, Mapping) or not isinstance(asked, Mapping):
            return ["it was started by another version of mla-extend"]
        found = _keys_that_differ(self.decides, decides)
        if any(line.startswith(ROWS) for line in found):
            found += _keys_that_differ(self.asked, asked)
        return found


ROWS = "rows"
NAMES = {
    "parallel": "parallel data",
    "lexicon": "lexicon",
    "text": "text",
    "image_text": "image text",
    "test_set": "test set",
}
"""What the user gave, by the role that it has in a card."""


def run_identity(
    request: Request, held_out: Split, base: Base, images: Sequence[bytes], start_from: Mapping[str, str] | None = None
) -> RunIdentity:
    """Return what decides the weights of a run.

    Args:
        request: what was asked for.
        held_out: its rows, and which are held out.
        base: the base at hand.
        images: the content of each of `held_out.image_text`'s pictures.
        start_from: `language` and `version` of what it starts from, if it does.
    """
    pairs, pictures = request.parallel, held_out.image_text
    decides: dict[str, Any] = {
        "language": request.tag,
        "base": {"name": base.identity.name, "fingerprint": base.identity.fingerprint},
        "recipe": request.recipe.model_dump(mode="json"),
        "seed": request.seed,
        "time": request.time,
        "start_from": dict(start_from) if start_from else None,
        "rules": {"text": TEXT_RULE, "images": PREPARATION, "cutting": CUTTING_RULE},
        f"{ROWS} trained on, pairs": _digest(_pair_rows(pairs.subset(~held_out.pairs))),
        f"{ROWS} held out, pairs": _digest(_pair_rows(pairs.subset(held_out.pairs))),
    }
    if pictures is not None and held_out.captions is not None:
        trained, held = np.flatnonzero(~held_out.captions), np.flatnonzero(held_out.captions)
        decides |= {
            f"{ROWS} trained on, captions": _digest(_caption_rows(pictures, images, trained)),
            f"{ROWS} held out, captions": _digest(_caption_rows(pictures, images, held)),
            f"{ROWS} of images": _digest((image.hex(),) for image in images),
        }
    if (words := held_out.lexicon) is not None:
        decides[f"{ROWS} of the lexicon"] = _digest(_pair_rows(words))
    if held_out.text:
        decides[f"{ROWS} of text"] = _digest((text,) for text in held_out.text)
    asked: dict[str, Any] = {"filter": request.filter, "columns": request.columns, "test set": None}
    for record in request.data:
        key = NAMES[record["role"]]
        content = [record["path"], record.get("split"), record.get("weight", 1), str(record["sha256"])[:16]]
        asked[key] = [*(asked.get(key) or ()), content]
    return RunIdentity(decides, asked)


def _pair_rows(pairs: ParallelText) -> Iterable[tuple[str, ...]]:
    weights = repeat("1") if pairs.weights is None else (repr(float(weight)) for weight in pairs.weights)
    yield from zip(pairs.native, pairs.target, weights, strict=False)


def _caption_rows(pictures: ImageText, images: Sequence[bytes], rows: Iterable[int]) -> Iterable[tuple[str, ...]]:
    weights = pictures.weights
    for i in rows:
        image = images[pictures.image_of_text[i]].hex()
        yield pictures.texts[i], image, "1" if weights is None else repr(float(weights[i]))


def _digest(rows: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """Return the number of rows, and a hash over them in their order."""
    digest, count = hashlib.sha256(), 0
    for row in rows:
        for value in row:
            content = value.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "big") + content)
        count += 1
    return {"count": count, "sha256": digest.hexdigest()}


def _keys_that_differ(new: Mapping[str, Any], old: Mapping[str, Any], within: str = "") -> list[str]:
    keys = dict.fromkeys([*new, *old])
    return [line for name in keys for line in _different(f"{within}{name}", new.get(name), old.get(name))]


def _different(key: str, new: Any, old: Any) -> list[str]:
    """Say how a value differs from what it was, key by key."""
    if new == old:
        return []
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        if "count" in new and "count" in old:
            count = f"{new['count']}, were {old['count']}"
            return [f"{key}: {count}" if new["count"] != old["count"] else f"{key}: {new['count']} others"]
        return _keys_that_differ(new, old, f"{key}.")
    return [f"{key}: {_short(new)}, was {_short(old)}"]


def _short(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, list) for one in value):  # sources
        value = ", ".join(f"{path}{f'#{split}' if split else ''} ({sha})" for path, split, _, sha in value)
        return str(value)
    text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
