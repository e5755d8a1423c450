"""Open a base together with a registry, whose languages are loaded when they are first asked for."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from mla_extend.bases.base import Base
from mla_extend.bases.open import open_base
from mla_extend.bases.source import DEMO, base_name, native_language
from mla_extend.errors import LanguageError, MlaExtendError, RegistryError
from mla_extend.language.adapter_files import read_adapter
from mla_extend.language.model import Language, MultilingualModel
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, check_base
from mla_extend.registry.check import check_version
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version, is_foreign
from mla_extend.registry.store import Registry

if TYPE_CHECKING:
    from mla_extend.language.related import Related


class Shared:
    """Let many threads encode at once, and one change what is loaded while none does; who changes goes first."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._readers = 0
        self._waiting = 0
        self._changing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep what is loaded as it is while the context lasts."""
        with self._free:
            self._free.wait_for(lambda: not self._changing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._free:
                self._readers -= 1
                self._free.notify_all()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Be alone while the context lasts."""
        with self._free:
            self._waiting += 1
            try:
                self._free.wait_for(lambda: not self._changing and not self._readers)
            finally:
                self._waiting -= 1
            self._changing = True
        try:
            yield
        finally:
            with self._free:
                self._changing = False
                self._free.notify_all()


class RegistryModel(MultilingualModel):
    """A model that finds its languages in a registry and checks their files before it loads them.

    Any number of threads may encode while languages are loaded, renewed or dropped by `require` and `refresh`.

    Attributes:
        registry: the base's part of the registry; `None` while it has none.
        problems: for each language whose version in use could not be taken up by `refresh`, why not.
    """

    def __init__(self, base: Base, registry: BaseRegistry | None, root: Registry | None = None) -> None:
        """Hold a base and its languages.

        Args:
            base: the base.
            registry: its part of a registry.
            root: the whole registry, where `refresh` looks for the base's part as long as there is none.
        """
        super().__init__(base)
        self.registry = registry
        self.problems: dict[str, str] = {}
        self._root = root
        self._loading = threading.RLock()
        self._tower = Shared()
        self._versions: dict[str, str] = {}
        self._seen = self._in_use()

    @property
    def languages(self) -> list[str]:
        """Return the languages that can be encoded, the native one first."""
        known = set(super().languages[1:]) | set(self.registry.tags() if self.registry else ())
        return [self.native, *sorted(known)]

    def version(self, tag: str) -> str | None:
        """Return which version of a language is loaded; `None` if none is, or it does not come from the registry."""
        return self._versions.get(tag)

    def require(self, tag: str) -> None:
        """Load a language from the registry if it is not loaded, after checking its files and its base.

        Raises:
            LanguageError: it is not there; the message says what is.
            RegistryError: a file is not as its card says.
            BaseMismatchError: it was made for another base.
        """
        if tag == self.native or tag in self._languages:
            return
        if self.registry is None:
            self.language(tag)
            return
        with self._loading:
            if tag not in self._languages:
                self.load_version(self.registry.current(tag))

    def load_version(self, version: Version) -> Card:
        """Load a version in place of the one that is loaded, after checking its files and its base; return its card.

        Raises:
            RegistryError: a file is not as its card says.
            BaseMismatchError: it was made for another base.
        """
        card = self._checked(version)
        with self._loading, self._tower.changing():
            if version.language in self._languages:
                self.remove(version.language)
            self.load(version.language, version.folder)
            self._versions[version.language] = version.name
        return card

    def load(self, tag: str, folder: Path, *, foreign: bool | None = None) -> Language:
        """Load a language as `MultilingualModel.load` does; its folder says whether it came from elsewhere."""
        return super().load(tag, folder, foreign=is_foreign(folder) if foreign is None else foreign)

    def refresh(self) -> list[str]:
        """Follow the registry: renew loaded languages whose version in use is another one, drop those removed from it.

        A language keeps the version that is loaded while its new one cannot be taken up; `problems` says why. What is
        not loaded stays so until it is asked for.

        Returns:
            The tags of all languages, loaded or not, that were added, changed or removed since the last call (or since
            the model was made).
        """
        with self._loading:
            if self.registry is None and self._root is not None:
                self.registry = open_registry(self._root, self.base)
            now = self._in_use()
            moved = {tag for tag in now.keys() | self._seen.keys() if now.get(tag) != self._seen.get(tag)}
            # One may have been loaded in between, and moved back since.
            moved |= {tag for tag, name in self._versions.items() if name != now.get(tag) and tag not in self.problems}
            changed = sorted(moved)
            for tag in changed:
                self.problems.pop(tag, None)
                name = now.get(tag)
                try:
                    if tag in self._versions and name is None:
                        with self._tower.changing():
                            self.remove(tag)
                    elif self.registry is not None and self._versions.get(tag, name) != name:
                        self.load_version(self.registry.current(tag))
                except MlaExtendError as error:
                    self.problems[tag] = str(error)
            self._seen = now
            return changed

    def remove(self, tag: str) -> None:
        """Unload a language; with the last one the text tower is the base's own again."""
        super().remove(tag)
        self._versions.pop(tag, None)

    def text_vectors(
        self, texts: Sequence[str], languages: str | Sequence[str], batch_size: int | None = None
    ) -> Tensor:
        """Encode text as `encode_text` does, unnormalised: vectors `[B, D]`."""
        tags = {languages} if isinstance(languages, str) else set(languages)
        while True:
            for tag in sorted(tags):
                self.require(tag)
            with self._tower.reading():
                # One may have been dropped since.
                if all(tag == self.native or tag in self._languages for tag in tags):
                    return super().text_vectors(texts, languages, batch_size)

    def related(self, tag: str) -> "Related":
        """Read a language of the registry for another to start from, after the checks that loading makes.

        Raises:
            LanguageError: it is not there, or is the base's own.
            RegistryError: a file is not as its card says.
            BaseMismatchError: it was made for another base.
        """
        if tag == self.native:
            raise LanguageError(
                f"{tag!r} is the native language of the base {self.base.identity.name!r}: all languages start from it "
                "already. Leave out --start-from."
            )
        if self.registry is None:
            raise LanguageError(
                f"--start-from {tag}: no language has been added to the base {self.base.identity.name!r} yet. "
                "Add it first, or leave out --start-from."
            )
        from mla_extend.language.related import Related  # noqa: PLC0415 - imports scipy, which encoding does without

        version = self.registry.current(tag)
        card = self._checked(version)
        return Related(
            tag,
            version.name,
            read_adapter(version.folder, self.base.max_tokens, foreign=is_foreign(version.folder)),
            card.data,
        )

    def _checked(self, version: Version) -> Card:
        card = check_version(version)
        check_base(card, self.base.identity.name, self.base.identity.fingerprint)
        return card

    def _in_use(self) -> dict[str, str]:
        if self.registry is None:
            return {}
        found: dict[str, str] = {}
        for tag in self.registry.tags():
            try:
                found[tag] = self.registry.current(tag).name
            except LanguageError:
                continue  # removed meanwhile
            except RegistryError:
                found[tag] = ""  # loading it says what is wrong
        return found


def load_model(
    base: str | None = None,
    registry: str | Path | None = None,
    *,
    device: str = "auto",
    progress: Progress = SILENT,
) -> RegistryModel:
    """Open a base with its registry. A language is loaded on first use.

    Examples:
        >>> from mla_extend import load_model
        >>> model = load_model(base="path/to/clip", registry="adapters")
        >>> model.languages
        ['en', 'sw']
        >>> model.encode(["mbwa mwekundu", "a red dog"], language=["sw", "en"]).shape
        (2, 12)

    Args:
        base: `demo`, a model folder or a hub id. Default: the setting, else the registry's base, else the demo base.
        registry: the registry's folder. Default: the setting, else `adapters/` in the current folder.
        device: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        progress: receives the progress of long work, such as fetching the base.

    Raises:
        BaseError: the base cannot be opened.
        BaseMismatchError: the registry's folder of that name belongs to another base.
        RegistryError: the registry holds several bases and none is named.
    """
    root = Registry(registry)
    source, native = find_base(root, base, progress)
    opened = open_base(source, device=device, native=native, progress=progress)
    return RegistryModel(opened, open_registry(root, opened), root)


def find_base(root: Registry, base: str | None = None, progress: Progress = SILENT) -> tuple[str, str]:
    """Return where the base is opened from, and its native language, without opening it.

    Args:
        root: the registry; where it knows the base, its word on the native language counts.
        base: as given; `None` takes the one that is set, else the registry's, else the demo base.
        progress: told of a base that has to be fetched.

    Raises:
        RegistryError: the registry holds several bases and none is named.
        BaseError: there is no such base.
    """
    source = base or root.base_source() or DEMO
    name = base_name(source)
    known = root.open(name).base.native if name in root.bases() else None
    return source, known or native_language(source, progress)


def open_registry(root: Registry, base: Base) -> BaseRegistry | None:
    """Return a base's part of a registry, `None` if it has none yet.

    Raises:
        BaseMismatchError: the folder of that name belongs to another base.
    """
    if base.identity.name not in root.bases():
        return None
    return root.create(base.identity)
