"""XTD10 and its extensions: one text file a language, and one with the names of the images."""

import re
from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_folder
from mla_extend.data.layouts.common import Images, code_of, side_by_side
from mla_extend.errors import DataError

CAPTIONS = re.compile(r"test_1kcaptions_(.+)\.txt")
NAMES = "test_image_names.txt"
WHAT = f"the folder with {NAMES} and test_1kcaptions_LANGUAGE.txt"


class Xtd(Format):
    """Line i of each file is of the same image; the captions are translations of one another.

    The files lie in the folder, or one folder below it as in the published repository.
    The images are of COCO's training and validation parts: a model that was trained on COCO has seen them.
    """

    name = "xtd"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a folder with captions in some language."""
        return path.is_dir() and bool(_captions(path))

    def check(self, path: Path) -> None:
        """Check that the folder has captions and the names of the images."""
        check_folder(path, WHAT)
        if not _captions(path):
            raise DataError(
                f"The folder {path} holds no test_1kcaptions_LANGUAGE.txt, nor does one in it. Give {WHAT}."
            )
        _names(path)

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the captions in the language and natively, and the names of the images."""
        captions = _captions(path)
        code, native = (code_of(captions, tag, path) for tag in (mapping.language, mapping.native))
        if code is None:
            raise DataError(f"{path} has no captions in {mapping.language!r}, but in {', '.join(sorted(captions))}.")
        beside = [captions[native]] if native and native != code else []
        return [captions[code], *beside, _names(path)]

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the one split, if it has the language."""
        return ("test",) if code_of(_captions(path), mapping.language, path) else ()

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the images with a caption in the language and natively."""
        images = Images(path)
        for number, (*texts, name) in side_by_side(self.files(path, mapping)):
            # Without a file natively there is one text.
            values = dict(zip(("caption", "native"), texts, strict=False))
            yield Row(number, {"image": images.path(name.strip()), **values})


def _captions(path: Path) -> dict[str, Path]:
    """Return the files with captions by code; the folder's own come before those of folders in it."""
    found: dict[str, Path] = {}
    for file in (*sorted(path.glob("test_1kcaptions_*.txt")), *sorted(path.glob("*/test_1kcaptions_*.txt"))):
        if match := CAPTIONS.fullmatch(file.name):
            found.setdefault(match[1], file)
    return found


def _names(path: Path) -> Path:
    """Return the file with the names of the images.

    Raises:
        DataError: there is none.
    """
    found = next(iter((*path.glob(NAMES), *sorted(path.glob(f"*/{NAMES}")))), None)
    if found is None:
        raise DataError(f"The folder {path} holds no {NAMES}, nor does one in it. Give {WHAT}.")
    return found
