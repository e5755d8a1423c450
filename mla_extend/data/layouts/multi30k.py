"""Multi30K: files of captions and lists of images, line by line."""

from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_folder, text_lines
from mla_extend.data.layouts.common import Images, code_of, has_language, side_by_side
from mla_extend.errors import DataError

PLACES = ("", "raw", "data/task1/raw", "task1/raw", "data/task2/raw", "task2/raw")
SEVERAL = 5
WHAT = "a folder with files such as train.de.gz and train.en.gz (packed or not), in it or in raw/"

Captions = dict[str, list[Path]]
"""The files of a split by code: one a language in task 1, five in task 2."""


class Multi30k(Format):
    """Task 1 has one caption an image and its translations; task 2 has five a language, written apart.

    Of a folder with both, as the published repository is, task 1 is read; give its folder `task2` for the other. Where
    the list of images or every folder with images is missing, task 1 is parallel text alone.
    """

    name = "multi30k"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a folder with a split in the language and natively."""
        return path.is_dir() and any(
            has_language(captions, mapping.native) for captions in _splits(path, mapping).values()
        )

    def check(self, path: Path) -> None:
        """Check that it is a folder."""
        check_folder(path, WHAT)

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the files with captions in the language and natively, and the lists of images."""
        found: list[Path] = []
        for split in [mapping.split] if mapping.split else self.splits(path, mapping):
            target, native = _captions(path, split, mapping)
            images = _image_list(target[0], split)
            found += [*target, *native, *([images] if images else [])]
        return list(dict.fromkeys(found))

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the splits that have the language."""
        return tuple(_splits(path, mapping))

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the images with their captions in the language and natively, or parallel text."""
        split = mapping.split or ""
        target, native = _captions(path, split, mapping)
        names = _image_list(target[0], split)
        images = Images(path)
        first = next((line for _, line in text_lines(names)), "") if names else ""
        if names and images.there(_image(first)):
            for number, (name, *texts) in side_by_side([names, *target, *native]):
                row = {"image": images.path(_image(name)), **_columns(texts[: len(target)], texts[len(target) :])}
                yield Row(number, row)
            return
        missing = f"no folder with images in {path}" if names else f"no list of images image_splits/{split}.txt"
        if len(target) > 1:
            raise DataError(
                f"The captions of {split!r} in {target[0].parent} are not translations of one another, and there is "
                f"{missing}: they need images. Fetch these, or read task 1."
            )
        if not native:
            raise DataError(
                f"{target[0]} has no counterpart in {mapping.native!r} beside it, and there is {missing}. Fetch one of "
                "the two."
            )
        for number, (text, beside) in side_by_side([*target, *native]):
            yield Row(number, {"native": beside, "target": text})


def _columns(captions: list[str], native: list[str]) -> dict[str, str | list[str]]:
    """Return texts as a row's columns: of one that is the other's translation the text, else lists."""
    if len(captions) == 1:
        return dict(zip(("caption", "native"), (*captions, *native), strict=False))
    return {"caption": captions, "native": native}


def _image(line: str) -> str:
    """Return the name of an image, without the number of its caption behind a `#`."""
    return line.partition("#")[0].strip()


def _image_list(captions: Path, split: str) -> Path | None:
    folder = captions.parent.parent if captions.parent.name == "raw" else captions.parent
    names = (f"{split}.txt", f"{split}_images.txt")
    return next((file for name in names if (file := folder / "image_splits" / name).is_file()), None)


def _parts(file: Path) -> tuple[str, str, str]:
    """Return the split, the number of the caption if there is one, and the code: `test_2016.5.de.gz` has all three."""
    *stem, code = file.name.removesuffix(".gz").split(".")
    number = stem.pop() if len(stem) > 1 and len(stem[-1]) == 1 and stem[-1].isdecimal() else ""
    return ".".join(stem), number, code


def _splits(path: Path, mapping: ColumnMapping) -> dict[str, Captions]:
    """Return the splits that have the language, from the first place with such."""
    for place in PLACES:
        one: dict[str, Captions] = {}
        several: dict[str, Captions] = {}
        for file in (path / place).glob("*.*"):
            split, number, code = _parts(file)
            # The same captions may lie there packed and unpacked.
            packed_again = file.suffix == ".gz" and file.with_suffix("").is_file()
            if (
                split
                and not packed_again
                and any(has_language([code], tag) for tag in (mapping.language, mapping.native))
            ):
                (several if number else one).setdefault(split, {}).setdefault(code, []).append(file)
        splits = {**several, **one}
        if found := {split: splits[split] for split in sorted(splits) if has_language(splits[split], mapping.language)}:
            return found
    return {}


def _captions(path: Path, split: str, mapping: ColumnMapping) -> tuple[list[Path], list[Path]]:
    """Return a split's files in the language and natively.

    Raises:
        DataError: there is no such split, or a file of it is missing.
    """
    captions = _splits(path, mapping).get(split, {})
    codes = [code_of(captions, tag, path) for tag in (mapping.language, mapping.native)]
    target, native = (sorted(captions[code]) if code else [] for code in codes)
    if not target:
        raise DataError(f"{path} holds no split {split!r} in {mapping.language!r}. Check the names of the files.")
    for files in (target, native):
        numbers = [number for file in files if (number := _parts(file)[1])]
        if numbers and len(numbers) != SEVERAL:
            raise DataError(
                f"{files[0].parent} holds the captions {', '.join(numbers)} of {split!r} such as {files[0].name}; "
                f"there are {SEVERAL}. Fetch the others."
            )
    return target, native
