"""Find what of a test set stands in the training data: the same or nearly the same sentences and pictures.

Text goes through in blocks that bound the memory, as arrays of code points. N is the number of rows asked about, M of
those in the test set.
"""

import functools
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mla_extend.data.pairs import Integers, Mask, blocks
from mla_extend.data.same_pictures import Pictures
from mla_extend.progress import SILENT, Progress

LEAST_LENGTH = 20
"""Columns of a text (a Chinese, Japanese or Korean character takes two) from which on the same or nearly is a leak.

Below, one word is a third of the text, and another word is another text; and lists of words and of names hold the same
short texts without any of them being of the test set."""
COINCIDENCE = 60
"""Columns of an image's text from which on it is no coincidence that a test image has it too.

Of Multi30K's 29,000 training captions, 24 in English, 51 in German and 70 in Czech stand at another training image too:
half of them have up to 31 columns, nine in ten up to 43, the longest 68. A shorter one leaks by its image alone."""
PAIR_WORDS = 3
"""Words of the longer side from which on a pair of two short texts that the test set holds as a pair is a leak. Of
fewer, it is an entry of a word list."""
SIMILARITY = 0.8
"""Share of the character trigrams of two texts that both hold (Jaccard), from which on they are nearly the same.

In a sentence of twelve words, it allows for one that is replaced. Of Multi30K's 29,000 training rows, 6 in German, 2
in English and 3 in Czech are that near to one of its 2,071 test sentences, and all of them say the same but for a
word; at 0.7 it is 25, 15 and 12, and most say something else."""
RUN = 5
"""Characters of the runs by which texts are looked up."""
LOOKED_UP = 0.6
"""Share of a text's runs, the rarest, by which it is looked up. More takes longer and finds the same."""

END = 0x110000
"""Ends a text, in arrays of code points."""
SPACE = ord(" ")
UNKNOWN = 1 << 32
"""What is added to tokens, of which those that no text holds are below 0, to make them positive."""
SEEN_BITS = 22
SEEN_SHIFT = np.uint64(64 - SEEN_BITS)
"""Of a run's number: what is left is its place in a table that tells most unknown runs at once."""

Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Floats = NDArray[np.floating]


class LeakIndex:
    """Hold a test set, and tell what leaks from it."""

    def __init__(
        self,
        texts: Iterable[str],
        natives: Iterable[str] = (),
        images: Iterable[Path] = (),
        pairs: Iterable[tuple[str, str]] = (),
        progress: Progress = SILENT,
    ) -> None:
        """Index a test set.

        Args:
            texts: its texts in the language.
            natives: its texts in the base's language.
            images: its pictures; one that cannot be read is left out.
            pairs: those of its texts in the language that have a translation in the base's, with that.
            progress: told of pictures that are looked at.
        """
        both = list(dict.fromkeys(pairs))
        self._pairs = _pair_hashes([text for text, _ in both], [native for _, native in both])
        self._texts, self._natives = _Sentences(texts), _Sentences(natives)
        self._pictures = Pictures(list(images), progress)

    def texts(self, texts: Sequence[str], natives: Sequence[str] | None = None) -> Mask:
        """Say of each row of parallel text `[N]` whether its text, or its native text, stands in the test set.

        Texts of at least `LEAST_LENGTH` columns do if they are the same but for case, punctuation, spaces and Unicode's
        compatible forms, or nearly so, from `SIMILARITY` on. Shorter ones do as a pair of at least `PAIR_WORDS` words.
        """
        leaked = self._texts.hold(texts)
        if natives is None:
            return leaked
        leaked |= self._natives.hold(natives)
        for start, part, others in blocks(texts, natives) if self._pairs.size else ():
            found = _pair_hashes(part, others or ())
            leaked[start : start + len(part)] |= np.isin(found, self._pairs) & (found != 0)
        return leaked

    def captions(self, texts: Sequence[str]) -> Mask:
        """Say of each text of an image `[N]` whether it stands in the test set and is too long for a coincidence."""
        return self._texts.hold(texts, COINCIDENCE)

    def images(self, paths: Sequence[Path], progress: Progress = SILENT) -> Mask:
        """Say of each picture `[N]` whether it is one of the test set: the same file, or nearly the same pixels.

        One that cannot be read is none.
        """
        return self._pictures.hold(paths, progress)


class _Plain(NamedTuple):
    """Hold texts without case, punctuation and repeated spaces.

    Attributes:
        codes: all code points, `END` after each text.
        row: the text of each code point.
        lengths: code points of each text.
        columns: columns that each takes.
    """

    codes: Codes
    row: Integers
    lengths: Integers
    columns: Integers


class _Sentences:
    """Hold the texts of a test set: hashes of the whole, and an index over the runs of `RUN` characters.

    Trigrams decide what is nearly the same, but each stands in too many texts to look one up by, and few texts share a
    run. Where two texts part, about twice as many of their runs differ as of their trigrams; of 8,725 sentences that
    a comparison with all texts finds, looking them up so misses 8.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

        plain = _plain(list(dict.fromkeys(texts)))
        self.whole = np.unique(_hashes(plain)[plain.lengths > 0])
        long = np.flatnonzero(plain.columns >= LEAST_LENGTH)
        self.plain, self.long = plain, long.tolist()
        self.trigrams: dict[int, set[int]] = {}
        row, run = _runs(plain, np.isin(np.arange(len(plain.lengths)), long))
        self.runs, place, count = np.unique(run, return_inverse=True, return_counts=True)
        self.seen = np.zeros(1 << SEEN_BITS, dtype=np.bool_)
        self.seen[self.runs >> SEEN_SHIFT] = True
        self.rank = np.empty(len(count), dtype=np.int64)
        self.rank[np.argsort(count, kind="stable")] = np.arange(len(count))
        row, token, self.sizes = _rarest(np.searchsorted(long, row), self.rank[place], len(long))
        ones = np.ones(len(row), dtype=np.int32)
        self.texts_of = csr_array((ones, (token, row)), shape=(len(self.runs), len(long)))

    def hold(self, texts: Sequence[str], least: int = LEAST_LENGTH) -> Mask:
        """Say of each text of so many columns whether it, or nearly it, is here."""
        leaked = np.zeros(len(texts), dtype=np.bool_)
        if not self.whole.size:
            return leaked
        for start, part, _ in blocks(texts, None):
            plain, block = _plain(part), slice(start, start + len(part))
            leaked[block] = np.isin(_hashes(plain), self.whole) & (plain.columns >= least)
            if self.sizes.size:
                asked = (plain.columns >= least) & ~leaked[block]
                leaked[start + self._near(plain, asked)] = True
        return leaked

    def _near(self, plain: _Plain, asked: Mask) -> Integers:
        """Return which of the asked texts are nearly the same as one here."""
        from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

        row, run = _runs(plain, asked)
        count = len(plain.lengths)
        sizes = np.bincount(row, minlength=count)
        known = np.bincount(row[self.seen[run >> SEEN_SHIFT]], minlength=count)
        hopeful = (sizes > 0) & (known >= sizes - _lost(sizes, SIMILARITY * sizes))
        kept = hopeful[row]
        row, run = row[kept], run[kept]
        place = np.minimum(np.searchsorted(self.runs, run), len(self.runs) - 1)
        unknown = -1 - (run >> np.uint64(32)).astype(np.int64)
        row, token, sizes = _rarest(row, np.where(self.runs[place] == run, self.rank[place], unknown), count)
        ones = np.ones(len(row), dtype=np.int32)
        few = csr_array((ones, (row, token)), shape=(count, len(self.runs)))
        found = (few @ self.texts_of).tocoo()
        mine, theirs = found.row, found.col
        # The least that `_shared` can give for a text, before it is asked for each pair.
        least = LOOKED_UP * sizes - _lost(sizes, SIMILARITY * sizes)
        likely = np.flatnonzero(found.data >= least[mine])
        likely = likely[found.data[likely] >= _shared(sizes[mine[likely]], self.sizes[theirs[likely]])]
        near: set[int] = set()
        own: dict[int, set[int]] = {}
        for i, j in zip(mine[likely].tolist(), theirs[likely].tolist(), strict=True):
            if i not in own:
                own[i] = _trigrams(plain, i)
            if j not in self.trigrams:
                self.trigrams[j] = _trigrams(self.plain, self.long[j])
            if len(own[i] & self.trigrams[j]) >= SIMILARITY * len(own[i] | self.trigrams[j]):
                near.add(i)
        return np.array(sorted(near), dtype=np.int64)


@functools.cache
def _tables() -> tuple[Mask, NDArray[np.int64]]:
    """Return of each code point whether it is kept (letters, marks, digits, symbols), and the columns it takes."""
    points = [chr(point) for point in range(sys.maxunicode + 1)]
    kept = np.array([unicodedata.category(point)[0] in "LMNS" for point in points])
    wide = np.array([unicodedata.east_asian_width(point) in "WF" for point in points])
    return np.append(kept, False), np.append(1 + wide.astype(np.int64), 0)


def _plain(texts: list[str]) -> _Plain:
    kept, columns = _tables()
    spelled = [folded(text) for text in texts]
    codes = np.frombuffer("".join(f"{text}\n" for text in spelled).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    codes = codes.astype(np.uint32)
    codes[np.cumsum(np.array([len(text) + 1 for text in spelled], dtype=np.int64)) - 1] = END
    letter, end = kept[codes], codes == END
    # Of what parts words, the first one becomes a space; none stays before the end.
    before = np.concatenate([[False], letter[:-1]])
    codes = np.where(letter | end, codes, np.uint32(SPACE))[letter | end | before]
    stays = np.ones(len(codes), dtype=np.bool_)
    stays[:-1] = (codes[:-1] != SPACE) | (codes[1:] != END)
    codes = codes[stays]
    end = codes == END
    row = np.cumsum(end) - end
    return _Plain(codes, row, np.bincount(row, minlength=len(texts)) - 1, _sums(columns[codes], row, len(texts)))


def folded(text: str) -> str:
    """Return a text without its differences in case and Unicode's compatible forms."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _sums(values: Integers, row: Integers, rows: int) -> Integers:
    return np.bincount(row, weights=values, minlength=rows).astype(np.int64)


def _mixed(values: Hashes) -> Hashes:
    """Return numbers that look random and are the same for the same values."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = values ^ (values >> np.uint64(31))
    return mixed


def _hashes(plain: _Plain) -> Hashes:
    """Return a number for each text; two of a million differ in text and not in number once in 40 million files."""
    starts = np.cumsum(plain.lengths + 1) - plain.lengths - 1
    place = (np.arange(len(plain.codes)) - starts[plain.row]).astype(np.uint64)
    mixed = _mixed(plain.codes.astype(np.uint64) + (place << np.uint64(21)) + np.uint64(0x9E3779B97F4A7C15))
    return np.add.reduceat(mixed, starts) if len(starts) else mixed


def _pair_hashes(texts: Sequence[str], natives: Sequence[str]) -> Hashes:
    """Return a number for each pair of texts; 0 for those of too few words."""
    one, other = _plain(list(texts)), _plain(list(natives))
    words = np.maximum(
        *(1 + np.bincount(side.row[side.codes == SPACE], minlength=len(side.lengths)) for side in (one, other))
    )
    both = (one.lengths > 0) & (other.lengths > 0) & (words >= PAIR_WORDS)
    return np.where(both, _mixed(_mixed(_hashes(one)) + _hashes(other)), np.uint64(0))


def _runs(plain: _Plain, asked: Mask) -> tuple[Integers, Hashes]:
    """Return the runs of `RUN` characters of the asked texts, as the text's number and a number for each run."""
    codes = plain.codes.astype(np.uint64)
    first, last = plain.row[: 1 - RUN], plain.row[RUN - 1 :]
    whole = (first == last) & (plain.codes[RUN - 1 :] != END) & asked[first]
    head = (codes[:-4] << np.uint64(42)) | (codes[1:-3] << np.uint64(21)) | codes[2:-2]
    tail = (codes[3:-1] << np.uint64(21)) | codes[4:]
    return first[whole], _mixed(_mixed(head[whole]) + tail[whole])


def _trigrams(plain: _Plain, row: int) -> set[int]:
    """Return a text's trigrams, each as one number."""
    start = int(np.searchsorted(plain.row, row))
    codes = plain.codes[start : start + plain.lengths[row]].astype(np.int64)
    return set(((codes[:-2] << 42) | (codes[1:-1] << 21) | codes[2:]).tolist())


def _lost(sizes: Integers, common: Floats) -> Floats:
    """Return how many of a text's runs another one may lack that has so many of its trigrams.

    An edit of one character touches three trigrams and five runs; a few more are for words that trade places.
    """
    lost: Floats = 2 * (sizes - common) + 4
    return lost


def _shared(mine: Integers, theirs: Integers) -> Floats:
    """Return how many of the runs by which they are looked up two texts share at least if they are nearly the same.

    If sets have all but `s` members in common, then at least `k` are among the `s + k` rarest of each.
    """
    common = SIMILARITY / (1 + SIMILARITY) * (mine + theirs)
    shared: Floats = np.minimum(
        LOOKED_UP * mine - _lost(mine, common),
        LOOKED_UP * theirs - _lost(theirs, common),
    )
    # Texts of very different length are not nearly the same whatever they share.
    alike = np.minimum(mine, theirs) + 2 >= SIMILARITY * np.maximum(mine, theirs)
    return np.where(alike, np.maximum(shared, 1), np.inf)


def _rarest(row: Integers, token: Integers, rows: int) -> tuple[Integers, Integers, Integers]:
    """Return of each row's different tokens the rarest that are known, by which it is looked up.

    Args:
        row: the row of each token.
        token: its rank among the known ones by how many texts hold it; below 0 if no text does.
        rows: the number of rows.

    Returns:
        Rows, tokens, and the number of different tokens of each row.
    """
    key = np.sort((row << 34) + (token + UNKNOWN))
    key = key[np.append(True, key[1:] != key[:-1])[: len(key)]]
    row, token = key >> 34, (key & ((1 << 34) - 1)) - UNKNOWN
    sizes = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - (np.cumsum(sizes) - sizes)[row]
    rare = (token >= 0) & (place < np.ceil(LOOKED_UP * sizes)[row])
    return row[rare], token[rare], sizes
