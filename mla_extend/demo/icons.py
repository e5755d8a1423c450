"""The demo's concepts and their pictures: one concept an emoji that all icon sets draw, one SVG a concept and set.

This module is light, so that the processes that draw can import it quickly.
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from mla_extend.demo.cldr import annotations
from mla_extend.demo.packages import ICONS, fetch, read_member
from mla_extend.extras import optional
from mla_extend.progress import SILENT, Progress

TRAINING_STYLES = ("noto", "twemoji", "openmoji")
TEST_STYLE = "fluent-emoji-flat"
STYLES = (*TRAINING_STYLES, TEST_STYLE)

IMAGE_SIZE = 224
"""Pixels, of both sides."""


@dataclass(frozen=True)
class Concept:
    """One thing that is drawn and named.

    Attributes:
        emoji: as CLDR writes it.
        name: English name.
        keywords: other English words for it.
    """

    emoji: str
    name: str
    keywords: tuple[str, ...]

    @property
    def code(self) -> str:
        """Return the code points, for example `1f468-200d-1f3a4`: the concept's file name."""
        return "-".join(f"{ord(character):x}" for character in self.emoji)

    @property
    def slug(self) -> str:
        """Return the name under which icon sets keep it."""
        return slug(self.name)


def slug(name: str) -> str:
    """Return an English name as icon sets write it: `O’clock & Co.` is `oclock-and-co`."""
    text = name.replace("#", "hash").replace("*", "asterisk").replace("&", "and")
    text = unicodedata.normalize("NFKD", text)
    text = "".join(c for c in text if not unicodedata.combining(c)).lower()
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"[’'.“”!]", "", text)).strip("-")


def concepts(progress: Progress = SILENT) -> list[Concept]:
    """Return the concepts that every icon set draws, in CLDR's order."""
    sets = [icon_set(style, progress) for style in STYLES]
    return [
        Concept(emoji, entry.name, entry.keywords)
        for emoji, entry in annotations("en", progress).items()
        if all(slug(entry.name) in icons for icons in sets)
    ]


def icon_set(style: str, progress: Progress = SILENT) -> dict[str, str]:
    """Return the SVG text of each icon of a set, aliases included."""
    content = json.loads(read_member(fetch(ICONS[style], progress), "package/icons.json"))
    icons = {name: _svg(icon, content) for name, icon in content["icons"].items()}
    for name, alias in content.get("aliases", {}).items():
        parent = content["icons"].get(alias["parent"])
        # Aliases of aliases and turned icons exist, but no concept needs them.
        if parent is not None and not alias.keys() - {"parent", "hFlip"}:
            icons[name] = _svg(parent, content, flip=bool(alias.get("hFlip")))
    return icons


def draw(svg: str) -> bytes:
    """Return an SVG as PNG bytes: 224 by 224 pixels on white."""
    resvg_py = optional("resvg_py", "Drawing the demo's images")
    png: bytes = resvg_py.svg_to_bytes(
        svg, background="white", width=IMAGE_SIZE, height=IMAGE_SIZE, skip_system_fonts=True
    )
    return bytes(png)


def _svg(icon: dict[str, Any], defaults: dict[str, Any], *, flip: bool = False) -> str:
    left, top, width, height = (
        icon.get(key, defaults.get(key, 0 if key in ("left", "top") else 16))
        for key in ("left", "top", "width", "height")
    )
    body = icon["body"]
    if flip:
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{IMAGE_SIZE}" height="{IMAGE_SIZE}" viewBox="{left} {top} {width} {height}">{body}</svg>'
    )
