"""Evaluating through the real command: parallel text, protocols, translations; and data of several sources."""

import json
from pathlib import Path
from typing import Any

import pytest

from mla_extend.errors import DataError
from mla_extend.registry.load import RegistryModel
from tests.conftest import sentences
from tests.test_cli_end_to_end import add, run


@pytest.fixture
def registry(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> Path:
    """Give a registry with Swahili."""
    add(data, dual_folder, tmp_path / "adapters")
    return tmp_path / "adapters"


def evaluate(registry: Path, *arguments: str) -> dict[str, Any]:
    """Evaluate Swahili and return what scripts read."""
    code, out, _ = run("evaluate", "sw", "--json", *arguments, registry=registry)
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_parallel_text_alone_gives_the_figures_of_text_transfer(registry: Path, tmp_path: Path) -> None:
    """Distractors make it harder to find the native sentence; those that are in the set are not counted twice."""
    native, target = sentences(60, seed=7)
    pairs = dict(zip(native, target, strict=True))
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs.items()))
    more = dict.fromkeys(sentences(400, seed=8)[0])
    (tmp_path / "more.txt").write_text("".join(f"{text}\n" for text in [*more, "", *native]))
    plain = evaluate(registry, "--test-set", str(tmp_path / "pairs.tsv"))["splits"]["test"]
    assert {"pairs", "to_native_accuracy", "from_native_accuracy", "mse", "cosine"} <= plain.keys()
    assert (plain["pairs"], plain["native_candidates"]) == (len(pairs), len(pairs))
    assert plain["to_native_accuracy"] > plain["floor_to_native_accuracy"]
    arguments = ("--test-set", str(tmp_path / "pairs.tsv"), "--distractors", str(tmp_path / "more.txt"))
    hard = evaluate(registry, *arguments)["splits"]["test"]
    assert hard["native_candidates"] == len({*pairs, *more})
    assert hard["to_native_accuracy"] <= plain["to_native_accuracy"]
    assert (hard["mse"], hard["from_native_accuracy"]) == (plain["mse"], plain["from_native_accuracy"])
    shown = run("evaluate", "sw", *arguments, registry=registry)[1]
    assert "to native" in shown
    assert "mean recall" not in shown


def test_protocols_differ_where_an_image_has_several_captions(
    registry: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    """`first` has a caption an image; the paper's protocol reads no lower than the standard one."""
    native, target = sentences(60, seed=7)
    rows = [
        {"image": str(pictures[i]), "caption": target[2 * i : 2 * i + 2], "english": native[2 * i : 2 * i + 2]}
        for i in range(30)
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {
        name: evaluate(registry, "--test-set", str(tmp_path / "test.jsonl"), "--protocol", name)
        for name in ("standard", "first", "mla")
    }
    assert [found[name]["protocol"] for name in found] == list(found)
    splits = {name: result["splits"]["test"] for name, result in found.items()}
    assert [splits[name]["captions"] for name in splits] == [60, 30, 60]
    assert (
        splits["mla"]["metrics"]["text_retrieval_recall@5"] >= splits["standard"]["metrics"]["text_retrieval_recall@5"]
    )
    assert splits["standard"]["ratio"] is not None
    with pytest.raises(DataError, match="no protocol 'best'"):
        run("evaluate", "sw", "--protocol", "best", registry=registry)


def test_a_text_of_several_splits_is_encoded_once(
    registry: Path, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    native, target = sentences(60, seed=7)
    rows = [{"image": str(pictures[i]), "caption": target[i], "english": native[i]} for i in range(30)]
    (tmp_path / "test").mkdir()
    for name, some in (("all", rows), ("few", rows[:10])):
        (tmp_path / "test" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    encoded: list[str] = []
    encode = RegistryModel.text_vectors
    monkeypatch.setattr(
        RegistryModel,
        "text_vectors",
        lambda model, texts, *more: encoded.extend(texts) or encode(model, texts, *more),
    )
    splits = evaluate(registry, "--test-set", str(tmp_path / "test"))["splits"]
    assert len(encoded) == 2 * len(set(target[:30]))
    alone = evaluate(registry, "--test-set", str(tmp_path / "test" / "few.jsonl"))["splits"]
    assert splits["few"]["metrics"] == alone["test"]["metrics"]


def test_several_sources_with_weights_and_licences(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    """Each has its line on the card; a data set's own card names its licence, and a non-commercial one marks all."""
    native, target = sentences(100, seed=11)
    folder = tmp_path / "news"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# News\n")
    lines = [json.dumps({"en": a, "sw": b}) for a, b in zip(native, target, strict=True)]
    (folder / "train.jsonl").write_text("".join(f"{line}\n" for line in lines))
    registry = tmp_path / "adapters"
    card = add(data, dual_folder, registry, "--parallel-data", f"{folder}=2")
    records = {record["path"]: record for record in card["data"]}
    assert [record["role"] for record in card["data"]] == ["parallel", "parallel", "image_text"]
    news = records[f"{folder}=2"]
    assert (news["pairs"], news["weight"], news["split"], news["licence"]) == (100, 2.0, "train", "cc-by-nc-4.0")
    assert news["noncommercial"] is True
    assert records[str(data["parallel"])]["licence"] is None
    assert "noncommercial" not in records[str(data["parallel"])]
    listed = json.loads(run("list", "--json", registry=registry)[1])
    assert listed[0]["noncommercial"] is True
    assert "non-commercial" in run("list", registry=registry)[1]
    assert "non-commercial" in run("show", "sw", registry=registry)[1]


def test_data_without_parallel_text_is_refused(dual_folder: Path, tmp_path: Path) -> None:
    """From Python nothing can be left out that the command requires."""
    from mla_extend import add_language

    with pytest.raises(DataError, match="no parallel text"):
        add_language("sw", parallel_data=[], base=str(dual_folder), registry=tmp_path / "adapters")
