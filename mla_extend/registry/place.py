"""Where the registry is."""

import os
from pathlib import Path

from mla_extend.files import user_path

DEFAULT = "adapters"


def registry_root(given: str | Path | None = None) -> Path:
    """Return the registry's folder: the given one, `MLA_EXTEND_REGISTRY`, or `adapters/` in the current folder."""
    return user_path(given or os.environ.get("MLA_EXTEND_REGISTRY") or DEFAULT)
