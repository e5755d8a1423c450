"""Where the registry is."""

from pathlib import Path

from mla_extend.files import user_path
from mla_extend.settings import setting

DEFAULT = "adapters"


def registry_root(given: str | Path | None = None) -> Path:
    """Return the registry's folder: the given one, the one that is set, or `adapters/` in the current folder."""
    return user_path(given or setting("registry") or DEFAULT)
