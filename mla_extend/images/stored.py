"""What was made of pictures and is kept by their content: found again, or made of those that have none yet."""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mla_extend.errors import ImageError, Interrupted
from mla_extend.images.contents import Memo
from mla_extend.images.pipeline import ImageLike, Picture, Wanted, picture_key
from mla_extend.progress import SILENT, Progress
from mla_extend.stop import StopRequest
from mla_extend.vector_store import Vectors, VectorStore

KEPT = 64
"""Pictures after which what was made of them is written: what a kill may cost."""
LOOKED_UP = 4_096
"""Pictures whose vectors are looked for at a time."""
Making = Callable[[Sequence[Path], Wanted], Generator[Picture[Vectors], None, None]]
"""Make vectors of pictures in their order, of those whose content is wanted."""


@dataclass(frozen=True)
class Stored:
    """Hold what is kept of pictures.

    Attributes:
        vectors: `[N, D]`, of NaN where there is none.
        keys: of each content.
        errors: why there is none, of each that cannot be read.
    """

    vectors: Vectors
    keys: list[bytes]
    errors: dict[Path, ImageError]


def stored_pictures(
    store: VectorStore,
    paths: Sequence[Path],
    make: Making,
    *,
    without: Collection[bytes] = (),
    strict: bool = False,
    task: str = "",
    progress: Progress = SILENT,
    stop: StopRequest | None = None,
) -> Stored:
    """Return the vectors of pictures in their order; each content that has none yet is made once, and kept.

    Args:
        store: where they are kept.
        paths: of the pictures.
        make: ends early where a stop was asked for.
        without: keys of contents of which no vector is wanted.
        strict: raise the error of the first that cannot be read.
        task: what the progress is called.
        progress: told of what is made.
        stop: says when the user wants to stop.

    Raises:
        ImageError: one cannot be read, where that is wanted; what was made is kept.
        Interrupted: the user asked to stop; what was made is kept.
        CacheError: the store cannot be read or written.
    """
    with Memo() as memo:
        work = _Work(store, memo, list(dict.fromkeys(paths)), without)
        missing = work.missing()
        if missing and task:
            progress.start(task, total=len(missing))
        try:
            done = work.make(missing, make, progress, strict)
        finally:
            if missing and task:
                progress.finish()
    if stop is not None and done < len(missing):
        raise Interrupted(f"Stopped while encoding, with {done} of {len(missing)} done and kept. {stop.remedy}")
    return work.result(paths)


class _Work:
    """Find and make the vectors of different paths."""

    def __init__(self, store: VectorStore, memo: Memo, paths: list[Path], without: Collection[bytes]) -> None:
        self.store = store
        self.memo = memo
        self.paths = paths
        self.without = without
        self.place: dict[ImageLike, int] = {path: place for place, path in enumerate(paths)}
        self.contents = memo.recall(paths)
        self.keys = [picture_key(path, content) for path, content in zip(paths, self.contents, strict=True)]
        self.vectors = np.full((len(paths), 0), np.nan, dtype=np.float32)
        self.errors: dict[int, ImageError] = {}
        self.first: dict[bytes, int] = {}  # the place of each content that has a vector, or is being made one

    def missing(self) -> list[Path]:
        """Put the vectors that are found by what is remembered of files; return the paths of the others."""
        for start in range(0, len(self.keys), LOOKED_UP):
            self._find(range(start, min(start + LOOKED_UP, len(self.keys))))
        return [
            path
            for path, key, content in zip(self.paths, self.keys, self.contents, strict=True)
            if content is None or (key not in self.first and key not in self.without)
        ]

    def make(self, missing: list[Path], make: Making, progress: Progress, strict: bool) -> int:
        """Make vectors and keep them; return of how many files."""
        done = 0
        with closing(make(missing, self._is_wanted)) as pictures:
            while read := list(islice(pictures, KEPT)):
                made: list[tuple[bytes, Vectors]] = []
                for one in read:
                    place = self.place[one.item]
                    self.keys[place] = one.key
                    if one.error is not None:
                        self.errors[place] = one.error
                    elif one.made is not None:
                        self._put(place, one.made)
                        made.append((one.key, one.made))
                if made:
                    self.store.add(*zip(*made, strict=True))
                self.memo.keep(read)
                if strict and self.errors:
                    raise next(iter(self.errors.values()))
                progress.advance(len(read))
                done += len(read)
        return done

    def result(self, paths: Sequence[Path]) -> Stored:
        """Return what was found and made, in the order of all paths."""
        for place, key in enumerate(self.keys):
            if (same := self.first.get(key, place)) != place:
                self.vectors[place] = self.vectors[same]
                if same in self.errors:
                    self.errors[place] = self.errors[same]
        places = [self.place[path] for path in paths]
        errors = {self.paths[place]: error for place, error in self.errors.items()}
        vectors = self.vectors if len(places) == len(self.paths) else self.vectors[places]
        return Stored(vectors, [self.keys[place] for place in places], errors)

    def _is_wanted(self, item: ImageLike, content: bytes) -> bool:
        """Say whether a vector is to be made of a file's content: there is none yet."""
        place = self.place[item]
        self.keys[place] = key = picture_key(item, content)
        if key in self.without or key in self.first:
            return False
        self._find([place])
        if key in self.first:
            return False
        self.first[key] = place
        return True

    def _find(self, places: Sequence[int]) -> None:
        held = self.store.find([self.keys[place] for place in places])
        for place in places:
            if (vector := held.get(self.keys[place])) is not None:
                self._put(place, vector)
                self.first.setdefault(self.keys[place], place)

    def _put(self, place: int, vector: Vectors) -> None:
        if not self.vectors.shape[1]:
            self.vectors = np.full((len(self.paths), len(vector)), np.nan, dtype=np.float32)
        self.vectors[place] = vector
