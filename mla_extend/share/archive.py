"""One archive for one version: a zip whose entries are stored as they are, in order of name, with one fixed time.

So the bytes depend on the version alone, whichever library wrote them; every system opens it; its list of names and
sizes is read before anything else; and since nothing is compressed, nothing can unfold to more than the file is.
"""

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from mla_extend.errors import DataError
from mla_extend.files import atomic_path
from mla_extend.plain import first_line
from mla_extend.registry.contents import MAX_FILES, NOTHING, check_contents

TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can say."""
REGULAR = 0o100644
TYPE_BITS = 0o170000
END = b"PK\x05\x06"
END_BYTES, ENTRY_BYTES = 22, 512


def write_archive(path: Path, contents: Mapping[str, Path]) -> None:
    """Write files into an archive in one step.

    Args:
        path: of the archive.
        contents: each entry's name and file.

    Raises:
        DataError: it cannot be written.
    """
    try:
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(contents):
                _add(archive, name, contents[name])
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error}). Give another place with --out.") from error


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    entry = zipfile.ZipInfo(name, date_time=TIME)
    entry.create_system = 3  # the one that the attributes are of, on every system
    entry.external_attr = REGULAR << 16
    entry.file_size = path.stat().st_size
    with archive.open(entry, "w") as target, path.open("rb") as source:
        shutil.copyfileobj(source, target, 1 << 20)


def extract(path: Path, folder: Path) -> None:
    """Write an archive's files into an empty folder, once all of its list has been checked.

    Raises:
        DataError: it is no archive that `pack` wrote, or holds what a version must not hold.
    """
    if not path.is_file():
        state = "is not a file" if path.exists() else "does not exist"
        raise DataError(f"{path} {state}. Give an archive that mla-extend pack wrote.")
    not_ours = f"{path} is not an archive that mla-extend pack wrote"
    try:
        _check_end(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            check_contents(((entry.orig_filename, entry.file_size) for entry in entries), str(path))
            for entry in entries:
                fault = _entry_fault(entry)
                if fault is not None:
                    raise DataError(f"{path}: {entry.filename!r} {fault}. {NOTHING}")
            if sum(entry.compress_size for entry in entries) > path.stat().st_size:
                raise DataError(f"{path}: its entries overlap. {NOTHING}")
            for entry in entries:
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("xb") as written:
                    shutil.copyfileobj(source, written, 1 << 20)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{not_ours}: {first_line(error)}. Fetch or pack it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be unpacked ({error}). Free some space, or fetch it again.") from error


def _check_end(path: Path) -> None:
    """Check the end of a zip, so that its list is small, whole, and all that there is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES))
        end = file.read(END_BYTES)
    if len(end) < END_BYTES or not end.startswith(END):
        raise zipfile.BadZipFile("it has no zip directory at its end; it may have been cut off")
    count, listed, begins, comment = (
        int.from_bytes(end[at : at + width], "little") for at, width in ((10, 2), (12, 4), (16, 4), (20, 2))
    )
    if count > MAX_FILES or listed > MAX_FILES * ENTRY_BYTES:
        raise zipfile.BadZipFile(f"it lists {count:,} files in {listed:,} bytes, and the limit is {MAX_FILES} files")
    if comment or begins + listed + END_BYTES != size:
        raise zipfile.BadZipFile("there is other data before, after or within its list")


def _entry_fault(entry: zipfile.ZipInfo) -> str | None:
    kind = (entry.external_attr >> 16) & TYPE_BITS
    if kind not in (0, REGULAR & TYPE_BITS) or entry.is_dir():
        return "is not a plain file but a link, a folder or a device"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        return "is compressed, which pack does not do"
    return None
