"""The proof, at each change of the registry, that it moved nothing else: not one bit of a vector, not one of a file.

A fixed set of probe texts is encoded in the base's own language and in a few others, before the language at hand is
loaded and after (when one is removed: with it and without), with the same calls; the files of every other language are
compared before and after, and once more under the lock.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mla_extend.errors import IsolationError, RegistryError
from mla_extend.files import sha256_file
from mla_extend.registry import layout
from mla_extend.registry.card import read_card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.untouched import hash_others, manifest_hash

Encoder = Callable[[list[str], list[str]], npt.NDArray[np.float32]]
"""Texts and the language of each, to vectors `[B, D]`."""

PROBES = (
    "A brown dog runs on the beach.",
    "Mbwa wa kahawia anakimbia ufukweni.",
    "ሰማያዊ ሰማይ",
    "两只猫在红色的椅子上",
    "قطة صغيرة",
    "7 × 3.5 = 24½",
    "👩🏽‍🚀🚲",
    ".",
)
"""Short, of several scripts, with digits, a joined emoji and next to nothing; the proof records their hash."""

_RETRY = "Nothing was changed. Try again; if it happens again, it is a bug in mla-extend: please report it."


@dataclass(frozen=True)
class Snapshot:
    """Hold what must not move.

    Attributes:
        files: for each other language, the SHA-256 of each of its files, all versions, by path.
        vectors: for each language, the base's own first, the probes' vectors `[P, D]`, P probes of width D.
        damaged: languages whose files were not as their cards say already, with the first such file.
        seconds: how long it took.
    """

    files: dict[str, dict[str, str]]
    vectors: dict[str, npt.NDArray[np.float32]]
    damaged: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class IsolationProof:
    """Record that nothing moved.

    Attributes:
        probes: SHA-256 of the probe texts.
        languages: for each language `files` and `vectors` (SHA-256 of all its files and of its probes' vectors),
            `files_equal`, `vectors_equal` (`None`: its vectors were not compared), and `as_recorded`: whether its files
            are as its cards say. `files` is empty for the base's own language, which has none here.
        seconds: how long both snapshots took.
        ok: nothing moved.
        staged: SHA-256 of all files of the language that was added, but its two cards, when this was proven.
    """

    probes: str
    languages: dict[str, dict[str, Any]]
    seconds: float
    ok: bool
    staged: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON values."""
        return asdict(self)


def prove_isolation(
    registry: BaseRegistry,
    language: str,
    staged: Path,
    encode_before: Encoder,
    encode_after: Encoder,
    *,
    languages: Iterable[str] | None = None,
) -> IsolationProof:
    """Prove that adding a language moves nothing else.

    Args:
        registry: of the base.
        language: the language that is added; its own earlier versions are not looked at.
        staged: the folder of the new version.
        encode_before: encodes without the new language loaded.
        encode_after: encodes with it loaded; it is first called when everything has been encoded without.
        languages: those to encode beside the base's own; `None` is all others.

    Raises:
        IsolationError: something moved; the message names the language, the file or text, and by how much.
        RegistryError: the encoder gives vectors of a wrong shape.
    """
    held = _hashes(staged)
    encoded = None if languages is None else list(languages)
    before = take_snapshot(registry, encode_before, skip=language, languages=encoded)
    after = take_snapshot(registry, encode_after, skip=language, languages=encoded)
    if _hashes(staged) != held:
        raise IsolationError(f"The files in {staged} changed during the isolation proof of {language!r}. {_RETRY}")
    return replace(compare(before, after), staged=manifest_hash(held))


def take_snapshot(
    registry: BaseRegistry, encoder: Encoder | None, *, skip: str | None = None, languages: Iterable[str] | None = None
) -> Snapshot:
    """Encode the probes in the base's own language and in others, and take the hash of every file of every language.

    Args:
        registry: of the base.
        encoder: called once, with the probes of all languages; `None` hashes the files alone.
        skip: the language that is being added or removed, or `None`.
        languages: those to encode beside the base's own; `None` is all but `skip`.

    Raises:
        RegistryError: the encoder gives vectors of a wrong shape.
    """
    start = time.perf_counter()
    others = [tag for tag in registry.tags() if tag != skip] if languages is None else languages
    encoded = [registry.base.native, *others]
    vectors = _encode(encoder, encoded) if encoder is not None else {}
    files = hash_others(registry, skip)
    damaged = {tag: what for tag in files if (what := _unlike_cards(registry, tag, files[tag])) is not None}
    return Snapshot(files, vectors, damaged, time.perf_counter() - start)


def compare(before: Snapshot, after: Snapshot) -> IsolationProof:
    """Compare two snapshots bit by bit.

    Raises:
        IsolationError: something moved; the message names the first language, and the file or text.
    """
    _check_languages("with files", before.files, after.files)
    _check_languages("that were encoded", before.vectors, after.vectors)
    for language, vectors in before.vectors.items():
        _check_vectors(language, vectors, after.vectors[language])
    for language, files in before.files.items():
        _check_files(language, files, after.files[language])
    languages = {tag: _line(before, tag) for tag in dict.fromkeys([*before.vectors, *before.files])}
    return IsolationProof(probes_hash(), languages, round(before.seconds + after.seconds, 3), ok=True)


def probes_hash() -> str:
    """Return the SHA-256 of the probe texts."""
    return hashlib.sha256(json.dumps(PROBES).encode()).hexdigest()


def _line(snapshot: Snapshot, language: str) -> dict[str, Any]:
    files, vectors = snapshot.files.get(language), snapshot.vectors.get(language)
    return {
        "files": "" if files is None else manifest_hash(files),
        "vectors": "" if vectors is None else hashlib.sha256(vectors.tobytes()).hexdigest(),
        "files_equal": True,
        "vectors_equal": None if vectors is None else True,
        "as_recorded": language not in snapshot.damaged,
    }


def _encode(encoder: Encoder, languages: list[str]) -> dict[str, npt.NDArray[np.float32]]:
    texts = list(PROBES) * len(languages)
    vectors = np.ascontiguousarray(encoder(texts, [language for language in languages for _ in PROBES]))
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.dtype != np.float32:
        raise RegistryError(
            f"The encoder gave {vectors.dtype} vectors of shape {list(vectors.shape)} for {len(texts)} texts. "
            f"It must give float32 of shape [{len(texts)}, D]."
        )
    # Copies, since an encoder may hand out the same memory twice.
    return dict(zip(languages, (part.copy() for part in np.split(vectors, len(languages))), strict=True))


def _check_languages(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    if before.keys() != after.keys():
        moved = ", ".join(sorted(before.keys() ^ after.keys()))
        raise IsolationError(f"The languages {what} are not the same as before: {moved}. {_RETRY}")


def _check_vectors(language: str, before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> None:
    if before.shape != after.shape:
        raise IsolationError(
            f"The vectors of {language!r} had the shape {list(before.shape)} and have {list(after.shape)}. {_RETRY}"
        )
    if before.tobytes() == after.tobytes():
        return
    row = next(index for index in range(len(before)) if before[index].tobytes() != after[index].tobytes())
    moved = float(np.max(np.abs(before.astype(np.float64) - after.astype(np.float64))))
    raise IsolationError(
        f"The vectors of {language!r} moved: row {row} ({PROBES[row]!r}) is the first, and the largest difference is "
        f"{moved:.3g}. {_RETRY}"
    )


def _check_files(language: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            raise IsolationError(
                f"The file {name} of {language!r} moved: SHA-256 {before.get(name, 'none, it was not there')} before, "
                f"{after.get(name, 'none, it is gone')} after. Let nothing else write in the registry. {_RETRY}"
            )


def _hashes(staged: Path) -> dict[str, str]:
    later = {layout.CARD, layout.README}  # written when this is proven; where it is proven again, they are there
    return {name: sha256_file(path) for name, path in layout.files_in(staged).items() if name not in later}


def _unlike_cards(registry: BaseRegistry, language: str, hashes: Mapping[str, str]) -> str | None:
    for version in registry.versions(language):
        try:
            card = read_card(version.folder)
        except RegistryError:
            return f"{version.name}/{layout.CARD}"
        for name, recorded in card.files.items():
            if hashes.get(f"{version.name}/{name}") != recorded:
                return f"{version.name}/{name}"
    return None
