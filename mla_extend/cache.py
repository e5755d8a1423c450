"""Where what can be made again is kept: the demo base, rendered images, encoded features."""

import os
from pathlib import Path

import platformdirs

from mla_extend.files import user_path

FEATURES = "features"


def cache_folder() -> Path:
    """Return the cache folder: `MLA_EXTEND_CACHE` where it is set, else the platform's own place for this package."""
    moved = os.environ.get("MLA_EXTEND_CACHE")
    return user_path(moved) if moved else Path(platformdirs.user_cache_dir("mla-extend", appauthor=False))
