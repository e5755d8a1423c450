"""Leave out by name what no person put there as a picture: thumbnails, recycle bins, snapshots and hidden files."""

import fnmatch
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from mla_extend.errors import DataError

DEFAULTS = (
    # Hidden: thumbnails and caches of QNAP, GNOME, Android, Adobe Bridge and PhotoPrism, bins of Linux and digiKam, ...
    ".*",
    # Synology: thumbnails, bin, snapshots, scratch; and its thumbnails where they were copied away.
    "@eaDir",
    "#recycle",
    "#snapshot",
    "@tmp",
    "@sharebin",
    "@syno*",
    "SYNOPHOTO*THUMB*",
    # QNAP, Asustor, Buffalo, Netgear, Samba, NetApp
    "@Recycle",
    "@Recently-Snapshot",
    "Network Recycle Bin*",
    "Network Trash Folder",
    "trashbox",
    "@GMT-*",
    "~snapshot",
    # Windows
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    # Linux, macOS
    "lost+found",
    "__MACOSX",
    "Temporary Items",
    # Apple Photos and iPhoto: what is made from the originals.
    "*.photoslibrary/resources",
    "*.photoslibrary/scopes",
    "*.photoslibrary/Thumbnails",
    "*.photoslibrary/Previews",
    "*.photolibrary/Thumbnails",
    "*.photolibrary/Previews",
    # Lightroom, Capture One, Nextcloud, Piwigo
    "*.lrdata",
    "*/CaptureOne/Cache",
    "*/appdata_*/preview",
    "files_trashbin",
    "files_versions",
    "*/_data/i",
    # Copies that editors keep of what was before.
    "*~",
)
"""Globs on a name, or with a slash on the path below the folder that is indexed."""


class Excludes:
    """Say which files and folders below a folder are left out.

    A pattern is a glob, whatever its case: on a name, or where it holds a slash on the path below the folder. What lies
    in a folder that is left out is left out with it.

    Attributes:
        asked: the patterns that the user gave.

    Raises:
        DataError: a pattern is empty.
    """

    def __init__(self, patterns: Sequence[str] = (), *, defaults: bool = True) -> None:
        self.asked = tuple(dict.fromkeys(patterns))
        if empty := [pattern for pattern in self.asked if not pattern.strip("/ ")]:
            raise DataError(f"The --exclude pattern {empty[0]!r} is empty. Give a glob, such as 'raw*'.")
        known = [*self.asked, *(DEFAULTS if defaults else ())]
        self._names = _Globs([pattern for pattern in known if "/" not in _plain(pattern)])
        self._paths = _Globs([pattern for pattern in known if "/" in _plain(pattern)])

    def rule(self, below: str) -> str | None:
        """Return the pattern that leaves out a path below the folder, apart from the folders that it lies in."""
        return self._names.match(below.rpartition("/")[2]) or self._paths.match(below) or self._paths.match(f"/{below}")

    def rule_within(self, folder: Path, path: Path) -> str | None:
        """Return the pattern that leaves out a path, or a folder between it and the one that is indexed."""
        parts = path.relative_to(folder).parts
        return next(filter(None, (self.rule("/".join(parts[:end])) for end in range(1, len(parts) + 1))), None)


class _Globs:
    """Match any of several globs."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = list(patterns)
        globs = (fnmatch.translate(_folded(_plain(pattern))) for pattern in patterns)
        self.matcher = re.compile("|".join(f"({glob})" for glob in globs)) if patterns else None

    def match(self, text: str) -> str | None:
        """Return the first glob that matches all of a text."""
        found = self.matcher.match(_folded(text)) if self.matcher else None
        return self.patterns[found.lastindex - 1] if found and found.lastindex else None


def _plain(pattern: str) -> str:
    return pattern.removeprefix("./").rstrip("/")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
