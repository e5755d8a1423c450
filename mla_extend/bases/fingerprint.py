"""What makes a base the same base: its weights and its preprocessing, whatever files they lie in."""

import hashlib
import json
import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mla_extend.errors import BaseError
from mla_extend.files import parse_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

VOLATILE_KEYS = frozenset(
    {"transformers_version", "_name_or_path", "name_or_path", "dtype", "torch_dtype", "_commit_hash"}
)
"""Keys of JSON files that say who wrote a model and where, not what it computes: it is loaded in float32 always."""

PREPROCESSING = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "open_clip_config.json",
    "modules.json",
    "sentence_*_config.json",
)
"""Files that decide what a vector is, beside the weights or in a module's folder such as `1_Pooling`."""


def fingerprint(folder: Path, weights: Sequence[Path] | None = None) -> str:
    """Return the SHA-256, in hexadecimal, over every tensor and every preprocessing file of a model folder.

    Tensors are taken by name, so the same weights in other shards give the same fingerprint. Weights in a folder of
    their own (as sentence-transformers keeps a module's) are named by it, and that folder's settings belong to it.

    Args:
        folder: of the model.
        weights: the files that loading reads; `None` for those that transformers would.

    Raises:
        BaseError: the folder has no safetensors weights, or they are damaged.
    """
    digest = hashlib.sha256()
    files = weight_files(folder) if weights is None else weights
    tensors: dict[str, str] = {}
    for place in sorted({file.parent for file in files}):
        prefix = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
        found = _tensor_digests([file for file in files if file.parent == place])
        tensors.update({f"{prefix}{name}": value for name, value in found.items()})
    for name, tensor_digest in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor_digest}\n".encode())
    for pattern in (*PREPROCESSING, *(f"[0-9]_*/{pattern}" for pattern in PREPROCESSING)):
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                digest.update(f"{path.relative_to(folder).as_posix()}\0{_content_digest(path)}\n".encode())
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that loading a model folder reads, and no others that may lie beside them.

    Raises:
        BaseError: there are none, or the index is damaged or names a file that is not there.
    """
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.exists():
        raise BaseError(
            f"{folder} holds no .safetensors weights. Only safetensors are loaded: convert the model "
            "(for example with its save_pretrained) and try again."
        )
    try:
        names = set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / name for name in sorted(names)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseError(f"{index} names no weight_map of files ({error!r}). Fetch the model again.") from error
    for file in files:
        if not file.is_file():
            raise BaseError(f"{index} names {file.name}, which is missing. Fetch the model again.")
    return files


def _tensor_digests(paths: list[Path]) -> dict[str, str]:
    digests: dict[str, str] = {}
    for path in paths:
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                (size,) = struct.unpack("<Q", content[:8])
                header: dict[str, Any] = parse_json(content[8 : 8 + size])
                header.pop("__metadata__", None)
                view = memoryview(content)
                try:
                    for name, about in header.items():
                        start, stop = about["data_offsets"]
                        if 8 + size + stop > len(content):
                            raise ValueError(f"the file ends before the tensor {name} does")
                        tensor = hashlib.sha256(f"{about['dtype']}{about['shape']}".encode())
                        tensor.update(view[8 + size + start : 8 + size + stop])
                        digests[name] = tensor.hexdigest()
                finally:
                    view.release()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise BaseError(f"{path} is not a readable safetensors file ({error}). Fetch the model again.") from error
    return digests


def _content_digest(path: Path) -> str:
    if path.suffix == ".json":
        try:
            value = _without_volatile(parse_json(path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise BaseError(f"{path} is not JSON ({error}). Fetch the model again.") from error
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_volatile(inner) for key, inner in value.items() if key not in VOLATILE_KEYS}
    return value
