"""Open a base together with a registry, whose languages are loaded when they are first asked for."""

import threading
from pathlib import Path

from mla_extend.bases.base import Base
from mla_extend.bases.open import open_base
from mla_extend.bases.source import DEMO, base_name, native_language
from mla_extend.errors import LanguageError
from mla_extend.language.model import MultilingualModel
from mla_extend.language.related import Related
from mla_extend.language.stored import read_stored
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, check_base
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.place import registry_root
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import check_version
from mla_extend.training.precision import pick_device


class RegistryModel(MultilingualModel):
    """A model that finds its languages in a registry and checks their files before it loads them."""

    def __init__(self, base: Base, registry: BaseRegistry | None) -> None:
        super().__init__(base)
        self.registry = registry
        self._loading = threading.Lock()

    @property
    def languages(self) -> list[str]:
        """Return the languages that can be encoded, the native one first."""
        known = set(super().languages[1:]) | set(self.registry.tags() if self.registry else ())
        return [self.native, *sorted(known)]

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
                self.load(tag, self._checked(self.registry, tag)[0].folder)

    def related(self, tag: str) -> Related:
        """Read a language of the registry for another to start from, after the checks that loading makes.

        Raises:
            LanguageError: it is not there, or is the base's own.
            RegistryError: a file is not as its card says.
            BaseMismatchError: it was made for another base.
        """
        if tag == self.native:
            raise LanguageError(
                f"{tag!r} is the own language of the base {self.base.identity.name!r}: every language starts from that "
                "already. Leave out --start-from."
            )
        if self.registry is None:
            raise LanguageError(
                f"{tag!r} cannot be started from: no language was added to the base {self.base.identity.name!r} yet. "
                "Add it first, or leave out --start-from."
            )
        version, card = self._checked(self.registry, tag)
        return Related(tag, version.name, read_stored(version.folder, self.base.max_tokens), card.data)

    def _checked(self, registry: BaseRegistry, tag: str) -> tuple[Version, Card]:
        """Return the version in use of a language, whose files and base are as its card says, and that card."""
        version = registry.current(tag)
        card = check_version(version)
        check_base(card, self.base.identity.name, self.base.identity.fingerprint)
        return version, card


def load_model(
    base: str | None = None,
    registry: str | Path | None = None,
    *,
    device: str = "auto",
    progress: Progress = SILENT,
) -> RegistryModel:
    """Open a base and its registry.

    Args:
        base: `demo`, a model folder or a hub id; `None` takes the one that the registry holds, else the demo base.
        registry: the registry's folder; `None` takes `MLA_EXTEND_REGISTRY`, else `adapters/` in the current folder.
        device: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        progress: told of a base that has to be built or fetched first.

    Raises:
        BaseError: the base cannot be opened.
        BaseMismatchError: the registry's folder of that name belongs to another base.
        RegistryError: the registry holds several bases and none is named.
    """
    root = Registry(registry_root(registry))
    source, native = find_base(root, base, progress)
    opened = open_base(source, device=str(pick_device(device)), native=native, progress=progress)
    return RegistryModel(opened, open_registry(root, opened))


def find_base(root: Registry, base: str | None = None, progress: Progress = SILENT) -> tuple[str, str]:
    """Return where the base is opened from, and its native language, without opening it.

    Args:
        root: the registry; where it knows the base, its word on the native language counts.
        base: as given; `None` takes the one that the registry holds, else the demo base.
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
    return root.create(base.record())
