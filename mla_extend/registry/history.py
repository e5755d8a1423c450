"""The record of what happened to each language: `.history/<language>.jsonl`, one line an event, never edited.

It lies beside the languages' folders, since it outlives the language; each language has a file of its own.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mla_extend.errors import RegistryError
from mla_extend.files import atomic_path, read_plain
from mla_extend.registry import layout

ADD, REPLACE, SWITCH, PRUNE, REMOVE = "add", "replace", "switch", "prune", "remove"


@dataclass(frozen=True)
class Event:
    """Tell of one change.

    Attributes:
        when: in UTC, to the second.
        action: `add`, `replace` (a new version beside older ones), `switch` (another version put into use), `prune` (an
            old version deleted) or `remove` (the language, with all its versions).
        before: the version in use before; `None` if there was none.
        after: the version in use after.
        version: the version that was deleted by `prune`.
        isolation: the proof that nothing else moved; a new version has its own on its card.
        done: `False` if the change was cut off, or was undone by hand. It is written down before it is made, so that no
            change goes without a line.
    """

    when: str
    action: str
    before: str | None
    after: str | None
    version: str | None = None
    isolation: dict[str, Any] = field(default_factory=dict)
    done: bool = True


def record_of(base_folder: Path, language: str) -> Path:
    """Return the path of a language's record."""
    return base_folder / layout.HISTORY / f"{layout.folder_name(layout.check_language(language))}.jsonl"


def in_use(folder: Path) -> str | None:
    """Return the name of the version in use in a language's folder; `None` if there is none, or it cannot be read."""
    try:
        return layout.read_current(folder)
    except RegistryError:
        return None


@contextlib.contextmanager
def recorded(
    folder: Path,
    language: str,
    action: str,
    before: str | None,
    after: str | None,
    *,
    version: str | None = None,
    isolation: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Write down a change of the language that lies in `folder`, then let it be made; a failed one is taken back.

    The caller holds the registry's lock.

    Raises:
        OSError: the record cannot be written. Nothing was changed then.
    """
    path = record_of(folder.parent, language)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    line: dict[str, Any] = {"when": now, "action": action, "before": before, "after": after}
    line |= {"version": version} if version is not None else {}
    line |= {"isolation": dict(isolation)} if isolation else {}
    held = read_plain(path) if path.exists() else b""
    try:
        _write(path, held + (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())
        yield
    except BaseException:
        if in_use(folder) == before and (version is None or (folder / version).exists()):
            with contextlib.suppress(OSError):
                _write(path, held)
        raise


def read_events(base_folder: Path, language: str) -> list[Event]:
    """Return what happened to a language, the oldest first; nothing if nothing was recorded.

    Raises:
        RegistryError: the record is damaged; the message names the line.
    """
    path = record_of(base_folder, language)
    try:
        lines = read_plain(path).decode().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RegistryError(f"{path} cannot be read ({error}). {_REMEDY}") from error
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(Event(**json.loads(line)))
        except (ValueError, TypeError, RecursionError) as error:
            raise RegistryError(f"{path}, line {number}: {line[:80]!r} is not an event. {_REMEDY}") from error
    folder = base_folder / layout.folder_name(language)
    return [_judged(events, index, folder) for index in range(len(events))]


def published_order(base_folder: Path, language: str) -> dict[str, int]:
    """Return the place of each version of a language among those published here, as far as the record can be read."""
    try:
        events = read_events(base_folder, language)
    except RegistryError:
        return {}
    return {str(event.after): place for place, event in enumerate(events) if event.action in {ADD, REPLACE}}


def _write(path: Path, content: bytes) -> None:
    # The whole file anew: a line cut off in the middle would be the end of the record.
    if not content:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _judged(events: list[Event], index: int, folder: Path) -> Event:
    """Return an event with what the next one, or what is there now, says of whether it took place."""
    event, later = events[index], events[index + 1 :]
    if event.action == PRUNE:
        again = any(other.action == PRUNE and other.version == event.version for other in later)
        done = not again and not (folder / str(event.version)).exists()
    else:
        following = later[0].before if later else in_use(folder)
        # Where neither fits, `current` was written by hand later.
        done = following == event.after or following != event.before
    return replace(event, done=done)


_REMEDY = "Take it from a backup, or delete that line: versions and their cards do not need it."
