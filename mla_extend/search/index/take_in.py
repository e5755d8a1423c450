"""Take vectors into an index that somebody made elsewhere with the same base.

Three layouts: a `.npy` file with a list of what its rows are, clip-retrieval's folders `img_emb/` and `metadata/`, and
parquet with a column of vectors. Shapes: `N` rows, `D` the width of a vector.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend.bases.base import Base
from mla_extend.errors import DataError
from mla_extend.extras import optional
from mla_extend.progress import SILENT, Progress
from mla_extend.search.index.about import About
from mla_extend.search.index.graph import refresh_graph
from mla_extend.search.index.preparation import preparation_of
from mla_extend.search.index.shards import SMALL, Vectors
from mla_extend.search.index.store import Item, Store, writing
from mla_extend.search.index.summary import Summary
from mla_extend.search.index.walk import absolute

IMG_EMB, METADATA = "img_emb", "metadata"
PART = re.compile(r"img_emb_(\d+)\.npy")
NAMES = ("image_path", "path", "file_name", "filename", "image", "url", "key", "id")
"""Columns that say what a row is, best first."""
VECTORS = ("vector", "embedding", "img_emb", "image_embedding", "image_vector", "clip_embedding", "embeddings")
"""Columns of vectors, best first."""
PARQUET, NPY = ".parquet", ".npy"
ROWS = 1 << 16
"""Rows read at a time: 128 MB at 512 columns."""
SHORTEST = 1e-6
"""Length below which a vector has no direction."""


@dataclass(frozen=True)
class Part:
    """A file of vectors, and where the names of its rows stand.

    Attributes:
        vectors: a `.npy` or parquet file.
        names: a text file with one name a line, or a parquet file.
        column: of the vectors, in parquet.
    """

    vectors: Path
    names: Path
    column: str | None = None


def recognise(source: Path, vectors: str | None = None) -> list[Part]:
    """Return the files of vectors that a path stands for; none where it is images that are yet to be encoded.

    Args:
        source: a folder in clip-retrieval's layout, a parquet file with vectors, or the list of names that belongs to
            a `.npy` file.
        vectors: that `.npy` file, or the name of a parquet file's column of vectors.

    Raises:
        DataError: the files do not fit together.
    """
    source = absolute(source)
    if source.is_dir():
        if (source / IMG_EMB).is_dir():
            return _clip_retrieval(source)
        if vectors is not None:
            raise DataError(
                f"{source} is a folder, to which --vectors does not apply. Give the list of the rows' names."
            )
        return []
    if source.suffix.lower() == NPY:
        raise DataError(
            f"{source} holds vectors without names. Give the list of its rows' paths, one per line: mla-extend index "
            f"LIST.txt --vectors {source}"
        )
    if vectors is not None and Path(vectors).suffix.lower() == NPY:
        if not source.is_file():
            raise DataError(f"The list {source} does not exist. Give a text file with one path per line, or parquet.")
        return [Part(_there(absolute(Path(vectors))), source)]
    if source.suffix.lower() == PARQUET:
        return [Part(_there(source), source, vectors or _column(source, VECTORS, "vectors", "--vectors NAME"))]
    if vectors is not None:
        raise DataError(f"{vectors} is no {NPY} file, and {source} is no parquet file that could have such a column.")
    return []


def take_in(parts: Sequence[Part], folder: Path, base: Base, *, stated: bool, progress: Progress = SILENT) -> Summary:
    """Copy vectors into an index.

    Args:
        parts: from `recognise`.
        folder: of the index; it is made if it is not there.
        base: that the vectors are said to be of.
        stated: whether somebody said so.
        progress: told of what is copied.

    Raises:
        DataError: a file is damaged, its rows and names differ in number, or its vectors have another width than the
            base's; nothing of that file is taken then.
        BaseMismatchError: the index was made with another base.
    """
    began = time.perf_counter()
    identity = base.identity
    dimension = int(base.encode_native(["a"]).shape[1])
    # Whoever made them is taken to have prepared the pictures as they are prepared today.
    about = About(identity.name, identity.fingerprint, identity.source, stated, dimension, preparation_of(base))
    summary = Summary(folder, identity.name, stated)
    with writing(folder) as store:
        store.check(identity.name, identity.fingerprint)
        for part in parts:
            _take_part(store, part, about, summary, progress)
        if store.about is not None and store.about.stated != stated:
            store.tell({"stated": str(int(stated))})
        store.tidy()
        refresh_graph(store, progress)
        summary.count = store.count()
    summary.seconds = time.perf_counter() - began
    return summary


def _take_part(store: Store, part: Part, about: About, summary: Summary, progress: Progress) -> None:
    """Copy one file, unless it was taken as it is; its rows count together, once all are on the disk."""
    status = part.vectors.stat()
    origin = Item(str(part.vectors), False, status.st_size, status.st_mtime_ns)
    names = _names(part)
    if store.is_taken(origin):
        summary.unchanged += len(names)
        return
    items: list[Item] = []
    shards: list[tuple[str, int]] = []
    seen: set[str] = set()
    rows, bad, waiting = 0, [], _Waiting(store, shards)
    progress.start(f"Taking in {part.vectors.name}", total=len(names))
    try:
        for block in _blocks(part, about):
            if rows + len(block) > len(names):
                raise _uneven(part, rows + len(block), len(names))
            unit, sound = _normalised(block)
            chosen = []
            for row in range(len(block)):
                item = _item(names[rows + row], part.names.parent)
                if not sound[row]:
                    bad.append(rows + row + 1)
                # A name that comes again is the same image.
                elif item.name not in seen:
                    seen.add(item.name)
                    items.append(item)
                    chosen.append(row)
            waiting.add(unit[chosen])
            rows += len(block)
            progress.advance(len(block))
    finally:
        progress.finish()
    if rows != len(names):
        raise _uneven(part, rows, len(names))
    if bad:
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        summary.failed.append(
            (str(part.vectors), f"Left out, since they are all zero or not finite: {len(bad)} rows ({shown}).")
        )
    if items:
        waiting.write()
        store.add(items, shards, about, origin)
        summary.added += len(items)


class _Waiting:
    """Gather vectors until there are enough for a shard."""

    def __init__(self, store: Store, shards: list[tuple[str, int]]) -> None:
        self.store = store
        self.shards = shards
        self.parts: list[Vectors] = []

    def add(self, vectors: Vectors) -> None:
        """Add vectors `[N, D]`."""
        self.parts.append(vectors)
        if sum(map(len, self.parts)) >= SMALL:
            self.write()

    def write(self) -> None:
        """Write what has been gathered."""
        vectors = np.concatenate(self.parts) if self.parts else np.empty((0, 0), dtype=np.float32)
        self.parts = []
        if len(vectors):
            self.shards.append(self.store.write(vectors))


def _blocks(part: Part, about: About) -> Iterator[Vectors]:
    """Give the vectors of a file, some rows at a time."""
    if part.column is not None:
        yield from _parquet_blocks(part, part.column, about)
        return
    try:
        stored = np.load(part.vectors, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{part.vectors} cannot be read as an array ({_line(error)}). Write it with numpy.save, as numbers."
        ) from error
    if stored.ndim != 2 or stored.dtype.kind not in "fiu":
        raise DataError(
            f"{part.vectors} holds {stored.dtype} of shape {stored.shape}, not one vector of numbers a row. Write it "
            "with numpy.save as float32."
        )
    _check_width(part.vectors, stored.shape[1], about)
    for start in range(0, len(stored), ROWS):
        yield np.asarray(stored[start : start + ROWS], dtype=np.float32)


def _parquet_blocks(part: Part, column: str, about: About) -> Iterator[Vectors]:
    from pyarrow import compute  # noqa: PLC0415 - slow, and optional

    for batch in _batches(part.vectors, [column]):
        rows = batch.column(0)
        if not str(rows.type).startswith(("list", "large_list", "fixed_size_list")):
            raise DataError(
                f"{part.vectors} holds {rows.type} in {column!r}, not a list of numbers a row. Name the column of "
                "vectors: --vectors NAME."
            )
        widths = compute.unique(compute.list_value_length(rows)).to_pylist()
        flat = rows.flatten()
        if len(widths) != 1 or widths[0] is None or flat.null_count:
            raise DataError(
                f"{part.vectors} has rows without a vector, or of different widths, in {column!r}. Take them out "
                "and try again."
            )
        values = flat.to_numpy(zero_copy_only=False)
        if values.dtype.kind not in "fiu":
            raise DataError(
                f"{part.vectors} holds {flat.type} in {column!r}, not numbers. Name the column of vectors: "
                "--vectors NAME."
            )
        _check_width(part.vectors, widths[0], about)
        yield np.asarray(values, dtype=np.float32).reshape(len(rows), -1)


def _normalised(block: Vectors) -> tuple[Vectors, Any]:
    """Return unit vectors `[N, D]`, and which rows are sound `[N]`."""
    lengths = np.linalg.norm(block.astype(np.float64), axis=1)
    sound = np.isfinite(lengths) & (lengths > SHORTEST)
    unit = block / np.where(sound, lengths, 1.0)[:, None]
    return unit.astype(np.float32), sound


def _check_width(path: Path, width: int, about: About) -> None:
    if width != about.dimension:
        raise DataError(
            f"{path} holds vectors of width {width}, and those of the base {about.name!r} have {about.dimension}: they "
            "are of another model. Name the base that they were made with: --base."
        )


def _item(name: str, folder: Path) -> Item:
    """Return a row's item: a file where there is one of that name, from the list's folder on; else a name."""
    if "://" not in name and "\0" not in name:
        path = absolute(folder / name)
        try:
            status = path.stat()
            return Item(str(path), True, status.st_size, status.st_mtime_ns)
        except OSError:
            pass
    return Item(name, False)


def _names(part: Part) -> list[str]:
    """Return the name of each row."""
    if part.names.suffix.lower() == PARQUET:
        column = _column(part.names, NAMES, "paths", "one of these names")
        found = [name for batch in _batches(part.names, [column]) for name in batch.column(0).to_pylist()]
        names = ["" if name is None else str(name) for name in found]
    else:
        try:
            names = part.names.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{part.names} is not UTF-8. Give a text file with one path per line, as UTF-8.") from error
        except OSError as error:
            raise DataError(f"{part.names} cannot be read ({error.strerror or error}).") from error
        while names and not names[-1].strip():
            names.pop()
    for line, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(f"{part.names}, line {line}: no path. Give one for each row of {part.vectors}.")
    return names


def _clip_retrieval(folder: Path) -> list[Part]:
    found = sorted(
        (int(match[1]), path) for path in (folder / IMG_EMB).iterdir() if (match := PART.fullmatch(path.name))
    )
    if not found:
        raise DataError(f"{folder / IMG_EMB} holds no img_emb_0{NPY}. Give the folder that clip-retrieval wrote.")
    parts = []
    for _, path in found:
        number = path.stem.removeprefix("img_emb_")
        names = folder / METADATA / f"metadata_{number}{PARQUET}"
        if not names.is_file():
            raise DataError(f"{path} has no {names} that says what its rows are. Copy it from where it was made.")
        parts.append(Part(path, names))
    return parts


def _there(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"The file of vectors {path} does not exist. Check the path.")
    return path


def _column(path: Path, known: Sequence[str], what: str, remedy: str) -> str:
    with _opened(path) as file:
        names: list[str] = file.schema_arrow.names
    for name in known:
        if name in names:
            return name
    raise DataError(f"{path} has no column of {what} with a known name, only {names}. Name it: {remedy}.")


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    import pyarrow  # noqa: PLC0415 - slow, and optional

    with _opened(path) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path} has no column {missing[0]!r}, only {file.schema_arrow.names}. Name another.")
        try:
            yield from file.iter_batches(ROWS, columns=columns, use_threads=False)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error


def _opened(path: Path) -> Any:
    pyarrow, parquet = optional("pyarrow", str(path)), optional("pyarrow.parquet", str(path))
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as parquet ({_line(error)}). Copy or fetch it again.")


def _uneven(part: Part, rows: int, names: int) -> DataError:
    more = "at least " if rows > names else ""
    return DataError(
        f"{part.vectors} holds {more}{rows} vectors, and {part.names} names {names}. Give the list that belongs to it."
    )


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
