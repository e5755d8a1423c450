"""One language as it lies in its files: what a model loads, and what a new language may start from."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from mla_extend.errors import AGAIN, RegistryError
from mla_extend.language.peft_method import KIND, PEFT_TYPE, AcquirerConfig
from mla_extend.language.pretrained import FrozenTable, find_table
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.plain import MAX_NUMBER, first_line

SETTINGS, WEIGHTS, TOKENIZER = "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"
T = TypeVar("T")


@dataclass(frozen=True)
class AdapterFiles:
    """Hold an adapter's settings, its tokenizer (`None`: the base's own) and its tensors by the names PEFT writes.

    `table` is the frozen one that it reads, where it has none of its own.
    """

    config: AcquirerConfig
    tokenizer: LanguageTokenizer | None
    tensors: dict[str, Tensor]
    table: FrozenTable | None = None


def read_adapter(folder: Path, max_tokens: int, *, foreign: bool = False) -> AdapterFiles:
    """Read a language from a version's folder; the caller has checked its files against their hashes.

    Args:
        folder: of the version.
        max_tokens: positions of the text tower.
        foreign: whether it came from elsewhere, so that a frozen table that it names is taken from the cache alone.

    Raises:
        RegistryError: the files are not those of a language adapter, or the frozen table it reads is not to be had. It
            is raised before memory is set aside for more than the files hold.
    """
    settings = _read(folder / SETTINGS, lambda path: json.loads(path.read_bytes()))
    held = _read(folder / WEIGHTS, count_numbers)
    fault = settings_fault(settings, held)
    if fault is not None:
        raise RegistryError(f"{folder / SETTINGS}: {fault}. {AGAIN}")
    config = _read(folder / SETTINGS, lambda _: AcquirerConfig.from_pretrained(str(folder)))
    config.inference_mode = True
    tokenizer = (
        _read(folder / TOKENIZER, lambda _: LanguageTokenizer.load(folder, max_tokens)) if config.vocabulary else None
    )
    tensors = _read(folder / WEIGHTS, load_file)
    table = find_table(config.pretrained, foreign=foreign) if config.pretrained else None
    return AdapterFiles(config, tokenizer, tensors, table)


def count_numbers(path: Path) -> int:
    """Return how many numbers the tensors of a safetensors file hold, by its header alone.

    Raises:
        OSError: it is not there.
        SafetensorError: it is no such file.
    """
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


def settings_fault(settings: Any, held: int) -> str | None:
    """Return what keeps the content of an `adapter_config.json` from being that of a language adapter, or `None`.

    Args:
        settings: what was read.
        held: how many numbers the adapter's tensors hold.
    """
    if not isinstance(settings, dict):
        return f"it holds {type(settings).__name__}, not an object"
    return next(_faults(settings, held), None)


def _faults(settings: Mapping[str, Any], held: int) -> Iterator[str]:
    pretrained = settings.get("pretrained")
    kind = settings.get("kind", KIND)  # older adapters do not say it
    if settings.get("peft_type") != PEFT_TYPE:
        yield f"'peft_type' is {_short(settings.get('peft_type'))}, not {PEFT_TYPE!r}"
    if kind != KIND:
        yield f"'kind' is {_short(kind)}, and acquirers of the kind {KIND!r} alone are read"
    for name in ("language", "embedding", "target_modules", "base_name", "base_fingerprint"):
        if not isinstance(settings.get(name), str):
            yield f"{name!r} is {_short(settings.get(name))}, not a text"
    if pretrained is not None and not _is_table(pretrained):
        yield f"'pretrained' is {_short(pretrained)}, which does not say which table it is"
    width = settings.get("width")
    for name, wide in (("width", 0), ("bottleneck", width), ("vocabulary", width), ("native_pieces", 1)):
        value = settings.get(name, 0 if name == "native_pieces" else None)  # older adapters have none
        if type(value) is not int or not 0 <= value < MAX_NUMBER:
            yield f"{name!r} is {_short(value)}, not a whole number from 0"
        elif value * (wide or 0) > held and not (name == "vocabulary" and pretrained):
            fits = f"the base's width and the {held:,} numbers in {WEIGHTS}"
            yield f"{name!r} is {_short(value)}, which does not fit {fits}"


def _is_table(value: Any) -> bool:
    known = isinstance(value, Mapping) and all(isinstance(value.get(name), str) for name in ("source", "fingerprint"))
    return known and type(value.get("width")) is int


def _read(path: Path, read: Callable[[Path], T]) -> T:
    """Return what a library reads from a file, its errors as ours."""
    try:
        return read(path)
    except MemoryError:
        raise
    except Exception as error:  # the tokenizer's library raises nothing narrower
        raise RegistryError(f"{path} cannot be read ({first_line(error)}). {AGAIN}") from error


def _short(value: Any) -> str:
    return ascii(value)[:80]
