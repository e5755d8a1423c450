"""Find where a version from elsewhere goes: the base that it was made for."""

from dataclasses import dataclass
from pathlib import Path

from mla_extend.errors import BaseMismatchError
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, check_base
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.store import Registry


@dataclass(frozen=True)
class Target:
    """Say where a version goes: the registry, its part for the base (`None`: not there yet), and the base's source."""

    root: Registry
    home: BaseRegistry | None
    source: str
    native: str


def find_target(card: Card, base: str | None, registry: str | Path | None, progress: Progress = SILENT) -> Target:
    """Find the base that a card's version goes to, by its fingerprint where the registry knows it.

    Raises:
        BaseMismatchError: the registry, or the base that was named in it, has another fingerprint.
        BaseError: there is no such base.
    """
    from mla_extend.bases.source import base_name  # noqa: PLC0415 - packing does not need it

    root = Registry(registry)
    homes = [root.open(name) for name in root.bases()]
    if base is None:
        fitting = [home for home in homes if home.base.fingerprint == card.base["fingerprint"]]
    else:
        names = {base, base_name(base)}
        fitting = [home for home in homes if home.base.source == base or home.base.name in names]
    for home in fitting:
        check_base(card, home.base.name, home.base.fingerprint)
        return Target(root, home, home.base.source, home.base.native)
    if homes and base is None:
        have = ", ".join(f"{home.base.name!r} (fingerprint {home.base.fingerprint[:16]})" for home in homes)
        raise BaseMismatchError(
            f"The adapter for {card.language!r} was made for the base {card.base['name']!r} (fingerprint "
            f"{card.base['fingerprint'][:16]}), and {root.root} is of {have}. Give that base's path or hub id "
            "with --base."
        )
    from mla_extend.registry.load import find_base  # noqa: PLC0415 - imports torch

    return Target(root, None, *find_base(root, base, progress))
