"""Many rows of different length (texts, or their ids) as one flat array: in memory while small, else in a file.

Ten million Python texts take gigabytes beside what they say, and as many lists of ids more. The file has no name where
the system allows that, so that nothing is left of it however the process ends.
"""

import mmap
import tempfile
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mla_extend.cache import cache_folder
from mla_extend.files import make_folder, writing_to

Row = TypeVar("Row")
Rows = NDArray[Any]
"""Which rows: a mask `[N]`, or their numbers."""

SPILL = 1 << 26
"""Bytes that are held in memory; more go to a file."""
BLOCK = 1 << 12
"""Rows that become Python's objects at a time."""
READ_TOGETHER = 1 << 14
"""Texts that are tokenised at a time: what a tokenizer tells of each takes kilobytes."""


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return the numbers of at most so many of `count` rows, evenly taken, in their order."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


class _Store:
    """Bytes that only grow, and what the numbers in them are."""

    def __init__(self, kind: type[np.unsignedinteger[Any]] = np.uint8) -> None:
        self.kind = kind
        self.size = 0
        self._held = bytearray()
        self._file: Any = None
        self._mapped: mmap.mmap | None = None

    def append(self, content: bytes) -> None:
        """Add bytes at the end.

        Raises:
            DiskError: the cache's disk is full or fails.
        """
        self.size += len(content)
        if self.size <= SPILL:
            self._held += content
            return
        folder = cache_folder()
        with writing_to(folder):
            if self._file is None:
                make_folder(folder)
                # Without a buffer, so that nothing is left to be written when it is closed.
                self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed with the store
                weakref.finalize(self, self._file.close)
            rest = memoryview(bytes(self._held) + content)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._held.clear()

    def read(self, start: int, end: int) -> bytes | bytearray:
        """Return a copy of some bytes."""
        if self._file is None:
            return self._held[start:end]
        if self._mapped is None or len(self._mapped) < end:
            self._mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._mapped[start:end]

    def forget(self) -> None:
        """Let go of the memory of what was read; the system keeps what it has room for."""
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)


class Flat(Sequence[Row], Generic[Row]):
    """Hold N rows. A part of them is a view: it shares the bytes and where they end, and names its rows."""

    def __init__(self, store: _Store, ends: NDArray[np.int64], chosen: NDArray[np.int32] | None = None) -> None:
        self._store, self._ends, self._chosen = store, ends, chosen

    @abstractmethod
    def _row(self, content: bytes | bytearray) -> Row:
        """Return a row that was written as these bytes."""

    def __len__(self) -> int:
        """Return the number of rows, `N`."""
        return len(self._ends) - 1 if self._chosen is None else len(self._chosen)

    @overload
    def __getitem__(self, which: int) -> Row: ...

    @overload
    def __getitem__(self, which: slice) -> Self: ...

    def __getitem__(self, which: int | slice) -> Row | Self:
        """Return a row, or a view of some."""
        if isinstance(which, slice):
            return self.take(np.arange(*which.indices(len(self)), dtype=np.int32))
        if not -len(self) <= which < len(self):
            raise IndexError(f"There is no row {which} of {len(self)}.")
        place = which % len(self) if self._chosen is None else self._chosen[which]
        return self._row(self._store.read(int(self._ends[place]), int(self._ends[place + 1])))

    def __iter__(self) -> Iterator[Row]:
        """Give the rows in their order, a block of them at a time."""
        for start in range(0, len(self), BLOCK):
            yield from self._block(start)
        self._store.forget()

    def _block(self, start: int) -> list[Row]:
        row, read = self._row, self._store.read
        if self._chosen is not None:
            places = self._chosen[start : start + BLOCK]
            begins, ends = self._ends[places].tolist(), self._ends[places + 1].tolist()
            return [row(read(begin, end)) for begin, end in zip(begins, ends, strict=True)]
        edges = self._ends[start : start + BLOCK + 1].tolist()
        content, first = read(edges[0], edges[-1]), edges[0]
        return [row(content[begin - first : end - first]) for begin, end in pairwise(edges)]

    def __eq__(self, other: object) -> bool:
        """Say whether another sequence has the same rows."""
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def take(self, rows: Rows) -> Self:
        """Return a view of the rows that a mask `[N]` or numbers name."""
        if rows.dtype == np.bool_:
            if rows.all():
                return self
            rows = np.flatnonzero(rows)
        chosen = rows if self._chosen is None else self._chosen[rows]
        return type(self)(self._store, self._ends, chosen.astype(np.int32, copy=False))

    def evenly(self, most: int) -> Self:
        """Return a view of at most so many rows, evenly taken, in their order."""
        return self if len(self) <= most else self.take(evenly(len(self), most))

    @property
    def bytes_of_rows(self) -> NDArray[np.int64]:
        """Return how many bytes each row takes `[N]`."""
        lengths: NDArray[np.int64] = np.diff(self._ends)
        return lengths if self._chosen is None else lengths[self._chosen]

    def followed_by(self, more: Self) -> Self:
        """Return the rows of both; those of `more` are written behind these."""
        if not len(more):
            return self
        before, places = self._store.size, len(self._ends) - 1
        for start in range(0, len(more), BLOCK):
            part = more[start : start + BLOCK]
            content = [more._store.read(*edges) for edges in part._edges()]
            self._store.append(b"".join(content))
        added = before + np.cumsum(more.bytes_of_rows)
        # Between the two there may be rows that were written behind these for another.
        ends = np.concatenate([self._ends, [before], added])
        own = np.arange(places, dtype=np.int32) if self._chosen is None else self._chosen
        chosen = np.concatenate([own, np.arange(places + 1, places + 1 + len(more), dtype=np.int32)])
        return type(self)(self._store, ends, chosen)

    def _edges(self) -> Iterator[tuple[int, int]]:
        assert self._chosen is not None
        return zip(self._ends[self._chosen].tolist(), self._ends[self._chosen + 1].tolist(), strict=True)


class Texts(Flat[str]):
    """Texts, kept as UTF-8."""

    def _row(self, content: bytes | bytearray) -> str:
        return content.decode("utf-8", "surrogatepass")

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Return texts in this form."""
        if isinstance(texts, cls):
            return texts
        writer, rest = TextWriter(), iter(texts)
        while block := list(islice(rest, BLOCK)):
            writer.extend(block)
        return writer.done()

    def numbers(self) -> NDArray[np.int64]:
        """Return a number for each text `[N]`: equal texts have the same one, for as long as this process lives.

        Of ten million different texts, two have the same by chance once in 400,000 runs.
        """
        return np.fromiter(map(hash, self), np.int64, len(self))

    def different(self) -> "Texts":
        """Return each text once, where it stands first."""
        first = np.unique(self.numbers(), return_index=True)[1]
        return self if len(first) == len(self) else self.take(np.sort(first))


class TextWriter:
    """Gather texts one after another."""

    def __init__(self) -> None:
        self._store = _Store()
        self._lengths: list[NDArray[np.int64]] = []
        self._waiting: list[bytes] = []

    def append(self, text: str) -> None:
        """Add a text."""
        self._waiting.append(text.encode("utf-8", "surrogatepass"))
        if len(self._waiting) == BLOCK:
            self._write()

    def extend(self, texts: Iterable[str]) -> None:
        """Add texts."""
        for text in texts:
            self.append(text)

    def done(self) -> Texts:
        """Return what was gathered."""
        self._write()
        ends = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *self._lengths]))
        return Texts(self._store, ends)

    def _write(self) -> None:
        self._lengths.append(np.fromiter(map(len, self._waiting), np.int64, len(self._waiting)))
        self._store.append(b"".join(self._waiting))
        self._waiting = []


class IdRows(Flat[list[int]]):
    """Rows of ids of tokens, each id in two bytes where the vocabulary is small enough, else in four."""

    def _row(self, content: bytes | bytearray) -> list[int]:
        ids: list[int] = np.frombuffer(content, dtype=self._store.kind).tolist()
        return ids

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return how many ids each row has `[N]`."""
        return self.bytes_of_rows // self._store.kind().itemsize

    @property
    def ids(self) -> NDArray[np.int64]:
        """Return the ids of all rows, one row after the other."""
        return np.fromiter(chain.from_iterable(self), np.int64, int(self.lengths.sum()))

    @classmethod
    def read(
        cls, texts: Sequence[str], tokenise: Callable[[Sequence[str]], Iterable[Sequence[int]]], size: int
    ) -> "IdRows":
        """Return the ids, below `size`, that a tokenizer makes of texts, some of which it is given at a time."""
        parts = (texts[start : start + READ_TOGETHER] for start in range(0, len(texts), READ_TOGETHER))
        return cls.of((row for part in parts for row in tokenise(part)), size)

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]], size: int = 1 << 32) -> "IdRows":
        """Return rows of ids below `size` in this form."""
        if isinstance(rows, cls):
            return rows
        store, rest = _Store(np.uint16 if size <= 1 << 16 else np.uint32), iter(rows)
        lengths = [np.zeros(1, dtype=np.int64)]
        while block := list(islice(rest, BLOCK)):
            content = np.fromiter(chain.from_iterable(block), store.kind)
            store.append(content.tobytes())
            lengths.append(np.fromiter(map(len, block), np.int64, len(block)) * content.itemsize)
        return cls(store, np.cumsum(np.concatenate(lengths)))
