"""Names and keywords of emoji in 170 locales, from Unicode CLDR."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mla_extend.demo.packages import CLDR, fetch, read_members
from mla_extend.progress import SILENT, Progress


@dataclass(frozen=True)
class Annotation:
    """What one language calls a concept.

    Attributes:
        name: its short name (`tts`).
        keywords: other words for it, the name left out.
    """

    name: str
    keywords: tuple[str, ...]


def annotations(locale: str, progress: Progress = SILENT) -> dict[str, Annotation]:
    """Return what a CLDR locale calls each emoji that it has a name for; nothing if there is no such locale.

    Keys are emoji without variation selectors, as CLDR writes them.
    """
    return _annotations(fetch(CLDR, progress), locale)


def coverage(emoji: Collection[str], progress: Progress = SILENT) -> dict[str, int]:
    """Return how many of these emoji each locale names in its own file, without what it inherits."""
    files = read_members(fetch(CLDR, progress), lambda name: name.endswith("/annotations.json"))
    return {
        name.split("/")[-2]: sum(one in names for one in emoji)
        for name, content in sorted(files.items())
        for names in [_parse(content)]
    }


@lru_cache(maxsize=8)
def _annotations(archive: Path, locale: str) -> dict[str, Annotation]:
    member = f"package/annotations/{locale}/annotations.json"
    content = read_members(archive, member.__eq__).get(member)
    return {} if content is None else _parse(content)


def _parse(content: bytes) -> dict[str, Annotation]:
    found = {}
    for emoji, entry in json.loads(content)["annotations"].get("annotations", {}).items():
        names = entry.get("tts")
        if names:
            name = _clean(names[0])
            words = dict.fromkeys(_clean(word) for word in entry.get("default", ()))
            found[emoji] = Annotation(name, tuple(word for word in words if word != name))
    return found


def _clean(text: str) -> str:
    return " ".join(text.split())
