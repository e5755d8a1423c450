"""Look for what spoils parallel text and captions: empty, leaked, doubled, untranslated, broken, foreign, ill-paired.

Every row is looked at; nothing is sampled. Texts go through in blocks that bound the memory, characters are counted
by a table over all code points, and languages are told by py3langid's model, many texts at once. N is the number of
rows.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mla_extend.data.pairs import Integers, Mask, blocks
from mla_extend.data.speech import Speech, of_scripts
from mla_extend.errors import DataError
from mla_extend.progress import SILENT, Progress

PROBLEMS = (
    "empty",
    "unreadable",
    "leaked",
    "duplicate",
    "copy",
    "mojibake",
    "wrong_script",
    "wrong_language",
    "length_ratio",
)
"""In the order in which they are looked for: a row stands under its first."""
USELESS = 2
"""How many of them nothing can be learned from, so that no level keeps their rows."""
LEVELS = ("strict", "default", "off")


@dataclass(frozen=True)
class Limits:
    """Say from where on something is a problem.

    The rates of languages are of the Universal Declaration of Human Rights in 478 languages and scripts, cut to pieces
    of so many letters.

    Attributes:
        copies: equal sides of at most two words are names and loan words (Zulu, robot) as long as they are a smaller
            share of the rows than this; above, the file is not translated. Names are 0 to 2 % of the demo's rows.
        foreign: largest tolerated share of letters of other scripts. A name within a text stays below half of it;
            strict, below a third.
        letters: fewest letters by which a language is told. Of 25, 92 % of wrong pieces are found and 0.6 % of right
            ones are taken for wrong, most of them dialects that the texts file under a neighbour's code; of 18, 83 %
            and 0.5 %; of 12, 67 % and 0.4 %. Names of a word or two are never judged.
        likeliest: least probability of the other language. py3langid's probabilities are modest (it divides scores by
            the root of the length), so half is much.
        margin: how many times likelier than the right language it must be. Without it, relatives (Indonesian and
            Malay, Norwegian's two) lose up to 9 % of right pieces.
        native: least probability of the native language, where the right one is unknown to the model. At 0.8, no
            unknown language has more than 0.4 % of its pieces taken for English.
        deviations: largest tolerated distance of a length ratio from the file's median, in robust standard
            deviations of its logarithm. At 6, the demo's keyword lists, which do not correspond, lose at most 0.13 %
            of their rows, and where a tenth of Multi30K's captions is cut to a quarter, 74 % (German) and 43 %
            (Czech) of that are found; at 4, the demo loses 0.9 %. Captions in the wrong order are of like length
            and are not found.
    """

    copies: float
    foreign: float
    letters: int
    likeliest: float
    margin: float
    native: float
    deviations: float


DEFAULT = Limits(copies=0.1, foreign=0.5, letters=25, likeliest=0.5, margin=25, native=0.8, deviations=6)
STRICT = Limits(copies=0, foreign=1 / 3, letters=18, likeliest=0.4, margin=10, native=0.7, deviations=4)

COPY_WORDS = 2
COPY_CHARACTERS = 30
"""A name is no longer than this, also in scripts that do not part words."""
LEAST_SPREAD = 0.15
"""Standard deviation of a log length ratio that even a uniform file is granted; Multi30K's is 0.13 to 0.15."""
SHORT = 5
"""Characters by which both sides are lengthened before their ratio is taken, so that names may differ freely."""
LEAST_RATIOS = 30
"""Rows below which a median says nothing, and no ratio is judged."""
JUDGED = 300
"""Characters of a text by which its language is told; more do not change the verdict."""

ABBREVIATION = re.compile(r"(?<![a-zA-Z])[A-Z]{1,5}(?![a-zA-Z])")
"""What is written so in every script: ATM, DVD, SOS."""

Floats = NDArray[np.float32]

# Of a code point: what `_kinds` says about it.
VISIBLE, LETTER, OWN, FOREIGN, LEARNT, BROKEN = (1 << bit for bit in range(6))

# ftfy's expression needs two of its characters side by side, or one of these four; this one finds them in a fraction
# of the time, and most text of most languages has none.
SUSPICIOUS = re.compile(
    "[\x80-\u04ff\u2000-\u25ff\uf8ff\ufb01\ufb02\ufffd][\x80-\u04ff\u2000-\u25ff\uf8ff\ufb01\ufb02\ufffd]|[\x80-\x9fÂÃŒœ]"
)


@dataclass(frozen=True, eq=False)
class Findings:
    """Hold what is wrong with each row.

    Attributes:
        codes: `[N]`, 0 for nothing, else 1 + the place in `PROBLEMS`.
        level: at which level it was looked for.
    """

    codes: NDArray[np.uint8]
    level: str = "default"

    @property
    def kept(self) -> Mask:
        """Return which rows `[N]` are to be used: those without a problem; at level `off`, those that can be."""
        kept: Mask = (self.codes == 0) | (self.codes > USELESS) if self.level == "off" else self.codes == 0
        return kept

    def counts(self) -> dict[str, int]:
        """Return how many rows stand under each problem."""
        counts = np.bincount(self.codes, minlength=len(PROBLEMS) + 1)[1:]
        return {problem: int(count) for problem, count in zip(PROBLEMS, counts, strict=True)}

    def samples(self, problem: str, how_many: int) -> list[int]:
        """Return the numbers of some rows with a problem, evenly spread over all that have it.

        Raises:
            DataError: there is no such problem.
        """
        if problem not in PROBLEMS:
            raise DataError(f"{problem!r} is not a fault that is checked. Known: {', '.join(PROBLEMS)}.")
        rows = np.flatnonzero(self.codes == 1 + PROBLEMS.index(problem))
        places = np.linspace(0, len(rows) - 1, max(0, min(how_many, len(rows))))
        return [int(row) for row in rows[places.round().astype(np.int64)]]


def examine(
    target: Sequence[str],
    native: Sequence[str] | None,
    *,
    language: str,
    native_language: str = "en",
    level: str = "default",
    leaked: Mask | None = None,
    owners: Sequence[int] | None = None,
    unreadable: Mask | None = None,
    progress: Progress = SILENT,
) -> Findings:
    """Find what is wrong with each row of parallel text or captions. A row stands under the first that applies.

    - `empty`: a side has no letter, digit or symbol, only spaces, punctuation or what is not seen.
    - `unreadable`, `leaked`: as the caller says.
    - `duplicate`: a row before it, itself none of these, has the same sides (and image) but for case, spacing
      and Unicode's normal form.
    - `copy`: the sides are equal in the same sense and hold letters, and are not tolerated names (`Limits.copies`).
      Tolerated ones are not looked at further.
    - `mojibake`: a side was decoded wrongly, says ftfy, or holds U+FFFD or a control character U+0080 to U+009F.
    - `wrong_script`: too many of the target's letters are of scripts that the language is not written in. Letters
      that all scripts share and Latin abbreviations (DVD) do not count, and a Chinese, Japanese or Korean one counts
      twice. Skipped where nothing is known about the language's script, and where py3langid does not know the
      language and more than half of the file would be wrong: what is said of rare languages' scripts often is.
    - `wrong_language`: py3langid takes the target for another language (`Limits.likeliest`, `Limits.margin`). Where it
      does not know the language, or not in this script, only for being the native one (`Limits.native`), and not at
      all if that would be half of the rows so judged: then the two are relatives that it cannot tell apart.
    - `length_ratio`: target and native differ in length far more than the file's other rows do. Skipped for captions
      and for less than 30 rows.

    Args:
        target: `[N]` texts in the language.
        native: `[N]` texts that should say the same, or `None` for captions.
        language: the target's BCP-47 tag.
        native_language: the native text's.
        level: `default`; `strict`, with tighter limits; `off`, which finds what `default` finds and drops only what
            nothing can be learned from.
        leaked: `[N]`, the rows that a test set holds.
        owners: `[N]`, the image of each text: the same text of another image is no duplicate.
        unreadable: `[N]`, the rows whose image cannot be read.
        progress: told of each block of rows.

    Raises:
        DataError: no such level, or lengths that differ.
    """
    if level not in LEVELS:
        raise DataError(f"{level!r} is not a filter level. Known: {', '.join(LEVELS)}.")
    for name, values in (
        ("native texts", native),
        ("leaked marks", leaked),
        ("unreadable marks", unreadable),
        ("images", owners),
    ):
        if values is not None and len(values) != len(target):
            raise DataError(f"There are {len(target)} target texts and {len(values)} {name}; give one for each.")
    limits = STRICT if level == "strict" else DEFAULT
    rows = _Rows(len(target), Speech(language, native_language), limits)
    progress.start("Checking the text", total=len(target), unit="rows")
    for start, texts, others in blocks(target, native):
        at = slice(start, start + len(texts))
        rows.look(at, texts, others, None if owners is None else owners[at])
        progress.advance(len(texts))
    progress.finish()
    return Findings(rows.codes(leaked, unreadable), level)


def marked(problem: str, rows: Mask) -> Findings:
    """Return findings that know of one problem alone, in the rows `[N]` that a mask names."""
    return Findings(np.where(rows, 1 + PROBLEMS.index(problem), 0).astype(np.uint8))


class _Rows:
    """Gather what is seen of each row, then judge those that need the whole file."""

    def __init__(self, count: int, speech: "Speech", limits: Limits) -> None:
        self.speech, self.limits = speech, limits
        self.kinds = _kinds(speech.scripts, speech.learnt)
        self.found = {problem: np.zeros(count, dtype=np.bool_) for problem in PROBLEMS}
        self.key = np.zeros(count, dtype=np.uint64)
        self.name = np.zeros(count, dtype=np.bool_)
        self.like_native = np.zeros(count, dtype=np.bool_)
        self.judged = 0
        self.lengths = np.zeros((2, count), dtype=np.int32)

    def look(self, at: slice, target: list[str], native: list[str] | None, owners: Sequence[int] | None) -> None:
        """Look at a block of rows, each by itself."""
        seen = _count(target, self.kinds)
        letters, own, foreign, learnt = (seen[kind] for kind in (LETTER, OWN, FOREIGN, LEARNT))
        self.lengths[0, at] = seen[VISIBLE]
        self.found["empty"][at] = seen[VISIBLE] == 0
        bad = _garbled(target) | (seen[BROKEN] > 0)
        sides = [_folded(text) for text in target]
        keys = [sides]
        if native is not None:
            others = [_folded(text) for text in native]
            beside = _count(native, self.kinds)
            self.lengths[1, at] = beside[VISIBLE]
            self.found["empty"][at] |= beside[VISIBLE] == 0
            bad |= _garbled(native) | (beside[BROKEN] > 0)
            equal = np.array([a == b for a, b in zip(sides, others, strict=True)]) & (letters > 0)
            self.found["copy"][at] = equal
            for i in np.flatnonzero(equal):
                self.name[at.start + i] = len(sides[i]) <= COPY_CHARACTERS and sides[i].count(" ") < COPY_WORDS
            keys.append(others)
        if owners is not None:
            keys.append([str(owner) for owner in owners])
        self.key[at] = _digests(keys)
        self.found["mojibake"][at] = bad
        self.found["wrong_script"][at] = self._in_wrong_script(target, own, foreign)
        self._tell_languages(at, target, letters, learnt)

    def _in_wrong_script(self, target: list[str], own: Integers, foreign: Integers) -> Mask:
        if not self.speech.scripts:
            return np.zeros(len(target), dtype=np.bool_)
        own = own * self.speech.worth
        wrong: Mask = foreign > self.limits.foreign * (own + foreign)
        for i in np.flatnonzero(wrong) if "Latn" not in self.speech.scripts else ():
            abbreviated = sum(len(match[0]) for match in ABBREVIATION.finditer(target[i]))
            wrong[i] = foreign[i] - abbreviated > self.limits.foreign * (own[i] + foreign[i] - abbreviated)
        return wrong

    def _tell_languages(self, at: slice, target: list[str], letters: Integers, learnt: Integers) -> None:
        passed = ~(self.found["mojibake"][at] | self.found["copy"][at])
        places = np.flatnonzero(passed & (letters >= self.limits.letters))
        if not places.size:
            return
        own, native, other = self.speech.probabilities([target[i][:JUDGED] for i in places])
        known = (2 * learnt[places] >= letters[places]) & self.speech.known
        foreign = known & (other >= self.limits.likeliest) & (other >= self.limits.margin * own)
        self.found["wrong_language"][at.start + places[foreign]] = True
        self.like_native[at.start + places] = ~known & (native >= self.limits.native)
        self.judged += len(places)

    def codes(self, leaked: Mask | None, unreadable: Mask | None) -> NDArray[np.uint8]:
        """Return each row's first problem."""
        found = self.found
        for name, rows in (("leaked", leaked), ("unreadable", unreadable)):
            if rows is not None:
                found[name] |= rows
        usable = np.flatnonzero(~(found["empty"] | found["unreadable"] | found["leaked"]))
        again = np.ones(len(usable), dtype=np.bool_)
        again[np.unique(self.key[usable], return_index=True)[1]] = False
        found["duplicate"][usable[again]] = True
        names = self.name & found["copy"]
        if np.count_nonzero(names) < self.limits.copies * len(names):
            for problem in PROBLEMS[PROBLEMS.index("copy") :]:
                found[problem] &= ~names
        if 2 * np.count_nonzero(self.like_native) < self.judged:
            found["wrong_language"] |= self.like_native
        if 2 * np.count_nonzero(found["wrong_script"]) > np.count_nonzero(self.lengths[0]) and not self.speech.known:
            found["wrong_script"][:] = False
        found["length_ratio"] = self._ill_paired(~np.any([found[problem] for problem in PROBLEMS], axis=0) & ~names)
        codes = np.zeros(len(self.key), dtype=np.uint8)
        for number, problem in reversed(list(enumerate(PROBLEMS, 1))):
            codes[found[problem]] = number
        return codes

    def _ill_paired(self, sound: Mask) -> Mask:
        """Say which of the rows without another problem differ in length as no others do."""
        sound = sound & (self.lengths > 0).all(axis=0)
        result = np.zeros(len(sound), dtype=np.bool_)
        if np.count_nonzero(sound) < LEAST_RATIOS:
            return result
        target, native = self.lengths[:, sound]
        usual = np.median(target / native)
        ratio = np.log((target / usual + SHORT) / (native + SHORT))
        distance = np.abs(ratio - np.median(ratio))
        # The median of distances is 0.6745 standard deviations where they are normal.
        spread = max(float(np.median(distance)) / 0.6745, LEAST_SPREAD)
        result[sound] = distance > self.limits.deviations * spread
        return result


@functools.lru_cache(maxsize=4)
def _kinds(scripts: tuple[str, ...], learnt: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return what each code point is `[0x110000]`: a sum of the constants `VISIBLE` to `BROKEN`."""
    import regex  # noqa: PLC0415 - slow to import

    own = of_scripts(scripts)
    # Fillers count as letters in Unicode, and an empty Braille pattern as a symbol; none is seen.
    wanted = {
        VISIBLE: r"[[\p{L}\p{N}\p{S}]--[\p{Default_Ignorable_Code_Point}\u2800]]",
        LETTER: r"\p{L}",
        OWN: rf"[\p{{L}}&&{own}]",
        FOREIGN: rf"[\p{{L}}--[\p{{Script=Zyyy}}\p{{Script=Zinh}}]--{own}]",
        LEARNT: rf"[\p{{L}}&&{of_scripts(learnt)}]",
        BROKEN: r"[\u0080-\u009f\ufffd]",
    }
    everything = "".join(map(chr, range(0x110000)))
    kinds = np.zeros(0x110000, dtype=np.uint8)
    for kind, pattern in wanted.items():
        for match in regex.finditer(f"(?V1){pattern}+", everything):
            kinds[match.start() : match.end()] |= kind
    return kinds


def _count(texts: list[str], kinds: NDArray[np.uint8]) -> dict[int, Integers]:
    """Return how many characters of each kind each text has."""
    # With the line's end, no text is empty, and each has a place in the sums.
    codes = np.frombuffer("".join(f"{text}\n" for text in texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    lengths = np.array([len(text) + 1 for text in texts])
    starts = np.cumsum(lengths) - lengths
    found = kinds[codes]
    return {
        kind: np.add.reduceat((found & kind) != 0, starts, dtype=np.int64)
        for kind in (VISIBLE, LETTER, OWN, FOREIGN, LEARNT, BROKEN)
    }


def _garbled(texts: list[str]) -> Mask:
    from ftfy.badness import is_bad  # noqa: PLC0415 - slow to import

    return np.array([not text.isascii() and bool(SUSPICIOUS.search(text)) and is_bad(text) for text in texts])


def _folded(text: str) -> str:
    """Return a text without its differences in case, spacing and normal form."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def _digests(columns: Sequence[Sequence[str]]) -> NDArray[np.uint64]:
    """Return a number for each row of texts; among a million, two are the same by chance once in 40 million files."""
    rows = ("".join(f"{len(text)}:{text}" for text in row) for row in zip(*columns, strict=True))
    digests = (hashlib.blake2b(row.encode("utf-8", "surrogatepass"), digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype="<u8")
