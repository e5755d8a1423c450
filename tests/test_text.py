"""Text of the language alone: it shapes the tokenizer, and says where pieces that no pair aligned start."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mla_extend.add import job as workflow
from mla_extend.add.request import Request, read_request
from mla_extend.data.pairs import ParallelText, Part
from mla_extend.errors import DataError, TrainingError
from mla_extend.jobs.outcome import published
from mla_extend.jobs.plan import read_plan
from mla_extend.language.alignment import align
from mla_extend.language.distribution import distributional, mapped
from mla_extend.language.embedding import StartInputs, aligned_start
from mla_extend.registry.store import Registry
from mla_extend.training.recipe import load_recipe
from mla_extend.training.split import split
from tests.conftest import sentences

ANIMALS, TOOLS = [4, 5, 6], [7, 8, 9]
COMPANY = {animal: [10, 11] for animal in ANIMALS} | {tool: [12, 13] for tool in TOOLS}
TEXT = [[before, one, after] for one, (before, after) in COMPANY.items() for _ in range(5)]


def test_pieces_in_the_same_company_have_the_same_vector() -> None:
    vectors = distributional(TEXT, 20)
    alike = vectors @ vectors.T
    assert alike[4, 5] == pytest.approx(1)
    assert alike[7, 9] == pytest.approx(1)
    assert alike[4, 7] == pytest.approx(0, abs=1e-6)
    assert not vectors[14:].any()


def test_a_linear_map_is_found_from_the_pieces_that_are_sure() -> None:
    generator = np.random.default_rng(0)
    vectors, turn = generator.normal(size=(300, 5)), generator.normal(size=(5, 8))
    table = vectors @ turn + 3
    counts = np.where(np.arange(300) % 2 == 0, 7, 0)
    known = np.where(counts[:, None] > 0, table, 100.0)
    assert np.abs(mapped(vectors, known, counts) - table).max() < 0.02


def test_a_piece_that_no_pair_holds_starts_where_its_like_do() -> None:
    native = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    pairs = align([[4], [5], [7], [8]], [[20], [20], [30], [30]], 20, 50)
    inputs = StartInputs(native, (0, 1, 2), 20, pairs, seed=0)
    counts = np.isin(np.arange(20), [4, 5, 7, 8]) * 20.0
    table = aligned_start(dataclasses.replace(inputs, text=(TEXT, counts)))
    without = aligned_start(inputs)
    for new, like in ((6, 20), (9, 30)):
        assert torch.dist(table[new], native[like]) < 0.1 * torch.dist(without[new], native[like])
    assert torch.equal(table[[0, 1, 2, 4, 7, 14]], without[[0, 1, 2, 4, 7, 14]])


def test_what_is_held_out_leaves_the_text() -> None:
    _, target = sentences(30)
    pairs = ParallelText((Part("a.tsv"),), list(target), target, np.zeros(30, dtype=np.int64), np.arange(30))
    found = split(pairs, None, load_recipe("quick"), text=[f"{one.upper()}." for one in target])
    assert found.text == [f"{one.upper()}." for one in pairs.subset(~found.pairs).target]


@pytest.fixture
def asked(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Return arguments of `add_language` with text, one line of which is a sentence of the test set."""
    _, target = sentences(200)
    text = tmp_path / "sw.txt"
    text.write_text("".join(f"{one}\n" for one in [*sentences(60, seed=7)[1], max(target[150:], key=len), " "]))
    small = ["precision=fp32", "transfer.max_steps=3", "exposure.max_steps=0", "acquirer.bottleneck=4"]
    return {
        "parallel_data": str(data["parallel"]),
        "text": str(text),
        "test_set": str(data["test"]),
        "base": str(dual_folder),
        "registry": tmp_path / "adapters",
        "recipe": "quick",
        "overrides": small,
        "licence": "CC0-1.0",
    }


def test_a_run_knows_its_text(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "_evaluate", lambda *_: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception):
            workflow.add_language("sw", **asked)
    with pytest.raises(TrainingError, match="rows of text"):
        workflow.add_language("sw", **{**asked, "text": ()}, resume=True)
    card = workflow.add_language("sw", **asked, resume=True)
    (record,) = [record for record in card.data if record["role"] == "text"]
    assert (record["path"], record["pairs"], record["licence"]) == (asked["text"], 62, "CC0-1.0")
    assert record["dropped"].keys() >= {"leaked", "empty"}
    assert record["kept"] == 62 - sum(record["dropped"].values())
    assert 0 < workflow.plan_language("sw", **asked, replace=True)["text"] <= record["kept"]


def test_a_line_of_two_files_counts_once(data: dict[str, Path], tmp_path: Path) -> None:
    lines = sentences(20, seed=7)[1]
    for name, part in (("a", lines[:15]), ("b", lines[10:])):
        (tmp_path / name).write_text("".join(f"{one}\n" for one in part))
    request = read_request("sw", parallel_data=data["parallel"], text=[tmp_path / "a", tmp_path / "b"])
    found = [(record["pairs"], record["kept"]) for record in request.data if record["role"] == "text"]
    assert found == [(15, 15), (10, 5)]
    assert request.text == lines


def test_the_record_of_a_sampled_source_says_of_how_many_rows_it_is(data: dict[str, Path], tmp_path: Path) -> None:
    """One sample is taken of all sources together, and the seed decides which."""
    more = tmp_path / "more.tsv"
    native, target = sentences(30, seed=11)
    more.write_text("".join(f"{a}\t{b}\n" for a, b in zip(native, target, strict=True)))

    def read(most: int | None, seed: int = 0) -> Request:
        return read_request("sw", parallel_data=[data["parallel"], more], max_pairs=most, seed=seed, filter="off")

    whole, some = read(None), read(20)
    sizes = [record["pairs"] for record in whole.data]
    assert not any("sampled_from" in record for record in whole.data)
    assert [record["sampled_from"] for record in some.data] == sizes
    assert (sum(record["pairs"] for record in some.data), len(some.parallel), some.pairs_read) == (20, 20, 20)
    assert set(some.parallel.target) < set(whole.parallel.target)
    assert some.parallel.target == read(20).parallel.target
    assert some.parallel.target != read(20, seed=1).parallel.target


def test_a_plan_without_the_text_asks_for_another_version(asked: dict[str, Any], tmp_path: Path) -> None:
    workflow.add_language("sw", **{**asked, "overrides": [], "recipe": "instant", "licence": None})
    path = tmp_path / "plan.yaml"
    options = "recipe: instant, parallel_data: en-sw.tsv, test_set: test.jsonl, text: '{language}.txt'"
    path.write_text(f"defaults: {{{options}}}\nlanguages: [sw]\n")
    (job,) = read_plan(path, registry=asked["registry"], base=asked["base"]).jobs
    home = Registry(asked["registry"]).open()
    assert published(job, home, {}) is not None
    assert published(dataclasses.replace(job, arguments={**job.arguments, "text": []}), home, {}) is None


def test_text_that_is_not_there_is_refused(asked: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a file of text, one sentence per line"):
        workflow.add_language("sw", **{**asked, "text": str(tmp_path)})
