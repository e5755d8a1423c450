"""Where the registry is."""

import os
from pathlib import Path

DEFAULT = "adapters"


def registry_root(given: str | Path | None = None) -> Path:
    """Return the registry's folder: the given one, `MLA_EXTEND_REGISTRY`, or `adapters/` in the current folder."""
    return Path(given or os.environ.get("MLA_EXTEND_REGISTRY") or DEFAULT).expanduser()
