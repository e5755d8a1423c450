"""What `list` and `show` read: files of the registry alone, so that they answer at once."""

from pathlib import Path
from typing import Any

from mla_extend.errors import LanguageError, RegistryError
from mla_extend.registry import layout
from mla_extend.registry.card import Card, read_card
from mla_extend.registry.check import version_problems
from mla_extend.registry.history import in_use, record_of
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.store import Registry
from mla_extend.settings import setting

FIGURES = ("mean_recall", "ci95", "native_mean_recall", "ratio", "ratio_ci95", "to_native_accuracy", "to_native_ci95")


def summaries(root: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return one row a language over all bases of a registry, and what is wrong with those that cannot be read."""
    registry = Registry(root)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for name in registry.bases():
        try:
            entries = registry.open(name).languages()
        except RegistryError as error:
            problems.append(str(error))
            continue
        for entry in entries:
            if entry.card is None:
                problems.append(f"{entry.language} ({name}): {entry.problem}")
            else:
                rows.append(_row(entry.card))
    return rows, problems


def _row(card: Card) -> dict[str, Any]:
    splits = card.metrics.get("splits", {})
    return {
        "language": card.language,
        "name": card.language_name,
        "version": card.version,
        "base": card.base["name"],
        "parameters": card.parameters,
        "bytes": card.bytes,
        "created": card.created,
        "test_set": card.metrics.get("test_set"),
        "mean_recall": {name: split["mean_recall"] for name, split in splits.items() if _has(split, "mean_recall")},
        "ratios": {name: split["ratio"] for name, split in splits.items() if _has(split, "ratio")},
        "noncommercial": card.noncommercial,
        "isolated": bool(card.isolation.get("ok")),
    }


def _has(split: dict[str, Any], figure: str) -> bool:
    return split.get(figure) is not None


def find_home(language: str, base: str | None, registry: str | Path | None) -> tuple[str, BaseRegistry]:
    """Return a language's tag and the one base's registry that holds it.

    Args:
        language: a code as the user writes it.
        base: a base's name, or what it was opened from; `None`: the one that holds the language.
        registry: the registry's folder.

    Raises:
        LanguageError: no base holds it; the message says what there is.
        RegistryError: several do and none is named, or there is no such base.
    """
    from mla_extend.data.codes import language_tag  # noqa: PLC0415 - imports langcodes

    if "@" in language:
        raise LanguageError(f"{language!r} is a version, but a language is needed. Leave out the '@' and what follows.")
    tag = language_tag(language)
    homes = open_homes(base, registry)
    root = homes[0].folder.parent
    holding = [home for home in homes if tag in home.tags()]
    if len(holding) > 1:
        names = ", ".join(home.base.name for home in holding)
        raise RegistryError(f"{tag!r} exists for several bases: {names}. Choose one with --base.")
    if not holding:
        if len(homes) == 1:
            homes[0].current(tag)  # raises with the nearest name
        raise LanguageError(f"{tag!r} is not in the registry {root}, for none of its bases.")
    return tag, holding[0]


def open_homes(base: str | None, registry: str | Path | None) -> list[BaseRegistry]:
    """Return the registries of all bases, or of those that are meant by a name or a source: at least one.

    One that cannot be opened keeps nobody from the others.

    Raises:
        RegistryError: there is none, or none that can be opened.
    """
    root = Registry(registry)
    base = base or setting("base")
    homes: list[BaseRegistry] = []
    problem: RegistryError | None = None
    for name in root.bases():
        try:
            homes.append(root.open(name))
        except RegistryError as error:
            problem = error
    if base is not None:
        from mla_extend.bases.source import base_name  # noqa: PLC0415 - not where one base is all there is

        named = (base, base_name(base))
        return [home for home in homes if home.base.source == base or home.base.name in named] or [root.open(base)]
    if not homes:
        raise problem or RegistryError(
            f"{root.root} holds no language yet. Add one, or name another folder with --registry."
        )
    return homes


def find_homes(language: str | None, base: str | None, registry: str | Path | None) -> list[tuple[BaseRegistry, str]]:
    """Return a language's home and tag; with no language, those of all languages (of one base, if it is named).

    Raises:
        LanguageError: no base holds the language.
        RegistryError: several do and none is named, there is no such base, or the registry holds none.
    """
    if language is not None:
        tag, home = find_home(language, base, registry)
        return [(home, tag)]
    return [(home, tag) for home in open_homes(base, registry) for tag in home.tags()]


def find_version(language: str, base: str | None, registry: str | Path | None) -> tuple[BaseRegistry, Version]:
    """Return the version that `LANG` (the one in use) or `LANG@VERSION` names, and its home.

    A version is its name, the beginning of it, or its number from the oldest, `v1`.

    Raises:
        LanguageError: there is no such language.
        RegistryError: there is no such version, or several bases hold the language and none is named.
    """
    code, wanted = split_version(language)
    tag, home = find_home(code, base, registry)
    return home, home.current(tag) if wanted is None else home.find(tag, wanted)


def split_version(language: str) -> tuple[str, str | None]:
    """Return the code of `LANG` or `LANG@VERSION`, and the version that is named.

    Raises:
        RegistryError: nothing follows the `@`.
    """
    code, at, wanted = language.partition("@")
    if at and not wanted:
        raise RegistryError(f"{language!r} names no version after '@'. Write {code}@v1, or {code} alone.")
    return code, wanted or None


def history(language: str, base: str | None, registry: str | Path | None) -> dict[str, Any]:
    """Return every version of a language, the newest first, and what was recorded of it, the oldest first.

    Every file of every version is hashed. A language that was removed has its record left.

    Returns:
        `{"language", "base", "in_use", "versions", "events", "problems"}`. A version is `{"version", "number" (1 is the
        oldest), "in_use", "created", "recipe", "data", "seed", "test_set", "splits", "bytes", "problems"}`; it is as
        it was published if `problems` is empty. Where its card cannot be read, what the card says is `None`.

    Raises:
        LanguageError: there is no such language, and none was removed.
        RegistryError: several bases hold the language and none is named, or there is no such base.
    """
    tag, home = _find_recorded(language, base, registry)
    current = in_use(home.folder_of(tag))
    versions = home.versions(tag)
    problems: list[str] = []
    events: list[dict[str, Any]] = []
    try:
        events = [vars(event) for event in home.events(tag)]
    except RegistryError as error:
        problems.append(str(error))
    if versions and current not in {version.name for version in versions}:
        problems.append(f"{home.folder_of(tag) / layout.CURRENT} names no version that is there. Name one: rollback.")
    return {
        "language": tag,
        "base": home.base.name,
        "in_use": current,
        "versions": [
            {
                "version": version.name,
                "number": number,
                "in_use": version.name == current,
                **_version_row(home, version),
            }
            for number, version in reversed(list(enumerate(versions, start=1)))
        ],
        "events": events,
        "problems": problems,
    }


def _find_recorded(language: str, base: str | None, registry: str | Path | None) -> tuple[str, BaseRegistry]:
    """Return a language's tag and home as `find_home`, and of one that was removed the home that recorded it."""
    from mla_extend.data.codes import language_tag  # noqa: PLC0415 - imports langcodes

    try:
        return find_home(language, base, registry)
    except LanguageError:
        tag = language_tag(language)
        left = [home for home in open_homes(base, registry) if record_of(home.folder, tag).is_file()]
        if len(left) != 1:
            raise
        return tag, left[0]


def _version_row(home: BaseRegistry, version: Version) -> dict[str, Any]:
    problems = [str(problem) for problem in version_problems(home, version)]
    size = disk_size(version)
    try:
        card = read_card(version.folder)
    except RegistryError:
        unread = ("created", "recipe", "data", "seed", "test_set", "splits")
        return {**dict.fromkeys(unread), "bytes": size, "problems": problems}
    splits = card.metrics.get("splits", {})
    return {
        "created": card.created,
        "recipe": card.recipe.get("name"),
        "data": [{key: record.get(key) for key in ("role", "path", "pairs", "licence")} for record in card.data],
        "seed": card.seed,
        "test_set": card.metrics.get("test_set"),
        "splits": {name: {key: split[key] for key in FIGURES if _has(split, key)} for name, split in splits.items()},
        "bytes": size,
        "problems": problems,
    }


def disk_size(version: Version) -> int:
    """Return how many bytes the files of a version hold."""
    return sum(path.lstat().st_size for path in layout.files_in(version.folder).values())
