"""Whether a licence, as its owner wrote it, keeps commercial use out."""

import re
import unicodedata

_ANY_USE = re.compile(
    r"\bcommercial(?:ly)?\s*(?:,|and|or|as well as|/)+\s*non[\s-]?commercial|"
    r"\bnon[\s-]?commercial(?:ly)?\s*(?:,|and|or|as well as|/)+\s*(?:for\s+)?commercial"
)
"""`free for commercial and non-commercial use` names both, and keeps nothing out."""

_USE = r"(?:research|academic|educational|education|scholarly|scientific|teaching|personal|private|evaluation)"
_NONCOMMERCIAL = re.compile(
    "|".join(
        (
            # The element NC beside others of Creative Commons: by-nc, cc nc, by-sa-nc; not the nc of NCSA or licence.
            r"\b(?:cc|by)(?:[\s_-]+(?:by|sa|nd))*[\s_-]+nc(?![a-z])",
            r"\bncgl\b",  # Non-Commercial Government Licence
            r"non[\s-]*commerc",
            r"n(?:icht|o|ão|ao)[\s-]*(?:kommerziell|comercial)",
            r"pas[\s-]*d['’]?\s*utilisation[\s-]*commerciale",
            r"\bno[\s-]+commercial",
            r"\bnot\s+(?:be\s+)?(?:for|used\s+for|used|allowed\s+for|permitted\s+for|to\s+be\s+used\s+for)"
            r"(?:\s+any)?\s+commercial",
            r"\bcommercial\s+(?:use|usage|purposes?|exploitation)\s+(?:is\s+|are\s+)?"
            r"(?:not\s+(?:permitted|allowed)|prohibited|forbidden|excluded|disallowed)",
            rf"\b{_USE}(?:\s+(?:or|and)\s+\w+|,\s*\w+)*[\s-]+(?:(?:use|usage|purposes?|work)\s+)?only\b",
            rf"(?<!not )\b(?:only|solely|exclusively|limited\s+to|restricted\s+to)\s+"
            rf"(?:(?:be\s+)?used?\s+|use\s+)?(?:(?:for|in|to)\s+)?(?:\w+[\s-]+)?{_USE}\b",
        )
    )
)


def is_noncommercial(licence: str | None) -> bool:
    """Say whether a licence's name or text allows non-commercial use alone.

    It knows the names in common use (`CC BY-NC-SA 4.0`, `non-commercial`, `for research use only`) and is no legal
    advice: an unknown licence (`None`) is not said to be non-commercial.
    """
    text = unicodedata.normalize("NFKC", licence or "").casefold()
    text = re.sub(r"[‐‑–—]", "-", text)
    return _NONCOMMERCIAL.search(_ANY_USE.sub(" ", text)) is not None
