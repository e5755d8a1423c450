"""One spelling for text that is equal to the eye, whatever keyboard, file or phone it comes from.

The steps are plain ones that the `tokenizers` library and its JavaScript twin compute alike, and `tokenizer.json` holds
them: training, queries and exports see one text. SentencePiece is trained on what they make of its sentences.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers

MARKUP = r"<(?=(?:pad|unk|/?s|0[xX][0-9A-Fa-f]{2})>)"
"""The start of text that spells a special or a byte piece. It is parted from the rest, so that nobody can write one."""
INVISIBLE = (
    "\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What has neither ink nor width: soft hyphens, marks of direction, variation selectors, zero-width spaces, which some
write between the words of Thai and Khmer and others do not. The two joiners are another matter."""
SPACES = "\t-\r \x85\u1680\u2028\u2029\u2581\u2800\ufffd"
APOSTROPHES = "[’‘‛ʼʻʽ`′ꞌꞋʹ՚׳ߴߵ]| [\u0301\u0313\u0314]"
"""Apostrophes of typography, of alphabets and of keyboards; the last are what NFKC makes of `´`, `᾽` and `῾`."""
QUOTES, HYPHENS, DOTS = "[“”„‟״]", "[‐‒−]", "[‧∙⋅]"
DOTLESS_CAPITALS = (("İ", "i"), ("I", "ı"))
DOTTED = (("i\u0307", "i"), ("j\u0307", "j"), ("į\u0307", "į"))
"""A dot above a dotted letter is not seen. `İ` has one in small letters, and Lithuanian below an accent."""
FOLDED = (("ß", "ss"), ("ς", "σ"))
"""What capitals are spelled without, beside what each letter by itself becomes."""
TURKIC, DOTLESS, SHARE = ("tr", "az"), "ıİ", 0.005
"""Languages in which a capital `I` is a dotless `ı`, and the share of their letters that tells such languages by their
text. It is one in twenty in Turkish, and names in other languages' text are far fewer."""
ALIKE = (
    ("ی", "ي", 0.1), ("ک", "ك", 0.1), ("ہ", "ه", 0.1),
    ("ş", "ș", 1.0), ("ţ", "ț", 1.0), ("đ", "ð", 0.1), ("đ", "ɖ", 0.1), ("ə", "ǝ", 0.1), ("ə", "ә", 0.1),
)  # fmt: skip
"""Letters that look alike, in some of their forms or in capitals. Where text has one of them, and of the other at most
such a share, the other is a slip of a keyboard. Pashto has both `ی` and `ي`; no language both `ş` and `ș`."""
SEQUENCES = (
    *((f"\u0e4d{aa}{tone}", f"{tone}\u0e4d{aa}") for tone in "\u0e48\u0e49\u0e4a\u0e4b" for aa in ("\u0e32", "")),
    *((f"\u0ecd{aa}{tone}", f"{tone}\u0ecd{aa}") for tone in "\u0ec8\u0ec9\u0eca\u0ecb" for aa in ("\u0eb2", "")),
    ("เเ", "แ"), ("ເເ", "ແ"), ("ত্\u200d", "ৎ"),
    *((f"{letter}്\u200d", chillu) for letter, chillu in zip("ണനരലളക", "ൺൻർൽൾൿ", strict=True)),
)  # fmt: skip
"""Sequences that Unicode does not hold to be one, and readers do: `ำ` with a tone mark, `แ` as two of its half, letters
without a vowel that became characters. Each counts where text has any of its characters."""
VIRAMAS = "".join(chr(code) for code in range(0x900, 0x12000) if unicodedata.combining(chr(code)) == 9)
ARABIC = "\u0620-\u06ff\u0750-\u077f\u08a0-\u08ff"
UNJOINED = (
    "\u0621-\u0625\u0627\u0629\u062f-\u0632\u0648\u0660-\u066d\u0671-\u0677\u0688-\u0699\u06c0\u06c3-\u06cb\u06cd\u06cf"
    "\u06d2-\u06d5\u06dd\u06de\u06e9\u06ee-\u06f9\u0759-\u075b\u076b\u076c\u0771\u0773\u0774\u0778\u0779"
)
"""Arabic characters that join no following letter, so that nothing between them and it is seen."""
LATIN = "A-Za-z\u00c0-\u024f"
OTHER = "\u0370-\u1dff\u1f00-\u1fff\u2c80-\u2dff\u3040-\ud7ff\uf900-\ufdff\ufe70-\ufefc"
"""Letters, marks and digits of other scripts."""
JOINERS = "\u200c\u200d"
JOINER = frozenset(JOINERS)
_LATIN, _OTHER = f"[{LATIN}]{{2}}", f"[{OTHER}]"
PARTED = tuple(f"(?<={one})(?={two})" for one, two in ((_LATIN, _OTHER), (_OTHER, _LATIN)))
"""Where words in Latin letters stand beside others."""
JOINING = f"(?<=[{ARABIC}])(?<![{UNJOINED}])\u200c(?=[{ARABIC}])"
LONE_JOINER = f"(?<![{VIRAMAS}])[{JOINERS}](?![{VIRAMAS}])"

Normalise = Callable[[str], str]


def learn_normaliser(texts: Sequence[str], *, lower: bool = True, language: str | None = None) -> Any:
    """Return the `tokenizers` normaliser of a language.

    Where the language has another script, words in Latin letters are parted from what stands beside them: names and
    native words are often written there without a space.

    A joiner is kept where it can be seen. Between Arabic letters that would join, a non-joiner becomes a space, as who
    lacks the key writes it (Persian `می‌خواهم`); beside a virama both stay, if text has them at all (Sinhala `ශ්‍රී`);
    anywhere else they go.

    Args:
        texts: sentences of the language, which tell what it is written with.
        lower: fold case, by the language's own rule.
        language: its code; `None` lets the texts alone say whether they have a dotless i.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(unicodedata.normalize("NFKC", text))
    small: Counter[str] = Counter()
    for character, count in counts.items():
        small[character.lower()] += count
    letters = sum(count for character, count in small.items() if character.isalpha())
    dotless = (language or "").partition("-")[0] in TURKIC or sum(counts[c] for c in DOTLESS) > SHARE * letters
    steps: list[Any] = list(_first())
    if lower:
        steps += [normalizers.Replace(*pair) for pair in DOTLESS_CAPITALS if dotless]
        steps += [normalizers.Lowercase(), *(normalizers.Replace(*pair) for pair in FOLDED)]
    steps += [normalizers.Replace(*pair) for pair in DOTTED]
    for pair in ALIKE:
        for one, other in (pair[:2], pair[1::-1]):
            if small[one] > small[other] and small[other] <= pair[2] * small[one]:
                steps += [normalizers.Replace(*each) for each in _cases(other, one, lower)]
    if sum(count for character, count in small.items() if character.isalpha() and character > "\u036f") > letters / 2:
        steps += [_replace(pattern, " ") for pattern in PARTED]
    steps += [normalizers.Replace(*pair) for pair in SEQUENCES if set(pair[0] + pair[1]) & small.keys()]
    if any("\u0600" <= character <= "\u08ff" for character in counts):
        steps.append(_replace(JOINING, " "))
    kept = _replace(LONE_JOINER, "")
    seen = normalizers.Sequence([*steps, kept])
    joined = any(not JOINER.isdisjoint(seen.normalize_str(text)) for text in texts if not JOINER.isdisjoint(text))
    steps.append(kept if joined else _replace(f"[{JOINERS}]", ""))
    return normalizers.Sequence([*steps, *_last()])


def known_steps() -> list[Any]:
    """Return every step that `learn_normaliser` may take, as `tokenizer.json` holds it."""
    pairs = [each for one, other, _ in ALIKE for lower in (True, False) for each in _cases(one, other, lower)]
    pairs += [each for one, other, _ in ALIKE for lower in (True, False) for each in _cases(other, one, lower)]
    pairs += [*DOTLESS_CAPITALS, *FOLDED, *DOTTED, *SEQUENCES]
    steps = [*_first(), normalizers.Lowercase(), *(normalizers.Replace(*pair) for pair in pairs)]
    steps += [_replace(pattern, " ") for pattern in (*PARTED, JOINING)]
    steps += [_replace(pattern, "") for pattern in (LONE_JOINER, f"[{JOINERS}]")]
    return list(json.loads(normalizers.Sequence([*steps, *_last()]).__getstate__())["normalizers"])


def composed_first(tokenizer: Tokenizer) -> Tokenizer:
    """Return a foreign tokenizer that reads every normal form as the composed one, which it was made from.

    Its own steps may be SentencePiece's table, which goes by grapheme here and loses marks of decomposed text.
    """
    copied = Tokenizer.from_str(tokenizer.to_str())
    own = [] if copied.normalizer is None else [copied.normalizer]
    copied.normalizer = normalizers.Sequence([normalizers.NFC(), *own])
    return copied


def normalise_all(normaliser: Any, texts: Iterable[str]) -> list[str]:
    """Return the texts as a normaliser spells them, without those of which nothing is left."""
    return [spelled for text in texts if (spelled := normaliser.normalize_str(text))]


@lru_cache(maxsize=16)
def read_normaliser(content: str) -> Any:
    """Return the normaliser that a `tokenizer.json` describes in this part of it, held once for all languages."""
    model = {"type": "BPE", "vocab": {}, "merges": []}
    return Tokenizer.from_str(json.dumps({"normalizer": json.loads(content), "model": model})).normalizer


def _first() -> list[Any]:
    steps = [_replace(f"[{INVISIBLE}]", ""), normalizers.NFKC(), _replace(APOSTROPHES, "'"), _replace(QUOTES, '"')]
    return [*steps, _replace(HYPHENS, "-"), _replace(DOTS, "·")]


def _last() -> list[Any]:
    return [_replace(f"[{SPACES}]+", " "), normalizers.NFKC(), _replace(MARKUP, "< "), normalizers.Strip()]


def _replace(pattern: str, by: str) -> Any:
    return normalizers.Replace(Regex(pattern), by)


def _cases(old: str, new: str, lower: bool) -> list[tuple[str, str]]:
    return [(old, new)] if lower or old.upper() == old else [(old, new), (old.upper(), new.upper())]
