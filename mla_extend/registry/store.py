"""The registry: one folder a base, in it one folder a language, in that one folder a version.

`Registry("adapters").open("demo").languages()` lists what is there, in milliseconds: nothing heavy is imported.
"""

import difflib
import os
from pathlib import Path

from mla_extend.bases.identity import BaseIdentity
from mla_extend.errors import BaseMismatchError, RegistryError
from mla_extend.files import make_folder, user_path
from mla_extend.registry import layout
from mla_extend.registry.base_record import write_base
from mla_extend.registry.languages import BaseRegistry, Entry
from mla_extend.registry.layout import Version
from mla_extend.registry.lock import lock, writing
from mla_extend.settings import setting

__all__ = ["BaseIdentity", "BaseRegistry", "Entry", "Registry", "Version"]

DEFAULT = "adapters"


class Registry:
    """A folder of adapters, with one registry per base. It need not exist yet.

    Examples:
        >>> from mla_extend import Registry
        >>> registry = Registry("adapters")
        >>> registry.bases()
        ['clip']
        >>> [entry.language for entry in registry.open("clip").languages()]
        ['sw']
    """

    def __init__(self, root: str | Path | None = None) -> None:
        """Point at a folder: the given one, the one that is set, or `adapters/` in the current folder.

        Raises:
            DataError: none is given, and the settings cannot be read.
        """
        self.root = user_path(root or setting("registry") or DEFAULT)

    def bases(self) -> list[str]:
        """Return the names of the bases, in order, those that cannot be read among them.

        Raises:
            RegistryError: the registry's folder cannot be read.
        """
        try:
            return sorted(name for name in os.listdir(self.root) if self._is_base(name))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise RegistryError(f"{self.root} cannot be read ({error}). Make it readable.") from error

    def _is_base(self, name: str) -> bool:
        try:
            (self.root / name / layout.BASE_FILE).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return layout.BASE_NAME.fullmatch(name) is not None  # opening it says what is wrong
        return True

    def open(self, name: str | None = None) -> "BaseRegistry":
        """Open a base's registry; `None` opens the only one.

        Raises:
            RegistryError: there is none of that name, or `None` is given and there are none or several.
        """
        bases = self.bases()
        if name is None:
            if len(bases) != 1:
                have = f"several bases ({', '.join(bases)}): name one of them" if bases else "no base: add a language"
                raise RegistryError(f"{self.root} holds {have}.")
            name = bases[0]
        if name not in bases:
            near = difflib.get_close_matches(name, bases, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"It holds: {', '.join(bases) or 'none'}."
            raise RegistryError(f"{self.root} holds no base named {name!r}. {hint}")
        return BaseRegistry(self.root / layout.check_base_name(name))

    def base_source(self) -> str | None:
        """Return the base that is set, or else where the only one came from; `None` where there is none yet.

        Raises:
            RegistryError: there are several, and none is set.
            DataError: the settings cannot be read.
        """
        if said := setting("base"):
            return said
        names = self.bases()
        if len(names) > 1:
            raise RegistryError(f"{self.root} holds several bases: {', '.join(names)}. Choose one with --base.")
        return self.open(names[0]).base.source if names else None

    def create(self, record: BaseIdentity) -> "BaseRegistry":
        """Open the registry of a base, making it first if it is not there.

        Raises:
            BaseMismatchError: another base has that name here.
            RegistryError: the name cannot name a folder, or the folder cannot be written.
        """
        folder = self.root / layout.check_base_name(record.name)
        if not (folder / layout.BASE_FILE).exists():  # what is there is opened without a lock, and nothing is written
            with writing(f"The registry of {record.name!r} cannot be made in {self.root}"):
                make_folder(folder)
                with lock(folder):
                    if not (folder / layout.BASE_FILE).exists():
                        write_base(folder, record)
        opened = BaseRegistry(folder)
        if opened.base.fingerprint != record.fingerprint or opened.base.native != record.native:
            raise BaseMismatchError(
                f"{folder} belongs to the base {opened.base.name!r} from {opened.base.source!r} (native language "
                f"{opened.base.native!r}, fingerprint {opened.base.fingerprint[:16]}), and {record.name!r} from "
                f"{record.source!r} is another (native language {record.native!r}, fingerprint "
                f"{record.fingerprint[:16]}). Use another registry folder or another name for this base."
            )
        return opened
