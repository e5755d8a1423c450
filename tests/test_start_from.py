"""A language that starts from a copy of another's parts: what is copied, what is refused, what stays as it was."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mla_extend.add import job as workflow
from mla_extend.bases.open import open_base
from mla_extend.cli.app import app
from mla_extend.errors import BaseMismatchError, DataError, Interrupted, LanguageError, RegistryError
from mla_extend.language.adapter_files import read_adapter
from mla_extend.language.build import build_language
from mla_extend.language.embedding import Start, mean_std_start
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_parameters, adapter_tensors
from mla_extend.language.pieces import BEGIN_ID, END_ID, PAD_ID
from mla_extend.language.related import EVIDENCE, Related
from mla_extend.progress import Silent
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.store import Registry
from tests.conftest import sentences

NATIVE, TARGET = sentences(300)
SHORT = [
    "transfer.max_steps=8", "transfer.evaluations=2", "transfer.batch=32", "acquirer.bottleneck=4", "precision=fp32",
]  # fmt: skip
NEW = {"paka": "pakka", "mbwa": "imbwa", "kijani": "chijani"}
"""Words that the related language spells in its own way; all others are equal."""


def related_text(texts: list[str]) -> list[str]:
    """Return the same sentences in a related toy language."""
    return [" ".join(NEW.get(word, word) for word in text.split()) for text in texts]


def related_to(model: MultilingualModel, folder: Path, start: str = "aligned", bottleneck: int = 4) -> Related:
    """Build Swahili, give it weights as if trained, and return it as it lies in its files."""
    build_language(model, "sw", native=NATIVE, target=TARGET, start=start, bottleneck=bottleneck)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in adapter_parameters(model.peft, model.language("sw").adapter).values():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.3)
    folder.mkdir()
    model.save("sw", folder)
    return Related("sw", "2026-01-01T00-00-00Z-0000", read_adapter(folder, model.base.max_tokens))


def tensors_of(model: MultilingualModel, tag: str) -> dict[str, torch.Tensor]:
    return {name: t.detach().clone() for name, t in adapter_tensors(model.peft, model.language(tag).adapter).items()}


def table_of(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    (table,) = [tensor for name, tensor in tensors.items() if name.endswith(".acquirer_embedding.weight")]
    return table


@pytest.mark.parametrize("start", ["aligned", mean_std_start])
def test_acquirers_and_shared_pieces_are_copied(start: str | Start, base_folder: Path, tmp_path: Path) -> None:
    """Acquirers bit for bit; a piece's row where the text gives no evidence for its alignment; the rest as without."""
    model = MultilingualModel(open_base(str(base_folder)))
    related = related_to(model, tmp_path / "sw")
    before = tensors_of(model, "sw")
    text = related_text(TARGET)
    rare = "nyumba ndege moja"
    native, target = [*NATIVE[:200], "house bird a"], [*text[:200], rare]
    built = build_language(model, "zu", native=native, target=target, start=start, bottleneck=4, related=related)
    build_language(model, "xh", native=native, target=target, start=start, bottleneck=4)
    mine, without = tensors_of(model, "zu"), tensors_of(model, "xh")
    blocks = [name for name in mine if ".acquirer_block." in name]
    assert blocks
    assert all(torch.equal(mine[name], related.parts.tensors[name]) for name in blocks)
    own, theirs = model.language("zu").tokenizer, related.parts.tokenizer
    assert own is not None
    assert theirs is not None
    spelled = {theirs.piece(i): i for i in range(related.parts.config.vocabulary)}
    size = len(table_of(mine))
    counts = [0] * size
    for ids in own.plain_ids(target):
        for token in set(ids):
            counts[token] += 1
    copied = [
        i
        for i in range(size)
        if own.piece(i) in spelled and (start == mean_std_start or counts[i] < EVIDENCE)
    ]  # fmt: skip
    assert {PAD_ID, BEGIN_ID, END_ID} < set(copied)
    assert built.copied == len(copied) < size
    table, source, plain = table_of(mine), table_of(related.parts.tensors), table_of(without)
    for i in range(size):
        expected = source[spelled[own.piece(i)]] if i in set(copied) else plain[i]
        assert torch.equal(table[i], expected), own.piece(i)
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors_of(model, "sw").items())


def test_a_copy_shares_no_memory(dual_folder: Path, tmp_path: Path) -> None:
    model = MultilingualModel(open_base(str(dual_folder)))
    related = related_to(model, tmp_path / "sw")
    build_language(model, "zu", native=NATIVE, target=related_text(TARGET), bottleneck=4, related=related)
    before = tensors_of(model, "sw")
    read = {name: tensor.clone() for name, tensor in related.parts.tensors.items()}
    with torch.no_grad():
        for tensor in adapter_parameters(model.peft, model.language("zu").adapter).values():
            tensor.add_(1)
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors_of(model, "sw").items())
    assert all(torch.equal(read[name], tensor) for name, tensor in related.parts.tensors.items())


@pytest.mark.parametrize(("theirs", "ours"), [("native", "native"), ("native", "aligned"), ("aligned", "native")])
def test_acquirers_alone_are_copied_where_a_side_has_no_table(
    theirs: str, ours: str, dual_folder: Path, tmp_path: Path
) -> None:
    model = MultilingualModel(open_base(str(dual_folder)))
    related = related_to(model, tmp_path / "sw", start=theirs)
    built = build_language(model, "zu", native=NATIVE, target=TARGET, start=ours, bottleneck=4, related=related)
    assert built.copied == 0
    for name, tensor in tensors_of(model, "zu").items():
        if ".acquirer_block." in name:
            assert torch.equal(tensor, related.parts.tensors[name])


def test_another_bottleneck_is_refused_before_anything_is_built(dual_folder: Path, tmp_path: Path) -> None:
    model = MultilingualModel(open_base(str(dual_folder)))
    related = related_to(model, tmp_path / "sw")
    with pytest.raises(DataError, match=r"of width 4.*asks for width 8.*acquirer\.bottleneck=4"):
        build_language(model, "zu", native=NATIVE, target=TARGET, bottleneck=8, related=related)
    assert model.languages == ["en", "sw"]


# The whole way ----------------------------------------------------------------------------------------------------


def add(language: str, data: dict[str, Path], base: Path, registry: Path, **more: Any) -> dict[str, Any]:
    overrides = [*SHORT, *more.pop("overrides", ())]
    card = workflow.add_language(
        language, parallel_data=data["parallel"], base=str(base), registry=registry, recipe="quick",
        overrides=overrides, **more,
    )  # fmt: skip
    return card.to_json()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_language_is_added_from_another_which_stays_as_it_is(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    """The card says what it started from, the source's files are untouched, its vectors proven to be."""
    registry = tmp_path / "adapters"
    sw = add("sw", data, dual_folder, registry, licence="CC-BY-NC-4.0")
    before = files(registry / "tiny-dual" / "sw")
    card = add("zu", data, dual_folder, registry, start_from="SW")
    build = card["stages"][0]
    assert build["start_from"] == {"language": "sw", "version": sw["version"]}
    assert build["copied"] > 0
    assert "start_from" not in sw["stages"][0]
    assert files(registry / "tiny-dual" / "sw") == before
    assert card["isolation"]["ok"]
    assert card["isolation"]["languages"]["sw"]["vectors_equal"]
    (record,) = [record for record in card["data"] if record["role"] == "start_from"]
    assert record == {**sw["data"][0], "role": "start_from"}
    assert record["noncommercial"]
    weights = "adapter_model.safetensors"
    assert card["files"][weights] != sw["files"][weights]
    shown = CliRunner().invoke(app, ["show", "zu", "--registry", str(registry)], env={"COLUMNS": "200"})
    assert "start from" in shown.output
    assert "(non-commercial)" in shown.output


def test_what_cannot_be_started_from_is_refused(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    with pytest.raises(LanguageError, match="itself"):
        add("sw", data, dual_folder, registry, start_from="sw")
    with pytest.raises(LanguageError, match="native language"):
        add("sw", data, dual_folder, registry, start_from="en")
    with pytest.raises(LanguageError, match="'zu' is not in the registry"):
        add("sw", data, dual_folder, registry, start_from="zu")
    with pytest.raises(LanguageError, match="no language has been added"):
        workflow.plan_language(
            "sw", parallel_data=data["parallel"], base=str(dual_folder), registry=tmp_path / "none", start_from="zu"
        )
    sw = add("sw", data, dual_folder, registry)
    with pytest.raises(DataError, match="bottleneck"):
        add("zu", data, dual_folder, registry, start_from="sw", overrides=["acquirer.bottleneck=8"])
    model = RegistryModel(open_base(str(dual_folder)), Registry(registry).open("tiny-dual"))
    model.base.identity = replace(model.base.identity, fingerprint="0" * 64)
    with pytest.raises(BaseMismatchError, match="was made for the base"):
        model.related("sw")
    weights = registry / "tiny-dual" / "sw" / sw["version"] / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(RegistryError, match="was changed"):
        add("zu", data, dual_folder, registry, start_from="sw")


class StopAtOnce(Silent):
    """Interrupt a run at its first step, as Ctrl-C would."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        if "score" in figures:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_continues_from_the_same_version(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    """Resumed to the same bytes; once the source has another version, it is another run."""
    registry, whole = tmp_path / "adapters", tmp_path / "whole"
    for place in (registry, whole):
        add("sw", data, dual_folder, place)
    expected = add("zu", data, dual_folder, whole, start_from="sw")
    with pytest.raises(Interrupted):
        add("zu", data, dual_folder, registry, start_from="sw", progress=StopAtOnce())
    with pytest.raises(Exception, match=r"start_from: none, was .*sw"):
        add("zu", data, dual_folder, registry, resume=True)
    card = add("zu", data, dual_folder, registry, start_from="sw", resume=True)
    weights = "adapter_model.safetensors"
    assert card["files"][weights] == expected["files"][weights]
    assert card["stages"][0]["start_from"]["language"] == "sw"


def test_a_dry_run_says_what_it_would_start_from(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    sw = add("sw", data, dual_folder, registry)
    before = files(registry)
    arguments = ["add-language", "zu", "--parallel-data", str(data["parallel"]), "--base", str(dual_folder)]
    arguments += ["--registry", str(registry), "--recipe", "quick", "--start-from", "sw", "--dry-run", "--json"]
    arguments += [part for value in SHORT for part in ("--set", value)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["start_from"] == {"language": "sw", "version": sw["version"]}
    assert files(registry) == before
