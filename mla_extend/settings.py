"""What is said once and holds for all commands: base, registry, index and device.

An option or argument counts first, then the environment (`MLA_EXTEND_BASE` and so on), then `mla-extend.toml` in the
current folder, then `mla-extend.toml` in the user's configuration folder.
"""

import os
from pathlib import Path
from typing import Any

from mla_extend.errors import DataError
from mla_extend.files import user_path

FILE = "mla-extend.toml"
KNOWN = ("base", "registry", "index", "device")


def setting(name: str) -> str | None:
    """Return the value of one of `KNOWN`, `None` where nothing says it.

    Raises:
        DataError: a settings file cannot be read, or says what no settings file may.
    """
    said = os.environ.get(f"MLA_EXTEND_{name.upper()}")
    if said:
        return said
    project = _read(Path(FILE))
    return project[name] if name in project else _read(user_file()).get(name)


def index_folder(given: str | Path | None = None) -> Path:
    """Return the folder of the image index: the given one, the one that is set, or `image-index/`."""
    return user_path(given or setting("index") or "image-index")


def user_file() -> Path:
    """Return where the user's settings are, whether or not there are any."""
    import platformdirs  # noqa: PLC0415 - seldom got to, and every start would wait for it

    return Path(platformdirs.user_config_dir("mla-extend", appauthor=False)) / FILE


def _read(path: Path) -> dict[str, str]:
    """Return what a file says, folders as absolute paths; nothing where there is no such file."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise DataError(f"The settings in {path} cannot be read ({error.strerror}). Make the file readable.") from error
    import tomllib  # noqa: PLC0415 - most have no such file

    try:
        found = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The settings in {path} are not TOML ({error}). Write lines such as registry = 'DIR'."
        ) from error
    return {name: _checked(path, name, value) for name, value in found.items()}


def _checked(path: Path, name: str, value: Any) -> str:
    if name not in KNOWN:
        raise DataError(f"{path} sets {name!r}, which there is not. It may set {', '.join(KNOWN)}.")
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise DataError(f"{path} sets {name} to {value!r}, which is no text. Write {name} = '...'.")
    inside = path.parent / user_path(value)
    folder = name in ("registry", "index") or (name == "base" and inside.is_dir())
    return str(inside.absolute()) if folder else value
