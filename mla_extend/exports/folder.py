"""The folder of an export: hashes, a README, and publishing in one step."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mla_extend.errors import DataError
from mla_extend.files import dump_json, folder_beside, publish_folder, sha256_file
from mla_extend.registry.layout import files_in

ABOUT = "export.json"
CARD = "card.json"
README = "README.md"


def check_free(folder: Path, replace: bool) -> None:
    """Raise DataError if a folder exists, and may not be replaced or is not an export."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not replace:
        raise DataError(f"{folder} already exists. Give --replace, or another folder with --out.")
    if not (folder / ABOUT).is_file():
        raise DataError(
            f"{folder} already exists and is not an export: it holds no {ABOUT}. Give another folder with --out."
        )


@contextmanager
def export_folder(folder: Path, replace: bool) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `folder` on success and is deleted on failure.

    An older export stays until the new one is complete.

    Raises:
        DataError: something is there that may not be replaced.
        DiskError: the disk is full, fails or may not be written.
    """
    check_free(folder, replace)
    with folder_beside(folder) as filled:
        yield filled
        check_free(folder, replace)
        if not publish_folder(filled, folder, replace=replace):
            raise DataError(f"Another process has just created {folder}. Run the command again.")


def finish(folder: Path, about: dict[str, Any], readme: str) -> dict[str, Any]:
    """Write `README.md` and `export.json`, which gives size and SHA-256 of every other file; return its content."""
    (folder / README).write_text(readme, encoding="utf-8")
    for path in files_in(folder).values():
        path.chmod(0o644)  # safetensors writes what only its owner can read
    files = {
        name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for name, path in files_in(folder).items()
    }
    written = {**about, "files": files}
    (folder / ABOUT).write_text(dump_json(written), encoding="utf-8")
    return written


def keep_card(folder: Path, version_folder: Path | None) -> None:
    """Copy a language's card; the base's own language has none."""
    if version_folder is not None:
        shutil.copyfile(version_folder / CARD, folder / CARD)
