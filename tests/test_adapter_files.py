"""Reading one language's files: what is no language adapter is said in one line, before memory is set aside for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentences
from safetensors.numpy import load_file, save_file

from mla_extend.bases.open import open_base
from mla_extend.errors import RegistryError
from mla_extend.language.adapter_files import count_numbers, read_adapter, settings_fault
from mla_extend.language.model import MultilingualModel
from mla_extend.language.tokenizer import LanguageTokenizer

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
EVIL = "\x1b]0;owned\x07"


@pytest.fixture(scope="module")
def saved(dual_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a language as it is saved."""
    model = MultilingualModel(open_base(str(dual_folder)))
    folder = tmp_path_factory.mktemp("saved")
    model.add("sw", tokenizer=LanguageTokenizer.train(sentences(300)[1], 16), bottleneck=4)
    model.save("sw", folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Give a copy of it to damage."""
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def refused(folder: Path, name: str) -> str:
    """Assert that a folder is refused with one printable line that names the file and the remedy; return it."""
    with pytest.raises(RegistryError) as caught:
        read_adapter(folder, 16)
    line = str(caught.value)
    assert line.startswith(str(folder / name))
    assert "add the language again" in line
    assert line.isprintable()
    assert len(line) < 500 + len(str(folder))
    return line


def test_a_language_is_read_as_it_was_saved(folder: Path) -> None:
    stored = read_adapter(folder, 16)
    assert stored.config.language == "sw"
    assert stored.tokenizer is not None
    assert stored.tokenizer.size == stored.config.vocabulary
    assert sum(tensor.numel() for tensor in stored.tensors.values()) == count_numbers(folder / WEIGHTS)


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "other-method": ({"peft_type": "LORA"}, "'peft_type' is 'LORA', not 'LANGUAGE_ACQUIRER'"),
    "no-method": ({"peft_type": None}, "'peft_type' is None"),
    "list-as-method": ({"peft_type": ["LORA"]}, "'peft_type' is ['LORA']"),
    "unknown-kind": ({"kind": "eval"}, "'kind' is 'eval', and acquirers of the kind 'bottleneck' alone are read"),
    "removed-kind": ({"kind": "lora"}, "'kind' is 'lora', and acquirers of the kind 'bottleneck' alone are read"),
    "list-as-kind": ({"kind": ["lora"]}, "'kind' is ['lora']"),
    "control": ({"kind": EVIL}, r"'kind' is '\x1b"),
    "huge-vocabulary": ({"vocabulary": 10**12}, "'vocabulary' is 1000000000000, which does not fit"),
    "larger-vocabulary": ({"vocabulary": 100_000}, "'vocabulary' is 100000, which does not fit"),
    "beyond-every-number": ({"vocabulary": 10**30}, "'vocabulary' is 1000000000000000000000000000000, not a whole"),
    "huge-acquirers": ({"bottleneck": 10**12}, "'bottleneck' is 1000000000000, which does not fit"),
    "huge-width": ({"width": 10**12}, "which does not fit"),
    "negative": ({"bottleneck": -1}, "'bottleneck' is -1, not a whole number from 0"),
    "truth": ({"vocabulary": True}, "'vocabulary' is True, not a whole number from 0"),
    "text-as-number": ({"width": "16"}, "'width' is '16', not a whole number from 0"),
    "number-as-text": ({"language": 5}, "'language' is 5, not a text"),
    "modules": ({"target_modules": None}, "'target_modules' is None, not a text"),
    "table": ({"pretrained": "bert"}, "'pretrained' is 'bert', which does not say which table it is"),
    "half-a-table": ({"pretrained": {"source": "bert"}}, "'pretrained' is"),
    "long": ({"kind": "x" * 100_000}, "'kind' is 'xxx"),
    "task": ({"task_type": "EVIL"}, "cannot be read"),
}


@pytest.mark.parametrize(("changes", "message"), ODD.values(), ids=ODD.keys())
def test_settings_that_are_none_of_a_language_are_refused(changes: dict[str, Any], message: str, folder: Path) -> None:
    settings = json.loads((folder / SETTINGS).read_bytes())
    (folder / SETTINGS).write_text(json.dumps({**settings, **changes}))
    assert message in refused(folder, SETTINGS)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "binary", "deep"])
def test_settings_that_cannot_be_read_are_refused(content: bytes, folder: Path) -> None:
    (folder / SETTINGS).write_bytes(content)
    assert "cannot be read" in refused(folder, SETTINGS)
    (folder / SETTINGS).write_bytes(b"[1]")
    assert "it holds list, not an object" in refused(folder, SETTINGS)
    (folder / SETTINGS).unlink()
    assert "cannot be read" in refused(folder, SETTINGS)


def lacking(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def other(path: Path) -> None:
    path.write_bytes(b"\x80\x04\x95pickle")


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
@pytest.mark.parametrize("change", [lacking, cut, other])
def test_files_that_cannot_be_read_are_named(change: Callable[[Path], None], name: str, folder: Path) -> None:
    change(folder / name)
    assert "cannot be read" in refused(folder, name)


def test_tensors_that_the_settings_outgrow_are_counted_by_their_header(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    few = {name: tensor for name, tensor in tensors.items() if "embedding" not in name}
    save_file({**few, "one": np.zeros(1, np.float32)}, folder / WEIGHTS)
    line = refused(folder, SETTINGS)
    assert "'vocabulary' is" in line
    assert f"{count_numbers(folder / WEIGHTS):,} numbers in {WEIGHTS}" in line


def test_what_is_no_object_has_a_fault() -> None:
    for value in (None, 5, "x", []):
        assert settings_fault(value, 10) is not None
