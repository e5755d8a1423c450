"""Take a version from elsewhere into the registry, with the name and the card that it has.

What comes from elsewhere is not trusted: names, sizes and hashes, the card's values, the adapter's settings and its
tensors are checked before a model sees it. Where it came from, and the isolation proof that was made here, lie beside
the version's files in a file of their own.
"""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.errors import BaseMismatchError, IsolationError, LanguageError, RegistryError
from mla_extend.files import dump_json, folder_beside, parse_json, sync_tree
from mla_extend.plain import first_line
from mla_extend.progress import SILENT, Progress
from mla_extend.registry import layout, publish
from mla_extend.registry.card import Card, check_base
from mla_extend.registry.check import check_version
from mla_extend.registry.contents import NOTHING, check_contents
from mla_extend.registry.foreign_card import as_foreign, foreign_card
from mla_extend.registry.history import SWITCH, in_use, recorded
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.lock import writing
from mla_extend.share.foreign_adapter import check_adapter, check_text
from mla_extend.share.target import Target, find_target

if TYPE_CHECKING:
    from mla_extend.registry.load import RegistryModel

SCHEMA = 1


def already_there(card: Card, folder: Path, home: BaseRegistry | None, *, replace: bool) -> Version | None:
    """Return the version in the registry that is this very one and in use; check that the language may be published.

    Raises:
        RegistryError: a version of that name has another content or is damaged, or the language is there in another
            version and is not to be replaced.
        LanguageError: it is the base's own language.
    """
    if home is None:
        return None
    same = next((one for one in home.versions(card.language) if one.name == card.version), None)
    if same is not None:
        if (same.folder / layout.CARD).read_bytes() != (folder / layout.CARD).read_bytes():
            raise RegistryError(
                f"{same.folder} exists with other content. Two versions cannot have one name: remove "
                f"{card.language!r} first."
            )
        check_version(same)
        if home.current(card.language) == same:
            return same
    home.check_name(card.language, replace=replace)
    return None


def take_in(
    folder: Path,
    origin: Mapping[str, Any],
    what: str,
    *,
    base: str | None = None,
    registry: str | Path | None = None,
    replace: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Check a folder with a version from elsewhere, prove isolation and publish it with the card it has.

    Args:
        folder: one that nothing else writes in, with a version's files alone.
        origin: where it came from, as JSON values.
        what: the same for messages.
        base, registry, replace, device, progress: as `unpack`.

    Returns:
        As `unpack`.

    Raises:
        MlaExtendError: as `unpack`; the registry is then as it was.
    """
    found = layout.files_in(folder)
    check_contents(((name, path.lstat().st_size) for name, path in found.items()), what)
    card = foreign_card(folder, what)
    try:
        check_version(Version(card.language, card.version, folder))
    except RegistryError as error:
        raise RegistryError(as_foreign(error, folder, what)) from error
    check_text(folder, card.files, what)
    target = find_target(card, base, registry, progress)
    there = already_there(card, folder, target.home, replace=replace)
    if there is not None:
        return taken(card, there, published=False)
    model = _open(card, target, device, progress)
    check_adapter(folder, card, model.base, what)
    home = target.home or target.root.create(model.base.identity)
    model.registry = home
    with ExitStack() as left:
        with writing(f"{card.language!r} was not published"):
            staged = left.enter_context(folder_beside(home.work / "received")) / card.language
            for name in found:
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, staged / name)
        progress.start("Proving isolation")
        version, published = _publish(model, home, staged, card, origin, replace=replace)
        progress.finish()
    return taken(card, version, published=published)


def taken(card: Card, version: Version, *, published: bool) -> dict[str, Any]:
    """Return what `unpack` and `pull` tell of a version that is in the registry now."""
    return {
        "language": card.language,
        "language_name": card.language_name,
        "version": card.version,
        "base": card.base["name"],
        "folder": str(version.folder),
        "published": published,
        "received": read_received(version),
    }


def _open(card: Card, target: Target, device: str, progress: Progress) -> "RegistryModel":
    """Open the base, and check that it is the one that the card names."""
    from mla_extend.bases.open import open_base  # noqa: PLC0415 - imports torch
    from mla_extend.registry.load import RegistryModel  # noqa: PLC0415

    opened = open_base(target.source, device=device, native=target.native, progress=progress)
    identity = opened.identity
    try:
        check_base(card, identity.name, identity.fingerprint)
    except BaseMismatchError as error:
        raise BaseMismatchError(f"{error} Give its path or hub id with --base.") from error
    if card.language.lower() == identity.native.lower():
        raise LanguageError(f"{card.language!r} is the native language of the base {identity.name!r}. {NOTHING}")
    return RegistryModel(opened, target.home)


def _publish(
    model: "RegistryModel", home: BaseRegistry, staged: Path, card: Card, origin: Mapping[str, Any], *, replace: bool
) -> tuple[Version, bool]:
    """Publish a staged version with its own name and card; return it, and whether this has put it into use."""
    from mla_extend.registry import untouched  # noqa: PLC0415 - the command line needs it nowhere else
    from mla_extend.registry.recorded import native_probe  # noqa: PLC0415 - imports torch

    tag = card.language
    native_before = native_probe(model)
    with home.preparing(tag, "was not published"):
        publish.check_staged(staged, home.work)
        publish.check_card(card, tag, home.base)
        proof = untouched.try_proof(lambda: _prove(model, home, staged, card, native_before))
        sync_tree(staged)
    with home.changing(tag, "was not published"):
        there = already_there(card, staged, home, replace=replace)
        if there is not None:
            return there, False  # another process has published the same one meanwhile
        publish.sweep(home.folder, tag)
        if proof is None or not untouched.holds(home, tag, proof):
            proof = _prove(model, home, staged, card, native_before)
        folder = home.folder_of(tag)
        version = Version(tag, card.version, folder / card.version)
        if version.folder.is_dir():  # it is there, whole, and not in use
            with recorded(folder, tag, SWITCH, in_use(folder), version.name, isolation=proof):
                publish.set_current(folder, version.name)
            return version, True
        received = {
            "schema": SCHEMA,
            **origin,
            "received": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "isolation": proof,
        }
        (staged / layout.RECEIVED).write_text(dump_json(received), encoding="utf-8")
        return publish.put(folder, staged, tag, card.version, isolation=proof), True


def _prove(model: "RegistryModel", home: BaseRegistry, staged: Path, card: Card, native_before: Any) -> dict[str, Any]:
    """Prove isolation, and that the adapter can be used: it loads, and gives finite vectors for the probe texts."""
    import numpy as np  # noqa: PLC0415 - the command line needs it nowhere else

    from mla_extend.registry.isolation import PROBES  # noqa: PLC0415
    from mla_extend.registry.prove import prove  # noqa: PLC0415 - imports torch

    try:
        proof = prove(model, home, card.language, staged, native_before)
        vectors = model.text_vectors(list(PROBES), card.language).numpy()
    except (IsolationError, OSError):
        raise
    except Exception as error:  # whatever a library raises over files that are not those of an adapter
        text = first_line(error, hidden=staged).removesuffix(".")
        raise RegistryError(
            f"The adapter for {card.language!r} cannot be used ({text}). Nothing was published. Ask its publisher "
            "for another."
        ) from error
    if not np.isfinite(vectors).all():
        raise RegistryError(
            f"The adapter for {card.language!r} gives vectors that are not finite. Nothing was published. Ask its "
            "publisher for another."
        )
    return proof


def read_received(version: Version) -> dict[str, Any] | None:
    """Return where a version came from; `None` if it was made in this registry."""
    try:
        found = parse_json((version.folder / layout.RECEIVED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
