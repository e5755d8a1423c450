"""Write the letters that languages are usually written with, from Unicode CLDR's main exemplar characters."""

import json
import re
import unicodedata

from mla_extend.demo.packages import Package, fetch, read_members
from mla_extend.language.pieces import LETTERS

CLDR = Package(
    "npm",
    "cldr-misc-full",
    "48.2.0",
    "c6ba8384d7ea8701cf86935db0461379231ddd970cc41c249f4a33b9857ded3c",
    "letters of languages: Unicode CLDR exemplar characters",
    "Unicode-3.0",
)
MOST = 500
"""Scripts with more characters know theirs from text: each that occurs is a piece."""


def letters() -> dict[str, str]:
    """Return the letters beyond ASCII of each language, and of a language in another script where it has two."""
    found: dict[str, str] = {}
    members = read_members(fetch(CLDR), lambda name: name.endswith("/characters.json"))
    for name, content in sorted(members.items()):
        code = name.split("/")[-2]
        listed = json.loads(content)["main"][code]["characters"]["exemplarCharacters"]
        escaped = re.sub(r"\\u([0-9A-F]{4})", lambda match: chr(int(match[1], 16)), listed.strip()[1:-1])
        spelled = unicodedata.normalize("NFC", re.sub(r"[{}\\ ]", "", escaped))
        own = "".join(sorted(character for character in set(spelled) if not character.isascii()))
        if re.fullmatch(r"[a-z]+(-[A-Z][a-z]{3})?", code) and 0 < len(own) <= MOST:
            found[code] = own
    return found


if __name__ == "__main__":
    head = f"# {CLDR.what} {CLDR.version}, licence {CLDR.licence}. Made by `docs/make_letters.py`; do not edit.\n"
    LETTERS.write_text(head + "".join(f"{code}\t{own}\n" for code, own in letters().items()), encoding="utf-8")
