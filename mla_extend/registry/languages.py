"""The languages of one base: listing, reading, publishing, switching, pruning and removing them."""

import contextlib
import difflib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mla_extend.errors import LanguageError, RegistryError
from mla_extend.files import writing_to
from mla_extend.registry import layout, publish
from mla_extend.registry.base_record import read_base
from mla_extend.registry.card import Card, read_card
from mla_extend.registry.check import check_version
from mla_extend.registry.history import PRUNE, REMOVE, SWITCH, Event, in_use, published_order, read_events, recorded
from mla_extend.registry.layout import Version
from mla_extend.registry.lock import lock, telling, writing


@dataclass(frozen=True)
class Entry:
    """List one language: the version in use with its card, or the problem that keeps it from being used.

    Exactly one of `card` and `problem` is `None`.
    """

    language: str
    version: Version | None
    card: Card | None
    problem: str | None = None


class BaseRegistry:
    """The languages of one base.

    Attributes:
        folder: where they lie.
        base: which base they were made for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = read_base(folder)

    def languages(self) -> list[Entry]:
        """Return every language in order of its tag, damaged ones with their problem."""
        entries: list[Entry] = []
        for language in self._folders():
            try:
                entries.append(self.entry(self.current(language)))
            except LanguageError:
                continue  # left half-made by a crash, or removed meanwhile by another process
            except RegistryError as error:
                entries.append(Entry(language, None, None, str(error)))
        return entries

    def tags(self) -> list[str]:
        """Return the tags of all languages, in order, without reading their cards."""
        return [name for name, folder in self._folders().items() if (folder / layout.CURRENT).is_file()]

    def current(self, language: str) -> Version:
        """Return the version of a language that is in use.

        Raises:
            LanguageError: there is no such language.
            RegistryError: its `current` names a version that is not there.
        """
        folder = self.language_folder(language)
        name = layout.read_current(folder) if folder is not None else None
        if folder is None or name is None:
            raise LanguageError(self._missing(language))
        if not (folder / name).is_dir():
            if not (folder / layout.CURRENT).exists():
                raise LanguageError(self._missing(language))  # another process has just removed it
            raise RegistryError(
                f"{folder / layout.CURRENT} names the version {name}, which does not exist. Write one of "
                f"{[version.name for version in self.versions(language)]} into it, or add the language again."
            )
        return Version(language, name, folder / name)

    def versions(self, language: str) -> list[Version]:
        """Return all versions of a language, none if there is no such language.

        They stand in the order in which they were published here. Those of which nothing is recorded come first, in
        the order of their names: a name may come from elsewhere, or from a clock that was wrong.
        """
        folder = self.language_folder(language)
        if folder is None:
            return []
        order = published_order(self.folder, language)
        names = [path.name for path in folder.glob("*-*Z-*/") if layout.is_version_name(path.name)]
        names.sort(key=lambda name: (order.get(name, -1), name))
        return [Version(language, name, folder / name) for name in names if not layout.is_pending(folder / name)]

    def check_there(self, language: str) -> None:
        """Raise LanguageError unless a language is there."""
        if self.language_folder(language) is None:
            raise LanguageError(self._missing(language))

    def find(self, language: str, wanted: str) -> Version:
        """Return a version by its name, by a beginning that no other has, or by age: `v1` is the oldest.

        Raises:
            LanguageError: there is no such language.
            RegistryError: none or several are meant; the message lists those that there are.
        """
        self.check_there(language)
        versions = self.versions(language)
        numbers = [f"v{number}" for number in range(1, len(versions) + 1)]
        if wanted in numbers:
            found = [versions[numbers.index(wanted)]]
        else:
            found = [version for version in versions if wanted and version.name.startswith(wanted)]
        if len(found) != 1:
            have = ", ".join(f"v{number} {version.name}" for number, version in enumerate(versions, start=1))
            what = f"several versions that begin with {wanted!r}" if found else f"no version {wanted[:80]!r}"
            raise RegistryError(f"{language!r} has {what}. It has: {have}.")
        return found[0]

    def earlier(self, language: str) -> Version:
        """Return the version that was published before the one in use.

        Raises:
            LanguageError: there is no such language.
            RegistryError: the one in use is the oldest, or is not there.
        """
        current = self.current(language)
        versions = self.versions(language)
        place = versions.index(current)
        if not place:
            newer = ", ".join(version.name for version in versions[1:])
            hint = f"Name a newer one to put that into use: {newer}." if newer else "It has no other."
            raise RegistryError(f"{language!r} uses {current.name}, its oldest version. {hint}")
        return versions[place - 1]

    def events(self, language: str) -> list[Event]:
        """Return what was recorded of a language, the oldest first, whether or not it is still there.

        Raises:
            RegistryError: the record is damaged.
        """
        return read_events(self.folder, language)

    def card(self, language: str, version: str | None = None) -> Card:
        """Return the card of a version, as `find` takes it; `None` is the one in use.

        Raises:
            LanguageError: there is no such language.
            RegistryError: there is no such version, or its card is damaged.
        """
        return read_card((self.current(language) if version is None else self.find(language, version)).folder)

    def check_name(self, language: str, *, replace: bool = False) -> None:
        """Check that a language may be published under this tag: before training as well as after it.

        Raises:
            LanguageError: it is no tag, or the base's own language.
            RegistryError: the language is there and is not to be replaced, or is there in another spelling.
        """
        layout.check_language(language)
        if language.lower() == self.base.native.lower():
            raise LanguageError(
                f"{language!r} is the native language of the base {self.base.name!r}: it is there already, and nothing "
                "is ever added to it."
            )
        tags = self.tags()
        other = next((tag for tag in tags if tag != language and tag.lower() == language.lower()), None)
        if other is not None:
            raise RegistryError(f"{language!r} is in the registry as {other!r}. Use that spelling.")
        if not replace and language in tags:
            raise RegistryError(
                f"{language!r} is already in the registry {self.folder}. Replace it (--replace, or replace=True in "
                "Python; the old version is kept), or remove it first."
            )

    def publish(
        self,
        language: str,
        staged: Path,
        card: Card,
        *,
        replace: bool = False,
        prove: Callable[[Path], Mapping[str, Any]],
    ) -> Version:
        """Publish a staged folder as the new version in use of a language.

        It is proven and made complete beside other processes, which wait while it is put in its place. If one of them
        has changed a file of another language meanwhile, it is proven again while they wait. If anything fails, the
        registry is as it was and `staged` stays where it is, so that publishing can be tried again.

        Args:
            language: its tag.
            staged: a folder in `work_folder(language)` with the adapter's files; it becomes the version.
            card: what is known of it; version, time, hashes and proof are filled in.
            replace: the language may be there already.
            prove: called with `staged`, at most twice; returns the isolation proof as JSON, or raises IsolationError.

        Raises:
            LanguageError: it is no tag, or the base's own language.
            BaseMismatchError: the card is of another base.
            IsolationError: something else moved.
            RegistryError: the language is there and is not to be replaced, a file is of a kind that is not
                published, the disk is full, or another process holds the registry for too long.
        """
        from mla_extend.registry import untouched  # noqa: PLC0415 - listing needs none of it

        self.check_name(language, replace=replace)
        folder = self.folder_of(language)
        with self.preparing(language, "was not published"):
            publish.check_staged(staged, self.work)
            publish.check_card(card, language, self.base)
            proof = untouched.try_proof(lambda: prove(staged))
            name = publish.complete(folder, staged, card, proof) if proof is not None else ""
        with self.changing(language, "was not published"):
            self.check_name(language, replace=replace)
            publish.sweep(self.folder, language)
            if not untouched.holds(self, language, proof) or (folder / name).exists():
                name = publish.complete(folder, staged, card, prove(staged))
            return publish.put(folder, staged, language, name)

    def use(self, language: str, version: str, *, prove: Callable[[Path], Mapping[str, Any]] | None = None) -> Version:
        """Put another version of a language into use, for example the one before, and record it.

        Args:
            language: its tag.
            version: as `find` takes it. Its files are checked first.
            prove: called with the version's folder, at most twice; returns the isolation proof as JSON, or raises
                IsolationError.

        Raises:
            LanguageError: there is no such language.
            BaseMismatchError: the version was made for another base.
            IsolationError: something else moved.
            RegistryError: it has no such version, the version is damaged, or the folder cannot be written.
        """
        from mla_extend.registry import untouched  # noqa: PLC0415 - listing needs none of it

        folder = self.folder_of(language)
        with self.preparing(language, "was not switched"):
            chosen = self.find(language, version)
            check_version(chosen, self)
            proof = None
            if prove is not None and in_use(folder) != chosen.name:
                proof = untouched.try_proof(lambda: prove(chosen.folder))
        with self.changing(language, "was not switched"):
            self.check_there(language)
            publish.settle(folder)
            proven, chosen = chosen, self.find(language, version)
            check_version(chosen, self)
            before = in_use(folder)
            if before == chosen.name:
                return chosen
            if prove is not None and not (proven == chosen and untouched.holds(self, language, proof)):
                proof = dict(prove(chosen.folder))
            with recorded(folder, language, SWITCH, before, chosen.name, isolation=proof):
                publish.set_current(folder, chosen.name)
            return chosen

    def old_versions(self, language: str, keep: int) -> list[Version]:
        """Return what `prune` would delete: all versions but the `keep` newest and the one in use, the oldest first.

        Raises:
            LanguageError: there is no such language.
            RegistryError: `keep` is less than 1, or it cannot be told which version is in use.
        """
        if keep < 1:
            raise RegistryError(f"{keep} versions cannot be kept. Give 1 or more, or remove the language.")
        current = self.current(language)
        return [version for version in self.versions(language)[:-keep] if version.name != current.name]

    def prune(self, language: str, keep: int) -> list[Version]:
        """Delete all versions but the `keep` newest and the one in use, each in one step; return those deleted.

        Raises:
            LanguageError: there is no such language.
            RegistryError: as `old_versions`, or the folder cannot be written; those deleted before stay deleted.
        """
        with self.changing(language, "was not pruned"):
            publish.sweep_removed(self.work)
            self.check_there(language)
            folder = self.folder_of(language)
            publish.settle(folder)
            old = self.old_versions(language, keep)
            current = in_use(folder)
            for version in old:
                with recorded(folder, language, PRUNE, current, current, version=version.name):
                    publish.remove(version.folder, self.work)
            return old

    def remove(self, language: str, *, prove: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Remove a language with all its versions, in one step, and record it.

        Args:
            language: its tag.
            prove: called at most twice; returns the isolation proof as JSON, or raises IsolationError.

        Raises:
            LanguageError: there is no such language.
            IsolationError: something else moved.
            RegistryError: the folder cannot be written.
        """
        from mla_extend.registry import untouched  # noqa: PLC0415 - listing needs none of it

        with self.preparing(language, "was not removed"):
            self.check_there(language)
            proof = untouched.try_proof(prove) if prove is not None else None
        with self.changing(language, "was not removed"):
            publish.sweep_removed(self.work)
            self.check_there(language)
            folder = self.folder_of(language)
            if prove is not None and not untouched.holds(self, language, proof):
                proof = dict(prove())
            with recorded(folder, language, REMOVE, in_use(folder), None, isolation=proof):
                publish.remove(folder, self.work)

    def work_folder(self, language: str) -> Path:
        """Make a new folder for a run in progress; it is never read as an adapter."""
        layout.check_language(language)
        folder = self.work / f"{language}-{secrets.token_hex(4)}"
        with writing(f"No working folder can be made in {self.work}"):
            folder.mkdir(parents=True)
        return folder

    def work_folders(self, language: str) -> list[Path]:
        """Return the working folders of a language's runs, the newest last."""
        found = [path for path in self.work.glob("*-*") if path.name.rpartition("-")[0] == language]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    @contextlib.contextmanager
    def preparing(self, language: str, failed: str) -> Iterator[None]:
        """Let an error of the disk or Ctrl-C before a change tell that nothing was changed; as `changing`."""
        with telling(lambda: (f"{language!r} {failed}", "The registry is as it was.")), writing_to(self.folder):
            yield

    @contextlib.contextmanager
    def changing(self, language: str, failed: str) -> Iterator[None]:
        """Hold the registry of this base, and let an error or Ctrl-C tell what it has left of the language.

        Args:
            language: its tag.
            failed: what is told where nothing was changed, such as `was not published`.

        Raises:
            RegistryError: the disk has failed, or another process holds the registry for too long.
            Interrupted: the user pressed Ctrl-C.
        """
        before: tuple[str | None, frozenset[str]] | None = None

        def look() -> tuple[str, str]:
            used, names = self._state(language)
            if before is None or (used, names) == before:
                return f"{language!r} {failed}", "The registry is as it was."
            gone = ", ".join(sorted(before[1] - names))
            if used is None:
                return f"{language!r} was removed", ""
            return f"{language!r} uses {used} now", f"Deleted: {gone}." if gone else ""

        with telling(look), writing_to(self.folder), lock(self.folder):
            before = self._state(language)
            yield

    @property
    def work(self) -> Path:
        """Return the folder of runs in progress."""
        return self.folder / layout.WORK

    def folder_of(self, language: str) -> Path:
        """Return where a language lies, or would lie."""
        return self.folder / layout.folder_name(layout.check_language(language))

    def language_folder(self, language: str) -> Path | None:
        """Return where a language lies, or `None` if it is not there in this spelling."""
        folder = self.folder_of(language)
        # By the names that the disk has: where case does not count, a path would find another spelling too.
        there = folder.name in os.listdir(self.folder)  # noqa: PTH208 - a path of every name, for each language, is slow
        return folder if there and (folder / layout.CURRENT).is_file() else None

    def _state(self, language: str) -> tuple[str | None, frozenset[str]]:
        return in_use(self.folder_of(language)), frozenset(version.name for version in self.versions(language))

    def _folders(self) -> dict[str, Path]:
        with os.scandir(self.folder) as entries:
            found = [(layout.language_of(entry.name), entry.name) for entry in entries if entry.is_dir()]
        return {
            language: self.folder / name
            for language, name in sorted(found, key=lambda pair: pair[0] or "")
            if language is not None
        }

    def entry(self, version: Version) -> Entry:
        """Return a version with its card, or with the problem that its card has."""
        try:
            return Entry(version.language, version, read_card(version.folder))
        except RegistryError as error:
            return Entry(version.language, version, None, str(error))

    def _missing(self, language: str) -> str:
        tags = self.tags()
        near = next((tag for tag in tags if tag.lower() == language.lower()), None)
        close = [near] if near else difflib.get_close_matches(language, tags, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"It holds: {', '.join(tags) or 'none yet'}."
        return f"{language!r} is not in the registry {self.folder}. {hint}"
