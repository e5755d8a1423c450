"""What `make fuzz` tries: a function for each parser of users' files, which may raise errors of the project alone."""

import contextlib
import functools
import io
import itertools
import json as json_library
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from rich.console import Console

from mla_extend.cli.tables import print_card
from mla_extend.data.formats.format import ColumnMapping, front_matter, text_lines
from mla_extend.data.layouts import LAYOUTS
from mla_extend.data.source import Source, open_source
from mla_extend.data.translations import read_translations
from mla_extend.errors import MlaExtendError
from mla_extend.jobs.plan import read_plan
from mla_extend.language.adapter_files import settings_fault
from mla_extend.registry.card import card_text
from mla_extend.registry.foreign_card import foreign_card
from mla_extend.share import foreign_tokenizer
from mla_extend.share.archive import extract
from mla_extend.share.foreign_adapter import _read_settings, numbers_held
from mla_extend.training.recipe import load_recipe

MAPPING = ColumnMapping("sw")
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def _file(name: str, data: bytes) -> Path:
    shutil.rmtree(FOLDER, ignore_errors=True)
    path = FOLDER / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def _pairs(name: str, data: bytes) -> None:
    open_source(str(_file(name, data)), MAPPING).parallel()


def tsv(data: bytes) -> None:
    _pairs("a.tsv", data)


def csv(data: bytes) -> None:
    _pairs("a.csv", data)


def jsonl(data: bytes) -> None:
    _pairs("a.jsonl", data)


def json(data: bytes) -> None:
    _pairs("a.json", data)


def tmx(data: bytes) -> None:
    _pairs("a.tmx", data)


def xliff(data: bytes) -> None:
    _pairs("a.xlf", data)


def po(data: bytes) -> None:
    _pairs("a.po", data)


def mo(data: bytes) -> None:
    _pairs("a.mo", data)


def moses(data: bytes) -> None:
    path = _file("a.en", data)
    path.with_suffix(".sw").write_bytes(data)
    open_source(f"{path},{path.with_suffix('.sw')}", MAPPING).parallel()


def zipped(data: bytes) -> None:
    _pairs("a.zip", data)


def parquet(data: bytes) -> None:
    _pairs("a.parquet", data)


def arrow(data: bytes) -> None:
    path = _file("data-00000-of-00001.arrow", data)
    (FOLDER / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    (FOLDER / "dataset_info.json").write_text("{}")
    open_source(str(path.parent), MAPPING).parallel()


def bicleaner(data: bytes) -> None:
    _pairs("a.scored", data)


def tar(data: bytes) -> None:
    open_source(str(_file("a.tar", data)), MAPPING).captions()


def tars(data: bytes) -> None:
    name = data[:100].decode("utf-8", "ignore").replace("/", "").replace("\0", "")
    open_source(str(_file("a.tar", b"").parent / f"{name}.tar"), MAPPING).captions()


def captions(data: bytes) -> None:
    open_source(str(_file("a.jsonl", data)), MAPPING).captions()


def lines(data: bytes) -> None:
    for _ in text_lines(_file("a.txt", data), "sw"):
        pass


def translations(data: bytes) -> None:
    read_translations(_file("a.tsv", data), ["mbwa", "paka"])


def layouts(data: bytes) -> None:
    """Read a folder of a few files, each a name and below it what is in it."""
    paths = [_file("images/a.jpg", b"jpg").parents[1]]
    for part in data.split(b"\n%%%%\n")[:8]:
        name, _, content = part.partition(b"\n")
        path = FOLDER / re.sub(r"[^\w./-]|\.\.|^/+", "", name.decode("utf-8", "ignore"))
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            paths.append(path)
    for layout, path in itertools.product(LAYOUTS, paths):
        if layout.recognises(path, MAPPING):
            for read in (functools.partial(Source.captions, missing=1), Source.parallel):
                with contextlib.suppress(MlaExtendError):
                    read(Source("it", path, layout, MAPPING).with_split())


def licence(data: bytes) -> None:
    front_matter(_file("README.md", data))


def recipe(data: bytes) -> None:
    load_recipe(str(_file("a.yaml", data)))


def override(data: bytes) -> None:
    load_recipe("instant", [data.decode("utf-8", "ignore")])


def plan(data: bytes) -> None:
    read_plan(_file("a.yaml", data), registry=FOLDER / "registry")


def card(data: bytes) -> None:
    path = _file("card.json", data)
    with contextlib.suppress(MlaExtendError):
        foreign_card(path.parent, "it")
    try:  # who sends a card writes its digest too
        path.write_text(card_text(json_library.loads(data)))
    except (ValueError, TypeError, RecursionError):
        return
    print_card(Console(file=io.StringIO(), width=80), foreign_card(path.parent, "it").to_json())


def adapter(data: bytes) -> None:
    settings_fault(_read_settings(_file("adapter_config.json", data), "it"), 1000)


def tokenizer(data: bytes) -> None:
    with mock.patch.object(foreign_tokenizer, "trial", return_value=None):  # a process for each would be slow
        foreign_tokenizer.check_tokenizer(_file("tokenizer.json", data).parent, 1000, None, "it")


def weights(data: bytes) -> None:
    numbers_held(_file("adapter_model.safetensors", data), "it")


def archive(data: bytes) -> None:
    extract(_file("a.zip", data), Path(tempfile.mkdtemp(dir=FOLDER)))


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        tsv, csv, jsonl, json, tmx, xliff, po, mo, moses, zipped, parquet, arrow, bicleaner, tar, tars, captions, lines,
        translations, layouts, licence, recipe, override, plan, card, adapter, tokenizer,
        weights, archive,
    )
}  # fmt: skip
