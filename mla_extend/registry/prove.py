"""Prove, on the models themselves, that adding, switching or removing a language moves nothing else.

What a version's own vectors were is recorded on its card when it is published; `verify_deep` encodes them again.
"""

import base64
import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mla_extend.bases.open import open_base
from mla_extend.errors import BaseError, IsolationError, MlaExtendError, RegistryError
from mla_extend.platform import package_versions
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, read_card
from mla_extend.registry.history import in_use
from mla_extend.registry.isolation import PROBES, compare, probes_hash, prove_isolation, take_snapshot
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import Problem, check_whole, verify

Vectors = NDArray[np.float32]

PACKAGES = ("mla-extend", "torch", "transformers", "peft", "tokenizers")
"""Those that ids and vectors come from."""
SAMPLE = 32
"""How many numbers of each probe's unit vector are recorded, evenly spread over its width."""
TOLERANCE = 1e-4
"""How far a recorded number of a unit vector may be off, where another machine or library rounds otherwise."""

SAME, WITHIN, MOVED, UNKNOWN = "same bits", "within tolerance", "moved", "not recorded"


@dataclass(frozen=True)
class Encoded:
    """Tell how a language's vectors compare with those recorded when a version was published.

    Attributes:
        base: the base's name.
        language: the base's own, or the version's.
        version: whose card holds the record.
        outcome: `same bits`; `within tolerance`: other bits, on another machine or with other libraries than recorded;
            `moved`: other vectors, which is a problem; `not recorded`: the version is older than this check.
        differs: what is not as it was when they were recorded, as `threads 2, was 8`.
        difference: the largest, over the recorded numbers of unit vectors; `None` where none are recorded.
    """

    base: str
    language: str
    version: str
    outcome: str
    differs: tuple[str, ...] = ()
    difference: float | None = None

    def problem(self) -> Problem | None:
        """Return the problem, if it is one."""
        if self.outcome != MOVED:
            return None
        far = "" if self.difference is None else f" (by {self.difference:.2g} at most, in unit vectors)"
        if self.differs:
            what = f"the vectors of {self.language!r} are not those recorded{far}, more than rounding explains; " + (
                "not as then: " + "; ".join(self.differs)
            )
            remedy = "Install what was recorded and verify again, or add the language again with what is installed."
        else:
            what = (
                f"the vectors of {self.language!r} are not the bits recorded{far}, though machine, threads and "
                "libraries are as they were"
            )
            remedy = "Verify again; if it stays, suspect the machine's memory, then this package: please report it."
        return Problem(self.base, self.language, self.version, None, what, remedy)


def native_probe(model: RegistryModel) -> Vectors:
    """Encode the probe texts by the base's own path; call it before any language is attached to the text tower."""
    return model.base.native_vectors(list(PROBES)).numpy()


def prove(model: RegistryModel, home: BaseRegistry, tag: str, staged: Path, bare: Vectors) -> dict[str, Any]:
    """Return the isolation proof of a version, as JSON, with the record of its own vectors as `recorded`.

    Args:
        model: holds the base; the language must not be loaded.
        home: the registry of the base; the caller holds its lock.
        tag: the language that is added, or whose other version is put into use.
        staged: the folder of that version.
        bare: the native probe from before anything was attached.

    Raises:
        IsolationError: something moved.
        RegistryError: the adapter cannot be loaded.
    """
    others = _others(model, home, tag)

    def encode_with(texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        if not model.is_loaded(tag):
            model.load(tag, staged)
        return _encode(model, texts, languages)

    def encode(texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        return _encode(model, texts, languages)

    proof = prove_isolation(home, tag, staged, encode, encode_with, languages=others)
    if native_probe(model).tobytes() != bare.tobytes():
        raise IsolationError(
            f"The native vectors of the base moved while {tag!r} was proven. Nothing was changed; it is a fault of "
            "this package: please report it."
        )
    return {**proof.to_json(), "recorded": _record(model, tag)}


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
    check_whole(home, home.find(tag, version))  # before the base is opened
    model = _open(home, device, progress)
    bare = native_probe(model)
    before = in_use(home.folder_of(tag))
    proof: dict[str, Any] = {}

    def prove_switch(folder: Path) -> dict[str, Any]:
        proof.update(prove(model, home, tag, folder, bare))
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
        model = _open(home, device, progress)
    except BaseError as error:
        progress.note(f"The vectors of the other languages are not compared, only their files: {error}")
        model = None
    proof: dict[str, Any] = {}

    def prove_removal() -> dict[str, Any]:
        proof.update(_prove_removal(model, home, tag))
        return proof

    home.remove(tag, prove=prove_removal)
    return proof


def verify_deep(
    root: str | Path, *, device: str = "auto", progress: Progress = SILENT
) -> tuple[list[Problem], list[Encoded]]:
    """Check every file of a registry, then encode the probe texts again in each version whose files are whole.

    For each base, English (the base's own language) is encoded before anything is attached and again with each version
    attached, and must be the same bits. English and the version's own vectors are then compared with what its card
    records.

    Returns:
        What is wrong, and for each version how its vectors and English compare.

    Raises:
        RegistryError: there is no such folder, or it holds no base.
    """
    problems = verify(root)
    broken = {(problem.base, problem.language, problem.version) for problem in problems}
    encoded: list[Encoded] = []
    registry = Registry(root)
    for name in registry.bases():
        try:
            home = registry.open(name)
        except RegistryError:
            continue  # which is among the problems
        try:
            model = _open(home, device, progress)
        except BaseError as error:
            remedy = "Nothing could be encoded; make the base available and verify again."
            problems.append(Problem(name, None, None, None, str(error).removesuffix("."), remedy))
            continue
        versions = [version for tag in home.tags() for version in home.versions(tag)]
        whole = [version for version in versions if (name, version.language, version.name) not in broken]
        progress.start("Encoding", total=len(whole), unit="versions")
        for found in _encode_again(model, home, whole, progress):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                encoded.append(found)
                problems.extend(filter(None, [found.problem()]))
        progress.finish()
    return problems, encoded


def _encode_again(
    model: RegistryModel, home: BaseRegistry, versions: Sequence[Version], progress: Progress
) -> Iterator[Problem | Encoded]:
    native = model.native
    bare = native_probe(model)
    here = _environment(model)
    for version in versions:
        tag, name = version.language, version.name
        try:
            card = read_card(version.folder)
            model.load(tag, version.folder)
        except MlaExtendError as error:
            if not version.folder.is_dir():
                continue  # another process has just deleted it
            remedy = "This version cannot be used until then."
            yield Problem(home.base.name, tag, name, None, str(error).removesuffix("."), remedy)
            continue
        try:
            own = _encode(model, PROBES, [tag] * len(PROBES))
            beside = _encode(model, PROBES, [native] * len(PROBES))
        finally:
            model.remove(tag)
        if beside.tobytes() != bare.tobytes():
            what = f"with it attached, the vectors of {native!r} are not the base's own bits"
            yield Problem(home.base.name, tag, name, None, what, "Do not use it; please report it.")
        yield _compared(home, card, native, bare, here)
        yield _compared(home, card, tag, own, here)
        progress.advance()


def _compared(home: BaseRegistry, card: Card, language: str, vectors: Vectors, here: Mapping[str, str]) -> Encoded:
    """Compare a language's probe vectors with the record on a card."""
    name, version, proof = home.base.name, card.version, card.isolation
    if proof.get("probes") != probes_hash():
        return Encoded(name, language, version, UNKNOWN)
    try:
        then = dict(proof["recorded"]["environment"])
        digest, sample = (str(proof["recorded"]["vectors"][language][key]) for key in ("sha256", "sample"))
    except (KeyError, TypeError, ValueError):
        # Older cards hold a hash of the base's own vectors, and not where it was made.
        old = proof.get("languages", {}).get(language, {}).get("vectors")
        same = language == home.base.native and old == _sha256(vectors)
        return Encoded(name, language, version, SAME if same else UNKNOWN)
    differs = tuple(
        f"{key} {here.get(key, 'none')}, was {then.get(key, 'none')}"
        for key in dict.fromkeys([*then, *here])
        if then.get(key) != here.get(key)
    )
    if digest == _sha256(vectors):
        return Encoded(name, language, version, SAME, differs, 0.0)
    difference = _difference(sample, _sample(vectors))
    lawful = bool(differs) and difference is not None and difference <= TOLERANCE
    return Encoded(name, language, version, WITHIN if lawful else MOVED, differs, difference)


def _record(model: RegistryModel, tag: str) -> dict[str, Any]:
    """Return what a later check compares with: hashes and samples of the vectors, and what their bits depend on."""
    vectors = {tag: _encode(model, PROBES, [tag] * len(PROBES)), model.native: native_probe(model)}
    return {
        "environment": _environment(model),
        "vectors": {
            language: {"sha256": _sha256(found), "sample": base64.b64encode(_sample(found).tobytes()).decode()}
            for language, found in vectors.items()
        },
    }


def _environment(model: RegistryModel) -> dict[str, str]:
    """Return what the bits of a vector may depend on."""
    device = model.base.device
    packages = package_versions()
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
        "processor": _processor(),
        "instructions": str(torch.backends.cpu.get_cpu_capability()),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
        **({"cuda": str(torch.version.cuda)} if cuda else {}),
        **{name: packages[name] for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "unknown"


def _sample(vectors: Vectors) -> Vectors:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    columns = np.unique(np.linspace(0, vectors.shape[1] - 1, SAMPLE).astype(int))
    return np.ascontiguousarray(unit[:, columns], dtype="<f4")


def _difference(recorded: str, sample: Vectors) -> float | None:
    """Return the largest difference; `None` where the shapes differ or what is recorded is no sample."""
    try:
        then = np.frombuffer(base64.b64decode(recorded, validate=True), dtype="<f4")
    except ValueError:
        return None
    if then.size != sample.size:
        return None
    far = float(np.max(np.abs(then.reshape(sample.shape).astype(np.float64) - sample)))
    return far if np.isfinite(far) else None


def _sha256(vectors: Vectors) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()


def _prove_removal(model: RegistryModel | None, home: BaseRegistry, tag: str) -> dict[str, Any]:
    """Encode the others with the language loaded, if it loads, and without it."""
    if model is None:
        return compare(take_snapshot(home, None, skip=tag), take_snapshot(home, None, skip=tag)).to_json()
    others = _others(model, home, tag)
    _loads(model, tag)

    def encode(texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        return _encode(model, texts, languages)

    before = take_snapshot(home, encode, skip=tag, languages=others)
    if model.is_loaded(tag):
        model.remove(tag)
    return compare(before, take_snapshot(home, encode, skip=tag, languages=others)).to_json()


def _open(home: BaseRegistry, device: str, progress: Progress) -> RegistryModel:
    """Open the base of a registry.

    Raises:
        BaseError: it cannot be opened, or is not the one that the registry was made for.
    """
    base = home.base
    opened = open_base(base.source, device=device, native=base.native, progress=progress)
    if opened.identity.fingerprint != base.fingerprint:
        raise BaseError(
            f"{base.source!r} has the fingerprint {opened.identity.fingerprint[:16]}, and the registry {home.folder} "
            f"was made for {base.fingerprint[:16]}: it is another base now. Put the one it was made for back there."
        )
    return RegistryModel(opened, home)


def _others(model: RegistryModel, home: BaseRegistry, tag: str) -> list[str]:
    return [other for other in home.tags() if other != tag and _loads(model, other)]


def _encode(model: RegistryModel, texts: Sequence[str], languages: Sequence[str]) -> Vectors:
    return model.text_vectors(texts, languages).numpy()


def _loads(model: RegistryModel, other: str) -> bool:
    """Load another language; one that is damaged already cannot be encoded, and does not keep others from coming."""
    try:
        model.require(other)
    except MlaExtendError:
        return False
    return True
