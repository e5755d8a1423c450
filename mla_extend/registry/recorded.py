"""What a version's vectors were when it was published: kept on its card, so that they can be compared later."""

import base64
import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mla_extend.platform import package_versions
from mla_extend.registry.isolation import PROBES
from mla_extend.registry.load import RegistryModel

Vectors = NDArray[np.float32]
PACKAGES = ("mla-extend", "torch", "transformers", "peft", "tokenizers")
"""Those that ids and vectors come from."""
SAMPLE = 32
"""How many numbers of each probe's unit vector are recorded, evenly spread over its width."""


def native_probe(model: RegistryModel) -> Vectors:
    """Encode the probe texts by the base's own path; call it before any language is attached to the text tower."""
    return model.base.native_vectors(list(PROBES)).numpy()


def record_vectors(model: RegistryModel, tag: str) -> dict[str, Any]:
    """Return what a later check compares with: hashes and samples of the vectors, and what their bits depend on."""
    vectors = {tag: encode_texts(model, PROBES, [tag] * len(PROBES)), model.native: native_probe(model)}
    return {
        "environment": environment(model),
        "vectors": {
            language: {"sha256": vectors_hash(found), "sample": base64.b64encode(sampled(found).tobytes()).decode()}
            for language, found in vectors.items()
        },
    }


def environment(model: RegistryModel) -> dict[str, str]:
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


def sampled(vectors: Vectors) -> Vectors:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    columns = np.unique(np.linspace(0, vectors.shape[1] - 1, SAMPLE).astype(int))
    return np.ascontiguousarray(unit[:, columns], dtype="<f4")


def largest_difference(recorded: str, sample: Vectors) -> float | None:
    """Return the largest difference; `None` where the shapes differ or what is recorded is no sample."""
    try:
        then = np.frombuffer(base64.b64decode(recorded, validate=True), dtype="<f4")
    except ValueError:
        return None
    if then.size != sample.size:
        return None
    far = float(np.max(np.abs(then.reshape(sample.shape).astype(np.float64) - sample)))
    return far if np.isfinite(far) else None


def vectors_hash(vectors: Vectors) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).hexdigest()


def encode_texts(model: RegistryModel, texts: Sequence[str], languages: Sequence[str]) -> Vectors:
    return model.text_vectors(texts, languages).numpy()
