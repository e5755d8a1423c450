"""Prove, on the models themselves, that adding, switching or removing a language moves nothing else.

What a version's own vectors were is recorded on its card when it is published; `verify_deep` encodes them again.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mla_extend.bases.open import open_base
from mla_extend.errors import BaseError, IsolationError, MlaExtendError
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.check import check_version
from mla_extend.registry.history import in_use
from mla_extend.registry.isolation import compare, prove_isolation, take_snapshot
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import is_foreign
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.recorded import Vectors, encode_texts, native_probe, record_vectors

SAMPLE = 4
"""How many other languages are encoded at a change; `verify --deep` encodes all."""


def prove(model: RegistryModel, home: BaseRegistry, tag: str, staged: Path, native_before: Vectors) -> dict[str, Any]:
    """Return the isolation proof of a version, as JSON, with the record of its own vectors as `recorded`.

    Args:
        model: holds the base.
        home: the registry of the base.
        tag: the language that is added, or whose other version is put into use.
        staged: the folder of that version.
        native_before: the native probe from before anything was attached.

    Raises:
        IsolationError: something moved.
        RegistryError: the adapter cannot be loaded.
    """
    if model.is_loaded(tag):
        model.remove(tag)  # where this is tried again
    others = _sample(model, home, tag)

    def encode_with(texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        if not model.is_loaded(tag):
            model.load(tag, staged)
        return encode_texts(model, texts, languages)

    proof = prove_isolation(home, tag, staged, partial(encode_texts, model), encode_with, languages=others)
    if native_probe(model).tobytes() != native_before.tobytes():
        raise IsolationError(
            f"The native vectors of the base changed during the isolation proof of {tag!r}. Nothing was "
            "changed; it is a bug in mla-extend: please report it."
        )
    return {**proof.to_json(), "recorded": record_vectors(model, tag)}


def roll_back(
    home: BaseRegistry, tag: str, version: str, *, device: str = "auto", progress: Progress = SILENT
) -> dict[str, Any]:
    """Put another version of a language into use, after its files and the isolation of all others are proven.

    Args:
        home: the registry of the base.
        tag: the language.
        version: as `BaseRegistry.find` takes it.
        device: `cpu`, `cuda`, `mps` or `auto`.
        progress: told of the base being opened.

    Returns:
        `{"language", "base", "before", "after", "isolation"}`; `isolation` is `None` if it was in use already.

    Raises:
        MlaExtendError: there is no such version, it is damaged or of another base, the base cannot be opened, or
            something else would move. The registry is then as it was.
    """
    check_version(home.find(tag, version), home)  # before the base is opened
    model = open_model(home, device, progress)
    native_before = native_probe(model)
    before = in_use(home.folder_of(tag))
    proof: dict[str, Any] = {}

    def prove_switch(folder: Path) -> dict[str, Any]:
        proof.update(prove(model, home, tag, folder, native_before))
        del proof["recorded"]  # the version's own card has it
        return proof

    chosen = home.use(tag, version, prove=prove_switch)
    return {
        "language": tag,
        "base": home.base.name,
        "before": before,
        "after": chosen.name,
        "isolation": proof or None,
    }


def remove(home: BaseRegistry, tag: str, *, device: str = "auto", progress: Progress = SILENT) -> dict[str, Any]:
    """Remove a language, after the isolation of all others is proven; return the proof as JSON.

    Where the base cannot be opened, the files of the others are compared alone, and that is said.

    Raises:
        LanguageError: there is no such language.
        IsolationError: something else would move; nothing was removed.
        RegistryError: the folder cannot be written.
    """
    home.check_there(tag)
    try:
        model = open_model(home, device, progress)
    except BaseError as error:
        progress.note(f"The vectors of the other languages are not compared, only their files: {error}")
        model = None
    proof: dict[str, Any] = {}

    def prove_removal() -> dict[str, Any]:
        proof.update(_prove_removal(model, home, tag))
        return proof

    home.remove(tag, prove=prove_removal)
    return proof


def _prove_removal(model: RegistryModel | None, home: BaseRegistry, tag: str) -> dict[str, Any]:
    """Encode the others with the language loaded, if it loads, and without it."""
    if model is None:
        return compare(take_snapshot(home, None, skip=tag), take_snapshot(home, None, skip=tag)).to_json()
    others = _sample(model, home, tag)
    _loads(model, tag)
    encode = partial(encode_texts, model)
    before = take_snapshot(home, encode, skip=tag, languages=others)
    if model.is_loaded(tag):
        model.remove(tag)
    return compare(before, take_snapshot(home, encode, skip=tag, languages=others)).to_json()


def open_model(home: BaseRegistry, device: str, progress: Progress) -> RegistryModel:
    """Open the base of a registry.

    Raises:
        BaseError: it cannot be opened, or is not the one that the registry was made for.
    """
    base = home.base
    opened = open_base(base.source, device=device, native=base.native, progress=progress)
    if opened.identity.fingerprint != base.fingerprint:
        raise BaseError(
            f"{base.source!r} has the fingerprint {opened.identity.fingerprint[:16]}, and the registry {home.folder} "
            f"was made for {base.fingerprint[:16]}: the base has changed. Restore the original there."
        )
    return RegistryModel(opened, home)


def _sample(model: RegistryModel, home: BaseRegistry, tag: str) -> list[str]:
    """Return the other languages to encode: a few that load, those that were compared longest ago by what cards say."""
    last: dict[str, str] = {}
    for entry in home.languages():
        if entry.card is not None and entry.version is not None and not is_foreign(entry.version.folder):
            for other, line in entry.card.isolation.get("languages", {}).items():
                if line.get("vectors_equal"):
                    last[other] = max(last.get(other, ""), entry.card.created)
    others = sorted((other for other in home.tags() if other != tag), key=lambda other: (last.get(other, ""), other))
    return list(islice((other for other in others if _loads(model, other)), SAMPLE))


def _loads(model: RegistryModel, other: str) -> bool:
    """Load another language; one that is damaged already cannot be encoded, and does not keep others from coming."""
    try:
        model.require(other)
    except (MlaExtendError, OSError):
        return False
    return True
