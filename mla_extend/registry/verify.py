"""Whether every file is what its card says: for one version before it is loaded, and for a whole registry."""

from collections.abc import Iterator
from pathlib import Path

from mla_extend.errors import LanguageError, RegistryError
from mla_extend.registry import layout
from mla_extend.registry.check import Problem, _sentence, version_problems
from mla_extend.registry.history import read_events
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.store import Registry


def verify(root: str | Path) -> list[Problem]:
    """Check everything in a registry and return what is wrong; an empty list says that all is as it was published.

    Raises:
        RegistryError: there is no such folder, or it holds no base.
    """
    registry = Registry(root)
    bases = registry.bases()
    if not bases:
        raise RegistryError(f"{registry.root} holds no base. Give the folder that languages were added to.")
    return [problem for base in bases for problem in _base_problems(registry, base)]


def _base_problems(registry: Registry, name: str) -> Iterator[Problem]:
    try:
        base = registry.open(name)
    except RegistryError as error:
        remedy = "No language of this base can be used until then."
        yield Problem(name, None, None, layout.BASE_FILE, _sentence(error), remedy)
        return
    if base.base.name != name:
        what = f"it names the base {base.base.name!r}, but is in the folder {name!r}"
        yield Problem(name, None, None, layout.BASE_FILE, what, "Give the folder the base's name.")
    for record in sorted((base.folder / layout.HISTORY).glob("*.jsonl")):
        yield from _record_problems(base, record)
    for path in sorted(base.folder.iterdir()):
        language = layout.language_of(path.name) if path.is_dir() else None
        if language is not None:
            yield from _language_problems(base, language, path)
        elif path.name != layout.BASE_FILE and not path.name.startswith("."):
            yield Problem(name, None, None, path.name, "it is no language's", "Move it out of the registry.")


def _record_problems(base: BaseRegistry, record: Path) -> Iterator[Problem]:
    language = layout.language_of(record.stem)
    name = f"{layout.HISTORY}/{record.name}"
    if language is None:
        yield Problem(base.base.name, None, None, name, "it is no language's record", "Move it out of the registry.")
        return
    try:
        read_events(base.folder, language)
    except RegistryError as error:
        remedy = "The language can be used; its history cannot be shown until then."
        yield Problem(base.base.name, None, None, name, _sentence(error), remedy)


def _language_problems(base: BaseRegistry, language: str, folder: Path) -> Iterator[Problem]:
    name = base.base.name
    if folder.is_symlink():
        what = "it is a link"
        yield Problem(name, language, None, None, what, "Put a copy of the folder in its place.")
    there = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if all(layout.is_version_name(path.name) and layout.is_pending(path) for path in there):
        return  # a first publish was cut off: there is no language, and the next publish clears the folder
    try:
        base.current(language)
    except LanguageError:
        what = "it is missing: without it this is not a language"
        remedy = "Write the name of a version into it, or add the language again, which clears the folder."
        yield Problem(name, language, None, layout.CURRENT, what, remedy)
    except RegistryError as error:
        yield Problem(name, language, None, layout.CURRENT, _sentence(error), "The language cannot be used until then.")
    for path in there:
        if path.is_dir() and layout.is_version_name(path.name):
            if not layout.is_pending(path):
                yield from version_problems(base, Version(language, path.name, path))
        elif path.name != layout.CURRENT:
            yield Problem(name, language, None, path.name, "it is no version", "Move it out of the registry.")
