"""Prove, on the models themselves, that publishing a language moves nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.errors import IsolationError, MlaExtendError
from mla_extend.registry.isolation import PROBES, prove_isolation
from mla_extend.registry.languages import BaseRegistry
from mla_extend.use.load import RegistryModel

Vectors = NDArray[np.float32]


def native_probe(model: RegistryModel) -> Vectors:
    """Encode the probe texts by the base's own path; call it before any language is attached to the text tower."""
    return model.base.native_vectors(list(PROBES)).numpy()


def prove(model: RegistryModel, home: BaseRegistry, tag: str, staged: Path, bare: Vectors) -> dict[str, Any]:
    """Return the isolation proof of a staged version, as JSON.

    Args:
        model: holds the base; the language that is added must not be loaded.
        home: the registry of the base; the caller holds its lock.
        tag: the language that is added.
        staged: the folder of its new version.
        bare: the native probe from before anything was attached.

    Raises:
        IsolationError: something moved.
        RegistryError: the staged adapter cannot be loaded.
    """
    others = [other for other in home.tags() if other != tag and _loads(model, other)]

    def encode(texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        return model.text_vectors(texts, languages).numpy()

    def encode_with(texts: Sequence[str], languages: Sequence[str]) -> Vectors:
        if not model.is_loaded(tag):
            model.load(tag, staged)
        return encode(texts, languages)

    proof = prove_isolation(home, tag, staged, encode, encode_with, languages=others)
    if native_probe(model).tobytes() != bare.tobytes():
        raise IsolationError(
            f"The native vectors of the base moved while {tag!r} was added. Nothing was published; it is a fault of "
            "this package: please report it."
        )
    return proof.to_json()


def _loads(model: RegistryModel, other: str) -> bool:
    """Load another language; one that is damaged already cannot be encoded, and does not keep others from coming."""
    try:
        model.require(other)
    except MlaExtendError:
        return False
    return True
