"""Crossmodal-3600: images with captions in 36 languages, as published or as parquet."""

import re
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from mla_extend.data.formats.format import ROLES, ColumnMapping, Format, Row, whole
from mla_extend.data.formats.jsonl import json_rows
from mla_extend.data.formats.parquet import Parquet
from mla_extend.data.layouts.common import Images, code_of, has_language, peek
from mla_extend.errors import DataError

CAPTIONS = "captions.jsonl"
KEY = "image/key"
SHARD = re.compile(r"(?P<code>.+?)(-\d+-of-(?P<count>\d+))?\.parquet")
COLUMNS = ("image", "image_id", "captions")
WHAT = f"the folder with {CAPTIONS}, or with parquet files named by language, such as sw-00000-of-00001.parquet"


class Crossmodal3600(Format):
    """Each image has several captions a language, written apart: none is the translation of another.

    Either `captions.jsonl`, with the images beside it as `KEY.jpg`, or parquet files named by language, in the folder
    or in `data/`, with the columns `image`, `image_id` and `captions`.
    """

    name = "xm3600"
    unit = "record"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take the file with captions, or a folder with it or with parquet files of the language."""
        captions = _captions(path)
        if captions.is_file():
            return captions.name == CAPTIONS and f'"{KEY}"'.encode() in peek(captions)
        return has_language(_parquet(path), mapping.language)

    def check(self, path: Path) -> None:
        """Check that there are captions."""
        if not path.exists():
            raise DataError(f"{path} does not exist. Give {WHAT}.")
        if not _captions(path).is_file() and not _parquet(path):
            raise DataError(f"The folder {path} holds no {CAPTIONS} and no parquet file. Give {WHAT}.")

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the file with all captions, or the parquet files of the language and the native ones."""
        if _captions(path).is_file():
            return [_captions(path)]
        return [file for tag in dict.fromkeys((mapping.language, mapping.native)) for file in _shards(path, tag)]

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the one split, if it has the language."""
        if not _captions(path).is_file():
            return ("test",) if _shards(path, mapping.language) else ()
        first = next(json_rows(_captions(path)), None)
        return ("test",) if first and _code(first.values, mapping.language, path) else ()

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the images with their captions in the language and natively."""
        return _json_rows(path, mapping) if _captions(path).is_file() else _parquet_rows(path, mapping)


def _captions(path: Path) -> Path:
    return path / CAPTIONS if path.is_dir() else path


def _json_rows(path: Path, mapping: ColumnMapping) -> Iterator[Row]:
    file = _captions(path)
    images = Images(file.parent)
    for row in whole(json_rows(file)):
        where = f"{file}, record {row.number}"
        key = row.values.get(KEY)
        if not isinstance(key, str):
            raise DataError(f"{where}: {KEY!r} is {key!r}, not the key of an image. Fetch the file again.")
        texts = {
            "caption": _texts(row.values, mapping.language, where, file),
            "native": _texts(row.values, mapping.native, where, file),
        }
        yield Row(row.number, {"image": images.path(f"{key}.jpg"), **texts})


def _texts(values: Mapping[str, Any], tag: str, where: str, file: Path) -> list[str]:
    """Return a record's captions in a language: of an object of its own, or of a column such as `sw.caption`."""
    code = _code(values, tag, file)
    if code is None:
        return []
    inner = values.get(code)
    texts = inner.get("caption") if isinstance(inner, Mapping) else values.get(f"{code}.caption")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"{where}: the captions in {code!r} are {str(texts)[:60]!r}, not a list of texts. Fix the line."
        )
    return texts


def _code(values: Mapping[str, Any], tag: str, path: Path) -> str | None:
    return code_of((key.removesuffix(".caption") for key in values if "/" not in key), tag, path)


def _parquet(path: Path) -> dict[str, list[Path]]:
    """Return a folder's parquet files by code."""
    found: dict[str, list[Path]] = {}
    for file in (*sorted(path.glob("*.parquet")), *sorted(path.glob("data/*.parquet"))):
        if match := SHARD.fullmatch(file.name):
            found.setdefault(match["code"], []).append(file)
    return found


def _shards(path: Path, tag: str) -> list[Path]:
    """Return the parquet files of a language.

    Raises:
        DataError: there are fewer or more than their names say.
    """
    files = _parquet(path)
    code = code_of(files, tag, path)
    shards = files[code] if code else []
    for shard in shards:
        match = SHARD.fullmatch(shard.name)
        if match and match["count"] and int(match["count"]) != len(shards):
            raise DataError(
                f"{path} holds {len(shards)} of the {int(match['count'])} parquet files of {code!r}. Fetch all of them."
            )
    return shards


def _parquet_rows(path: Path, mapping: ColumnMapping) -> Iterator[Row]:
    beside = (record for shard in _shards(path, mapping.native) for record in _records(shard, "image_id", "captions"))
    native = {record["image_id"]: record["captions"] for record in beside}
    records = (record for shard in _shards(path, mapping.language) for record in _records(shard, *COLUMNS))
    for number, record in enumerate(records, start=1):
        texts = {"caption": record["captions"], "native": native.get(record["image_id"])}
        yield Row(number, {"image": record["image"], **texts})


def _records(file: Path, *columns: str) -> Iterator[dict[str, Any]]:
    """Give the values of columns, without reading the others.

    Raises:
        DataError: the file lacks one, or cannot be read.
    """
    chosen = ColumnMapping(columns=dict(zip(ROLES, islice(cycle(columns), len(ROLES)), strict=True)))
    for row in Parquet().rows(file, chosen):
        missing = [column for column in columns if column not in row.values]
        if missing:
            raise DataError(
                f"{file} has no column {', '.join(missing)}; it has {', '.join(row.values)}. Give the files as "
                "they were published."
            )
        yield row.values
