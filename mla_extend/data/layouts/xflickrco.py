"""xFlickrCO as IGLUE publishes it: JSON lines of images with sentences, a folder a language."""

from collections.abc import Iterator
from glob import escape
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_file, suffix_of, whole
from mla_extend.data.formats.jsonl import json_rows
from mla_extend.data.layouts.common import Images, code_of, field, first_object, has_language, peek
from mla_extend.errors import DataError

KEYS = {"sentences", "id", "img_path"}
PLACES = ("", "annotations")
WHAT = "a folder with LANGUAGE/SPLIT.jsonl, in it or in annotations/, or one of these files"


class XFlickrCO(Format):
    """Each line is an image with its sentences; those of other languages are found by the image's id.

    Of a file, the language is taken to be the one that is asked for; the native one lies in the folder beside.
    """

    name = "xflickrco"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a folder with files of the language, or such a file."""
        folders = [folder for code, folder in _languages(path).items() if has_language([code], mapping.language)]
        files = [path] if path.is_file() else [file for folder in folders for file in folder.glob("*.jsonl")]
        return any(suffix_of(file) == ".jsonl" and first_object(peek(file)).keys() >= KEYS for file in files)

    def check(self, path: Path) -> None:
        """Check that there is such a file."""
        if not path.is_dir():
            check_file(path, WHAT)
        elif not _languages(path):
            raise DataError(
                f"The folder {path} holds no LANGUAGE/SPLIT.jsonl, nor does annotations/ in it. Give {WHAT}."
            )

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the files of the split, or of all, in the language and natively."""
        files = _chosen(path, mapping)
        return [*files, *(one for file in files for one in _native(file, mapping) if not one.samefile(file))]

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the language's files; a file has no splits."""
        return tuple(_files(path, mapping.language)) if path.is_dir() else ("",)

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the images with their sentences in the language and natively."""
        root = path if path.is_dir() else path.parent
        # Of a file LANGUAGE/SPLIT.jsonl, the images lie beside the folders of the languages, or beside `annotations/`.
        images = Images(root, *([] if path.is_dir() else list(root.absolute().parents)[:2]))
        for file in _chosen(path, mapping):
            native = {key: texts for beside in _native(file, mapping) for _, key, _, texts in _records(beside)}
            for number, key, image, texts in _records(file):
                yield Row(number, {"image": images.path(image), "caption": texts, "native": native.get(key)})


def _records(file: Path) -> Iterator[tuple[int, str, str, list[str]]]:
    """Give the line, id, image and sentences of a file's records."""
    for row in whole(json_rows(file)):
        where = f"{file}, line {row.number}"
        key, texts = row.values.get("id"), field(row.values, "sentences", list, where)
        if key is None or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"{where}: no id, or sentences that are not texts. Each line needs {', '.join(sorted(KEYS))}."
            )
        yield row.number, str(key), field(row.values, "img_path", str, where), texts


def _languages(path: Path) -> dict[str, Path]:
    """Return the folders of the languages by code."""
    files = (file for place in PLACES for file in sorted((path / place).glob("*/*.jsonl")))
    return {file.parent.name: file.parent for file in files}


def _files(path: Path, language: str) -> dict[str, Path]:
    """Return the files of a language by split."""
    folders = _languages(path)
    code = code_of(folders, language, path)
    return {file.stem: file for file in sorted(folders[code].glob("*.jsonl"))} if code else {}


def _chosen(path: Path, mapping: ColumnMapping) -> list[Path]:
    """Return the file, or the files of the split or of all."""
    if not path.is_dir():
        return [path]
    return [file for split, file in _files(path, mapping.language).items() if mapping.split in (None, split)]


def _native(file: Path, mapping: ColumnMapping) -> list[Path]:
    """Return the file of the same name in the native language's folder, if it is there."""
    beside = {one.parent.name: one for one in file.absolute().parent.parent.glob(f"*/{escape(file.name)}")}
    code = code_of(beside, mapping.native, file.parent.parent)
    return [beside[code]] if code else []
