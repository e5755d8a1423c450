"""Encode the probe texts again in every version of a registry, and compare with what was recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mla_extend.errors import BaseError, MlaExtendError, RegistryError
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, read_card
from mla_extend.registry.check import Problem
from mla_extend.registry.isolation import PROBES, probes_hash
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.prove import open_model
from mla_extend.registry.recorded import (
    Vectors,
    encode_texts,
    environment,
    largest_difference,
    native_probe,
    sampled,
    vectors_hash,
)
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify

TOLERANCE = 1e-4
"""How far a recorded number of a unit vector may be off, where another machine or library rounds otherwise."""
SAME, WITHIN, MOVED, UNKNOWN = "same bits", "within tolerance", "moved", "not recorded"


@dataclass(frozen=True)
class VectorCheck:
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
            remedy = "Verify again; if it persists, suspect the machine's memory, then this package: please report it."
        return Problem(self.base, self.language, self.version, None, what, remedy)


def verify_deep(
    root: str | Path, *, device: str = "auto", progress: Progress = SILENT
) -> tuple[list[Problem], list[VectorCheck]]:
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
    encoded: list[VectorCheck] = []
    registry = Registry(root)
    for name in registry.bases():
        try:
            home = registry.open(name)
        except RegistryError:
            continue  # which is among the problems
        try:
            model = open_model(home, device, progress)
        except BaseError as error:
            remedy = "Nothing could be encoded; make the base available and verify again."
            problems.append(Problem(name, None, None, None, str(error).removesuffix("."), remedy))
            continue
        versions = [version for tag in home.tags() for version in home.versions(tag)]
        whole = [version for version in versions if (name, version.language, version.name) not in broken]
        progress.start("Encoding", total=len(whole), unit="versions")
        for found in encode_again(model, home, whole, progress):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                encoded.append(found)
                problems.extend(filter(None, [found.problem()]))
        progress.finish()
    return problems, encoded


def encode_again(
    model: RegistryModel, home: BaseRegistry, versions: Sequence[Version], progress: Progress
) -> Iterator[Problem | VectorCheck]:
    native = model.native
    native_before = native_probe(model)
    here = environment(model)
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
            own = encode_texts(model, PROBES, [tag] * len(PROBES))
            beside = encode_texts(model, PROBES, [native] * len(PROBES))
        finally:
            model.remove(tag)
        if beside.tobytes() != native_before.tobytes():
            what = f"with it attached, the vectors of {native!r} are not the base's own bits"
            yield Problem(home.base.name, tag, name, None, what, "Do not use it; please report it.")
        yield _compared(home, card, native, native_before, here)
        yield _compared(home, card, tag, own, here)
        progress.advance()


def _compared(home: BaseRegistry, card: Card, language: str, vectors: Vectors, here: Mapping[str, str]) -> VectorCheck:
    """Compare a language's probe vectors with the record on a card."""
    name, version, proof = home.base.name, card.version, card.isolation
    if proof.get("probes") != probes_hash():
        return VectorCheck(name, language, version, UNKNOWN)
    try:
        then = dict(proof["recorded"]["environment"])
        digest, sample = (str(proof["recorded"]["vectors"][language][key]) for key in ("sha256", "sample"))
    except (KeyError, TypeError, ValueError):
        # Older cards hold a hash of the base's own vectors, and not where it was made.
        old = proof.get("languages", {}).get(language, {}).get("vectors")
        same = language == home.base.native and old == vectors_hash(vectors)
        return VectorCheck(name, language, version, SAME if same else UNKNOWN)
    differs = tuple(
        f"{key} {here.get(key, 'none')}, was {then.get(key, 'none')}"
        for key in dict.fromkeys([*then, *here])
        if then.get(key) != here.get(key)
    )
    if digest == vectors_hash(vectors):
        return VectorCheck(name, language, version, SAME, differs, 0.0)
    difference = largest_difference(sample, sampled(vectors))
    lawful = bool(differs) and difference is not None and difference <= TOLERANCE
    return VectorCheck(name, language, version, WITHIN if lawful else MOVED, differs, difference)
