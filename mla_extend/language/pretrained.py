"""A frozen multilingual token table: data that languages read through a trained projection of their own (the paper's).

The table belongs to no language and never trains. It is kept once in the cache, under its fingerprint, whatever number
of languages read it; an adapter names it and holds the projection alone. Any model of the transformers library serves
that has its weights as safetensors and a `tokenizer.json`.

Shapes: `S` size of the table's vocabulary, `F` its width.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from mla_extend.bases.fingerprint import weight_files
from mla_extend.bases.source import fetch, local_folder, reason
from mla_extend.cache import cache_folder
from mla_extend.errors import BaseError, DataError, RegistryError
from mla_extend.files import atomic_folder, parse_json, write_json

TOKENIZER, WEIGHTS, ABOUT = "tokenizer.json", "table.safetensors", "table.json"
NAMES = (
    "embeddings.word_embeddings.weight",
    "embeddings.tok_embeddings.weight",
    "embed_tokens.weight",
    "token_embedding.weight",
    "wte.weight",
    "shared.weight",
)
"""What token tables are called, at the end of their full names."""
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
HUB_FILES = [TOKENIZER, "*.safetensors", "*.safetensors.index.json"]


class FrozenTable:
    """A token table `[S, F]` that nothing trains, with the tokenizer that it belongs to.

    Attributes:
        source: the folder or hub id that it came from.
        fingerprint: SHA-256 over its numbers and its tokenizer.
        tokenizer: content of its `tokenizer.json`.
        weight: the table, on the CPU.
    """

    def __init__(self, source: str, weight: Tensor, tokenizer: str) -> None:
        self.source = source
        self.weight = weight.detach()
        self.tokenizer = tokenizer
        self.fingerprint = _fingerprint(self.weight, tokenizer)
        self._copies: dict[torch.device, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenTable":
        """Let a model be copied: the table never changes, so that the copy reads the same one."""
        return self

    @property
    def width(self) -> int:
        """Return `F`."""
        return int(self.weight.shape[1])

    def to_json(self, source: str | None = None) -> dict[str, Any]:
        """Return what an adapter says of it, with the source that it was asked for by, if it is another."""
        return {"source": source or self.source, "fingerprint": self.fingerprint, "width": self.width}

    def look_up(self, ids: Tensor) -> Tensor:
        """Map ids `[B, T]` to vectors `[B, T, F]` in float32, without gradients, on the ids' device."""
        if ids.device not in self._copies:
            self._copies[ids.device] = self.weight.to(ids.device)
        return F.embedding(ids, self._copies[ids.device]).float()


_OPEN: "WeakValueDictionary[str, FrozenTable]" = WeakValueDictionary()
"""The tables that are in use in this process, by fingerprint: each is in memory once."""


def open_table(source: str) -> FrozenTable:
    """Read a table from where a model lies, and keep it in the cache.

    Args:
        source: a model folder, or a hub id such as `google-bert/bert-base-multilingual-cased`.

    Raises:
        DataError: there is no such model, it has no token table or no tokenizer of its own file, or the two do not fit.
    """
    folder = local_folder(source)
    if folder is None:
        if not HUB_ID.fullmatch(source):
            raise DataError(
                f"There is no model at {source!r}. Give --set embedding.source= a model folder or a hub id."
            )
        try:
            folder = fetch(source, HUB_FILES, "model")
        except BaseError as error:
            raise DataError(str(error)) from error
    table = FrozenTable(source, _read_weight(source, folder), _read_tokenizer(source, folder))
    _check(table)
    there = _OPEN.get(table.fingerprint)
    if there is None:
        _store(table)
        there = _cached(table.fingerprint) or table
        _OPEN[table.fingerprint] = there
    return there


def find_table(about: Mapping[str, Any], *, foreign: bool = False) -> FrozenTable:
    """Return the table that an adapter reads: from the cache, else from where it came from.

    Args:
        about: what `FrozenTable.to_json` returned.
        foreign: the adapter was made elsewhere: what it names is neither opened nor fetched, but taken from the cache.

    Raises:
        RegistryError: it is not to be had any more, or another table lies there now.
    """
    try:
        source, fingerprint = str(about["source"]), str(about["fingerprint"])
    except (KeyError, TypeError) as error:
        raise RegistryError(f"The adapter does not say which token table it reads ({about!r}).") from error
    table = _OPEN.get(fingerprint) or _cached(fingerprint)
    if table is None and foreign:
        ask = f"python -c 'from mla_extend.language.pretrained import open_table; open_table(\"{source}\")'"
        raise RegistryError(
            f"The adapter reads the token table of {source[:80]!r} (fingerprint {fingerprint[:16]}), which is not in "
            "the cache. Nothing is fetched because an adapter from elsewhere names it. "
            + (f"If you trust that model, fetch it: {ask}" if HUB_ID.fullmatch(source) else "Ask whoever made it.")
        )
    if table is None:
        try:
            table = open_table(source)
        except DataError as error:
            raise RegistryError(
                f"The adapter reads the token table of {source!r} (fingerprint {fingerprint[:16]}), which is neither "
                f"in the cache ({_folder(fingerprint)}) nor where it came from: {error}"
            ) from error
    if table.fingerprint != fingerprint:
        raise RegistryError(
            f"The adapter reads the token table of {source!r} with the fingerprint {fingerprint[:16]}, and the table "
            f"there now has {table.fingerprint[:16]}. Restore the table it was trained with, or add the language again."
        )
    _OPEN[fingerprint] = table
    return table


def _folder(fingerprint: str) -> Path:
    return cache_folder() / "tables" / fingerprint[:32]


def _store(table: FrozenTable) -> None:
    folder = _folder(table.fingerprint)
    if folder.is_dir() and _cached(table.fingerprint) is None:
        shutil.rmtree(folder, ignore_errors=True)  # it is damaged
    if folder.is_dir():
        return
    with atomic_folder(folder) as temporary:
        save_file({"table": table.weight.contiguous()}, temporary / WEIGHTS)
        (temporary / TOKENIZER).write_text(table.tokenizer, encoding="utf-8")
        write_json(temporary / ABOUT, table.to_json())


def _cached(fingerprint: str) -> FrozenTable | None:
    """Return a table from the cache, if it is there whole."""
    folder = _folder(fingerprint)
    with suppress(OSError, ValueError, KeyError, TypeError, SafetensorError):
        about = parse_json((folder / ABOUT).read_text(encoding="utf-8"))
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            weight = file.get_tensor("table")
        table = FrozenTable(str(about["source"]), weight, (folder / TOKENIZER).read_text(encoding="utf-8"))
        return table if table.fingerprint == fingerprint else None
    return None


def _fingerprint(weight: Tensor, tokenizer: str) -> str:
    digest = hashlib.sha256(f"{weight.dtype}{list(weight.shape)}".encode())
    digest.update(weight.contiguous().view(torch.uint8).numpy().data)
    digest.update(json.dumps(json.loads(tokenizer), sort_keys=True).encode())
    return digest.hexdigest()


def _read_weight(source: str, folder: Path) -> Tensor:
    try:
        found: list[tuple[int, int, str, Path]] = []
        for path in weight_files(folder):
            with safe_open(path, framework="pt") as file:
                found += [
                    (rank, len(name), name, path)
                    for name in file.keys()  # noqa: SIM118 - it is no mapping
                    for rank, end in enumerate(NAMES)
                    if f".{name}".endswith(f".{end}")
                ]
        if not found:
            raise DataError(
                f"{source!r} has no token table: none of its tensors is called {', '.join(NAMES)}. Give another model "
                "with --set embedding.source=..."
            )
        _, _, name, path = min(found)
        with safe_open(path, framework="pt") as file:
            weight: Tensor = file.get_tensor(name)
    except (BaseError, OSError, SafetensorError) as error:
        raise DataError(f"The token table of {source!r} cannot be read: {reason(error)}") from error
    if weight.ndim != 2 or not weight.is_floating_point():
        raise DataError(f"The token table of {source!r} has the shape {tuple(weight.shape)} and is {weight.dtype}.")
    return weight


def _read_tokenizer(source: str, folder: Path) -> str:
    try:
        content = (folder / TOKENIZER).read_text(encoding="utf-8")
        parse_json(content)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{source!r} has no readable {TOKENIZER} ({reason(error)}). Where it has a tokenizer of another kind, "
            "transformers writes one: AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)."
        ) from error
    return content


def _check(table: FrozenTable) -> None:
    """Refuse a tokenizer that does not fit its table, or text without a begin and an end token of its own."""
    try:
        tokenizer = Tokenizer.from_str(table.tokenizer)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        whole = tokenizer.encode("a").ids
        plain = tokenizer.encode("a", add_special_tokens=False).ids
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"The {TOKENIZER} of {table.source!r} cannot be used: {reason(error)}") from error
    largest = max(tokenizer.get_vocab().values())
    if largest >= len(table.weight):
        raise DataError(
            f"The tokenizer of {table.source!r} has the id {largest}, and its token table {len(table.weight)} rows: "
            "they are not of one model."
        )
    if whole[1:-1] != plain or len(whole) != len(plain) + 2:
        raise DataError(
            f"The tokenizer of {table.source!r} puts no begin and end token around a text, which the text tower needs. "
            "Give a model of BERT's kind, such as google-bert/bert-base-multilingual-cased."
        )
