"""Data sets of the `datasets` library: saved to disk, a folder that it reads, or of the hub."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mla_extend.cache import cache_folder
from mla_extend.data.formats.format import ColumnMapping, Format, Row
from mla_extend.data.formats.parquet import BATCH, batch_rows, known_names, one_line
from mla_extend.data.formats.unfolding import Unfolding
from mla_extend.errors import DataError
from mla_extend.extras import optional
from mla_extend.files import read_json

HUB_PART = re.compile(r"\w[\w.-]*", re.ASCII)
ALL = ("dataset_dict.json",)
ONE = ("dataset_info.json", "state.json")


class HuggingFace(Format):
    """Columns as in parquet, splits as the data set has them; nothing is decoded and no code of a data set is run.

    A path is a folder saved with `save_to_disk`, any folder that `load_dataset` reads, or a name of the hub: `org/name`
    or `org/name/config`.
    """

    name = "hf"
    unit = "row"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a folder that was saved with `save_to_disk`."""
        return _is_saved(path)

    def check(self, path: Path) -> None:
        """Check that it is a folder, or can be a name of the hub."""
        if not path.is_dir():
            _hub_name(path)

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the Arrow files of a saved data set, of one split or of all; else the path.

        Raises:
            DataError: the saved data set is damaged.
        """
        if not _is_saved(path):
            return [path]
        splits = _saved_splits(path)
        if mapping.split in splits:
            splits = (mapping.split,)
        return [file for split in splits for file in _arrow_files(path / split)]

    def digest(self, path: Path, mapping: ColumnMapping) -> str:
        """Return a SHA-256 over the files of a saved data set, else over the library's fingerprint of the data."""
        if _is_saved(path):
            return super().digest(path, mapping)
        parts = _load(path)
        chosen = [mapping.split] if mapping.split in parts else sorted(parts)
        prints = [(split, parts[split]._fingerprint) for split in chosen]
        return hashlib.sha256(json.dumps(prints).encode()).hexdigest()

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the data set's splits."""
        return _saved_splits(path) if _is_saved(path) else tuple(_load(path))

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows, with the values of columns that can matter."""
        parts = _load(path)
        only = len(parts) == 1 and ("" in parts or not mapping.split)
        part = next(iter(parts.values())) if only else parts[mapping.split or ""]
        columns = known_names(part.column_names, mapping, path)
        with _told(path):
            # As Arrow, images are given as they are stored.
            batches = part.select_columns(columns).with_format("arrow").iter(BATCH)
            stored = sum(Path(file["filename"]).stat().st_size for file in part.cache_files)
            yield from batch_rows(batches, part.column_names, Unfolding(path, stored))


def _is_saved(path: Path) -> bool:
    return any(all((path / name).is_file() for name in names) for names in (ALL, ONE))


def _saved_splits(path: Path) -> tuple[str, ...]:
    if not (path / ALL[0]).is_file():
        return ("",)
    with _told(path):
        return tuple(str(split) for split in read_json(path / ALL[0])["splits"])


def _arrow_files(folder: Path) -> list[Path]:
    # What else lies there are results of the library's own.
    with _told(folder):
        return [folder / str(file["filename"]) for file in read_json(folder / "state.json")["_data_files"]]


def _load(path: Path) -> dict[str, Any]:
    """Return a data set's parts by split; one without splits is called ""."""
    if not path.is_dir():
        return _load_hub(*_hub_name(path))
    datasets = _library()
    with _told(path), _quiet():
        if _is_saved(path):
            found = datasets.load_from_disk(str(path))
        else:
            found = datasets.load_dataset(str(path), cache_dir=str(cache_folder() / "datasets"))
    return dict(found) if isinstance(found, dict) else {"": found}


@lru_cache(maxsize=4)
def _load_hub(name: str, config: str | None) -> dict[str, Any]:
    """Return a data set of the hub, fetched into the library's cache; asked for again, the same one without asking."""
    datasets = _library()
    with _quiet():
        try:
            return dict(datasets.load_dataset(name, config))
        except datasets.exceptions.DatasetNotFoundError as error:
            raise DataError(
                f"There is no folder {name}, and the hub has no data set of that name that you may read. Check the "
                "name; for one that needs a login, run hf auth login."
            ) from error
        except ConnectionError as error:
            raise DataError(
                f"There is no folder {name}, and the hub, which may have a data set of that name, cannot be reached "
                f"({one_line(error)}). Go online and unset HF_HUB_OFFLINE, or give a folder."
            ) from error
        except Exception as error:
            hint = f"Give one of its configurations as hf:{name}/CONFIG." if config is None else "Check the name."
            raise DataError(f"The data set {name} of the hub cannot be read ({_reason(error)}). {hint}") from error


def _hub_name(path: Path) -> tuple[str, str | None]:
    """Return a path as name and configuration of a data set of the hub."""
    parts = path.as_posix().split("/")
    if path.exists() or not 2 <= len(parts) <= 3 or not all(HUB_PART.fullmatch(part) for part in parts):
        found = "is a file" if path.exists() else "is neither a folder nor the name of a data set on the hub"
        raise DataError(f"{path} {found}. Give hf:FOLDER, hf:ORG/NAME or hf:ORG/NAME/CONFIG.")
    return "/".join(parts[:2]), parts[2] if len(parts) == 3 else None


def _library() -> Any:
    return optional("datasets", "A data set of Hugging Face")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what goes wrong in the library, or in a file of its, into one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"The data set {path} cannot be read ({_reason(error)}). Check its files.") from error


def _reason(error: Exception) -> str:
    # The library hides what went wrong behind a general error.
    cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error
    return f"{type(cause).__name__}: {one_line(cause)}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars and notes from the terminal."""
    import datasets.utils  # noqa: PLC0415 - slow
    import huggingface_hub.utils  # noqa: PLC0415

    libraries = (datasets.utils, huggingface_hub.utils)
    before = [(library.logging.get_verbosity(), library.are_progress_bars_disabled()) for library in libraries]
    for library in libraries:
        library.logging.set_verbosity_error()
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library, (verbosity, disabled) in zip(libraries, before, strict=True):
            library.logging.set_verbosity(verbosity)
            if not disabled:
                library.enable_progress_bars()
