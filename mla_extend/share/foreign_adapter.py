"""Check an adapter from elsewhere before a model sees it: its settings, its tensors, its tokenizer and its texts."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.errors import DataError
from mla_extend.files import open_plain, parse_json
from mla_extend.plain import ODD, first_line, odd_values
from mla_extend.registry.card import Card
from mla_extend.registry.contents import ADAPTER, MAX_SMALL, NOTHING, WEIGHTS
from mla_extend.share.foreign_tokenizer import check_tokenizer

if TYPE_CHECKING:
    from mla_extend.bases.base import Base
    from mla_extend.language.pretrained import FrozenTable

_TENSOR = re.compile(r"[\w.]{1,200}", re.ASCII)


def check_adapter(folder: Path, card: Card, base: "Base", what: str) -> None:
    """Check an adapter's settings against the base and its own tensors, before memory is set aside for them.

    Raises:
        DataError: a setting is not what this package writes for this base, or more is claimed than the file holds.
        RegistryError: the frozen table that it reads is not to be had.
    """
    from mla_extend.language.adapter_files import settings_fault  # noqa: PLC0415
    from mla_extend.language.peft_method import PEFT_TYPE  # noqa: PLC0415 - imports torch

    settings = _read_settings(folder / ADAPTER, what)
    path = base.family.embedding
    expected = {
        "peft_type": PEFT_TYPE,
        "language": card.language,
        "base_fingerprint": base.identity.fingerprint,
        "embedding": path,
        "width": base.width,
        # An expression from elsewhere is never run: some take for ever.
        "target_modules": f"^(?:{base.family.blocks}|{path.replace('.', chr(92) + '.')})$",
    }
    for name, value in expected.items():
        if settings.get(name) != value:
            raise DataError(
                f"{what}: in {ADAPTER}, {name!r} is {str(settings.get(name))[:80]!r}, and for the base "
                f"{base.identity.name!r} it must be {value!r}. {NOTHING}"
            )
    fault = settings_fault(settings, numbers_held(folder / WEIGHTS, what))
    if fault is not None:
        raise DataError(f"{what}: in {ADAPTER}, {fault}. {NOTHING}")
    table = _table(settings["pretrained"], what) if settings.get("pretrained") else None
    if settings["vocabulary"]:
        check_tokenizer(folder, settings["vocabulary"] + settings.get("native_pieces", 0), table, what)


def numbers_held(path: Path, what: str) -> int:
    """Return how many numbers the tensors from elsewhere hold, by a header that has been measured first.

    Raises:
        DataError: it cannot be read, or a tensor is named as none of a language is.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - packing needs neither

    from mla_extend.language.adapter_files import count_numbers  # noqa: PLC0415 - imports torch

    try:
        with open_plain(path) as file:
            header = int.from_bytes(file.read(8), "little")
        if header > MAX_SMALL:
            raise DataError(f"{what}: {WEIGHTS} has a header of more than {MAX_SMALL:,} bytes. {NOTHING}")
        with safe_open(path, framework="numpy") as tensors:
            odd = next((name for name in tensors.keys() if not _TENSOR.fullmatch(name)), None)  # noqa: SIM118
        held = count_numbers(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{what}: {WEIGHTS} cannot be read ({first_line(error)}). {NOTHING}") from error
    if odd is not None:
        raise DataError(f"{what}: {WEIGHTS} holds the tensor {odd[:80]!r}, which no language has. {NOTHING}")
    return held


def _read_settings(path: Path, what: str) -> dict[str, Any]:
    try:
        settings = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{what}: {path.name} cannot be read ({first_line(error)}). {NOTHING}") from error
    if not isinstance(settings, dict):
        raise DataError(f"{what}: {path.name} holds {type(settings).__name__}, not an object. {NOTHING}")
    fault = next(odd_values(settings, path.name), None)
    if fault is not None:
        raise DataError(f"{what}: {fault}. {NOTHING}")
    return settings


def _table(pretrained: dict[str, Any], what: str) -> "FrozenTable":
    """Return the frozen table that an adapter reads, if the cache has it."""
    from mla_extend.language.pretrained import find_table  # noqa: PLC0415 - imports torch

    table = find_table(pretrained, foreign=True)
    if table.width != pretrained.get("width"):
        raise DataError(f"{what}: in {ADAPTER}, the table's width is not {table.width}. {NOTHING}")
    return table


def check_text(folder: Path, names: Iterable[str], what: str) -> None:
    """Refuse a model card that is no plain text.

    Raises:
        DataError: it is no UTF-8, or holds a character that a terminal would obey.
    """
    for name in names:
        if not name.endswith(".md"):
            continue
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{what}: {name} is not UTF-8 text ({first_line(error)}). {NOTHING}") from error
        if odd := ODD.search(text):
            raise DataError(f"{what}: {name} holds the character {odd[0]!a}. {NOTHING}")
