"""What `list` and `show` read: cards alone, so that they answer at once."""

from pathlib import Path
from typing import Any

from mla_extend.errors import LanguageError, RegistryError
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.place import registry_root
from mla_extend.registry.store import Registry


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
        "mean_recall": {name: split["mean_recall"] for name, split in splits.items() if "mean_recall" in split},
        "ratios": {name: split["ratio"] for name, split in splits.items() if split.get("ratio") is not None},
        "noncommercial": card.noncommercial,
        "isolated": bool(card.isolation.get("ok")),
    }


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

    tag = language_tag(language)
    root = Registry(registry_root(registry))
    homes = [root.open(name) for name in root.bases()]
    if not homes:
        raise RegistryError(f"{root.root} holds no language yet. Add one, or name another folder with --registry.")
    if base is not None:
        homes = [home for home in homes if base in (home.base.name, home.base.source)]
        if not homes:
            return tag, root.open(base)  # raises with what there is
    holding = [home for home in homes if tag in home.tags()]
    if len(holding) > 1:
        names = ", ".join(home.base.name for home in holding)
        raise RegistryError(f"{tag!r} is there for several bases: {names}. Say which with --base.")
    if not holding:
        if len(homes) == 1:
            homes[0].current(tag)  # raises with the nearest name
        raise LanguageError(f"{tag!r} is not in the registry {root.root}, for none of its bases.")
    return tag, holding[0]


def find_card(language: str, base: str | None, registry: str | Path | None) -> Card:
    """Return the card of a language's version in use; raises as `find_home`."""
    tag, home = find_home(language, base, registry)
    return home.card(tag)
