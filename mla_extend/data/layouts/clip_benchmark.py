"""Test sets for retrieval as CLIP_benchmark writes them: numbered tar files with images and their captions."""

from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_folder, text_lines
from mla_extend.data.formats.webdataset_tars import samples
from mla_extend.errors import DataError

COUNT = "nshards.txt"
TYPE = "dataset_type.txt"
IMAGES = ("webp", "png", "jpg", "jpeg")
WHAT = f"a folder with SPLIT/{COUNT} and SPLIT/0.tar, SPLIT/1.tar and so on"


class ClipBenchmark(Format):
    """The captions are in one language, which no file names: it is taken to be the one that is asked for."""

    name = "clip-benchmark"
    unit = "sample"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a folder in which a folder has the count of its tar files."""
        return path.is_dir() and any(path.glob(f"*/{COUNT}"))

    def check(self, path: Path) -> None:
        """Check that there is a split, and that the set is one for retrieval."""
        check_folder(path, WHAT)
        if not any(path.glob(f"*/{COUNT}")):
            raise DataError(f"The folder {path} holds no SPLIT/{COUNT}. Give {WHAT}.")
        kind = " ".join(text for _, text in text_lines(path / TYPE)) if (path / TYPE).is_file() else ""
        if kind.strip() not in ("", "retrieval"):
            raise DataError(f"{path / TYPE} says {kind.strip()!r}. Only sets of the type 'retrieval' have captions.")

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the tar files of the split, or of all."""
        splits = [mapping.split] if mapping.split else self.splits(path, mapping)
        return [shard for split in splits for shard in _shards(path / split)]

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the folders with tar files."""
        return tuple(sorted(file.parent.name for file in path.glob(f"*/{COUNT}")))

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the images, as bytes, with their captions."""
        number = 0
        for shard in self.files(path, mapping):
            for key, members in samples(shard):
                number += 1
                image = next((members[kind] for kind in IMAGES if kind in members), None)
                if image is None or "txt" not in members:
                    lacks = "captions (.txt)" if image else f"image ({', '.join(IMAGES)})"
                    raise DataError(f"{shard}: {key!r} has no {lacks}; it has {sorted(members)}. Fetch the file again.")
                try:
                    captions = members["txt"].decode("utf-8").split("\n")
                except UnicodeDecodeError as error:
                    raise DataError(f"{shard}: the captions of {key!r} are not UTF-8. Fetch the file again.") from error
                yield Row(number, {"image": image, "caption": captions})


def _shards(folder: Path) -> list[Path]:
    """Return a split's tar files in order.

    Raises:
        DataError: there are fewer or more than the count says.
    """
    text = " ".join(line for _, line in text_lines(folder / COUNT)).strip()
    if not text.isdecimal() or len(text) > 6 or int(text) == 0:
        raise DataError(f"{folder / COUNT} says {text[:60]!r}, not how many tar files there are. Fix it.")
    shards = [folder / f"{number}.tar" for number in range(int(text))]
    there = {file.name for file in folder.glob("*.tar")}
    missing = [shard.name for shard in shards if shard.name not in there]
    if missing or len(there) != len(shards):
        differ = f"{', '.join(missing[:5])} missing" if missing else f"{len(there)} there"
        raise DataError(f"{folder}: {COUNT} says {len(shards)} tar files, with {differ}. Fetch the split again.")
    return shards
