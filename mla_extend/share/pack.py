"""Pack one version of a language into one archive, and take such an archive into a registry."""

from pathlib import Path
from typing import Any

from mla_extend.cache import cache_folder
from mla_extend.files import folder_beside, sha256_file, user_path
from mla_extend.progress import SILENT, Progress
from mla_extend.registry import layout
from mla_extend.registry.card import Card
from mla_extend.registry.check import check_version
from mla_extend.registry.contents import check_contents
from mla_extend.registry.layout import Version
from mla_extend.registry.summary import find_version
from mla_extend.share.archive import extract, write_archive
from mla_extend.share.take_in import take_in


def pack(
    language: str,
    *,
    out: str | Path | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
) -> dict[str, Any]:
    """Pack a version of a language into one archive, after checking its files against their hashes.

    Args:
        language: a code, or `sw@v1` for one of its versions.
        out: the archive, or a folder for it; `None` takes `BASE-LANG-VERSION.zip` in the current folder.
        base: a base's name or source; `None`: the one that holds the language.
        registry: the registry's folder.

    Returns:
        `file`, `bytes` and `sha256` of the archive; `language`, `version`, `base`, `fingerprint`, `files`.

    Raises:
        LanguageError: there is no such language.
        RegistryError: there is no such version, or a file is not as its card says.
        DataError: it is too large, or holds a name that no other system would take.
    """
    chosen, card = find_packed(language, base, registry)
    contents = {name: chosen.folder / name for name in (layout.CARD, *card.files)}
    path = _target(out, f"{card.base['name']}-{card.language}-{card.version}.zip")
    write_archive(path, contents)
    return {
        "language": card.language,
        "version": card.version,
        "base": card.base["name"],
        "fingerprint": card.base["fingerprint"],
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
        "files": sorted(contents),
    }


def unpack(
    file: str | Path,
    *,
    base: str | None = None,
    registry: str | Path | None = None,
    replace: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Check an archive that `pack` wrote, prove isolation and publish the version in it.

    Args:
        file: the archive.
        base: `demo`, a model folder or a hub id; `None` takes the registry's base that the card names, else the one
            that the registry holds, else the demo base.
        registry: the registry's folder; its part for the base is made if it is not there.
        replace: the language may be there already; its other version stays beside the new one.
        device: `cpu`, `cuda`, `mps` or `auto`, for the proof.
        progress: told of all long work.

    Returns:
        `language`, `version`, `base`, `folder`; `published`: whether it was not there before; `received`: what is
        recorded of where it came from.

    Raises:
        DataError: it is no such archive, or holds what a version must not hold.
        RegistryError: a file is not as the card says, or the language is there and is not to be replaced.
        BaseMismatchError: it was made for another base.
        IsolationError: something else would have moved.
    """
    path = user_path(file)
    with folder_beside(cache_folder() / "received") as folder:
        extract(path, folder)
        origin = {"from": "file", "file": path.name, "sha256": sha256_file(path)}
        return take_in(
            folder, origin, str(path), base=base, registry=registry, replace=replace, device=device, progress=progress
        )


def find_packed(language: str, base: str | None, registry: str | Path | None) -> tuple[Version, Card]:
    """Return a version that may leave the registry, and its card, after checking its files, names and size.

    Raises:
        MlaExtendError: as `pack`.
    """
    home, chosen = find_version(language, base, registry)
    card = check_version(chosen, home)
    layout.check_base_name(card.base["name"])  # it names the archive
    sizes = [(name, (chosen.folder / name).stat().st_size) for name in (layout.CARD, *card.files)]
    check_contents(sizes, str(chosen.folder), "It cannot be sent anywhere.")
    return chosen, card


def _target(out: str | Path | None, name: str) -> Path:
    if out is None:
        return Path(name)
    path = user_path(out)
    return path / name if path.is_dir() else path
