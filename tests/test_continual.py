"""A registry measured after each of its languages was added: scores, equal vectors, what is left out."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from mla_extend.bases.open import open_base
from mla_extend.cli import continual as cli
from mla_extend.cli.continual import continual_table
from mla_extend.continual import continual
from mla_extend.errors import DataError, RegistryError
from mla_extend.evaluate import evaluate_language
from mla_extend.evaluation import evaluate_retrieval
from mla_extend.language.model import MultilingualModel
from mla_extend.registry.languages import BaseRegistry
from tests.conftest import sentences
from tests.test_compare import Publish, publisher, write_rows

NATIVE, TARGET = sentences(120)
ORDER = ("sw", "am", "ja")
ADDED = {"sw": "2026-01-03T08:00:00Z", "am": "2026-01-04T08:00:00Z", "ja": "2026-01-05T08:00:00Z"}


def rows_of(pictures: Sequence[Path], start: int, native: bool = True) -> list[dict[str, Any]]:
    """Return one row a picture, with captions from a place on."""
    rows = []
    for i, picture in enumerate(pictures, start=start):
        row = {"image": f"pictures/{picture.name}", "caption": TARGET[i]}
        rows.append({**row, "english": NATIVE[i]} if native else row)
    return rows


def fill(publish: Publish, folder: Path, pictures: Sequence[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish three languages, not in the order of the alphabet, each with a test set of its own and on another day."""
    for seed, language in enumerate(ORDER):
        test = write_rows(folder / f"{language}.jsonl", rows_of(pictures, 20 * seed, native=language != "sw"))
        on_day(monkeypatch, ADDED[language])
        publish(language, seed, test)


def on_day(monkeypatch: pytest.MonkeyPatch, created: str) -> None:
    """Let what is published from now on have been made at a time."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls.fromisoformat(created)

    monkeypatch.setattr("mla_extend.registry.publish.datetime", Clock)


@pytest.fixture
def home(
    dual_folder: Path, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[BaseRegistry, Publish]:
    """Give a registry of three languages, and what publishes more."""
    registry, publish = publisher(dual_folder, tmp_path / "adapters")
    fill(publish, tmp_path, pictures, monkeypatch)
    return registry, publish


def test_nothing_is_forgotten_and_the_vectors_show_it(
    base_folder: Path, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, publish = publisher(base_folder, tmp_path / "adapters")
    fill(publish, tmp_path, pictures, monkeypatch)
    found = continual(tmp_path / "adapters")
    assert found["languages"] == ["en", *ORDER]
    assert found["loaded"] == [[], ["sw"], ["sw", "am"], ["sw", "am", "ja"]]
    assert found["forgetting"] == [None, 0.0, 0.0, 0.0]
    assert found["backward_transfer"] == [None, 0.0, 0.0, 0.0]
    assert found["vectors_equal"] is True
    assert [len(column["vectors"]) for column in found["columns"]] == [4, 3, 2, 1]
    assert len({column["vectors"][0] for column in found["columns"]}) == 4
    assert found["left_out"] == {}
    for row, scores in enumerate(found["scores"]):
        assert scores[: row + 1] == [found["scores"][place][place] for place in range(row + 1)]
        assert scores[row + 1 :] == [None] * (3 - row)
    for column, score in zip(found["columns"], found["scores"][-1], strict=True):
        assert column["ci95"][0] <= score <= column["ci95"][1]
    assert [column["version"] for column in found["columns"][1:]] == [registry.current(tag).name for tag in ORDER]


def test_the_scores_are_those_of_evaluate(home: tuple[BaseRegistry, Publish], dual_folder: Path) -> None:
    """The base's own language is measured on the first test set that has native captions: that of Amharic."""
    root = home[0].folder.parent
    found = continual(root)
    last = dict(zip(found["languages"], found["scores"][-1], strict=True))
    for language in ORDER:
        report = evaluate_language(language, registry=root)["splits"]["test"]
        assert last[language] == pytest.approx(report["mean_recall"])
        if language == "am":
            assert last["en"] == pytest.approx(report["native_mean_recall"])
    assert found["columns"][0] == {**found["columns"][0], "language": "en", "test_set": "am", "texts": 60}


def test_vectors_that_move_are_told_even_where_scores_do_not(
    home: tuple[BaseRegistry, Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model in which each language that is loaded turns the other vectors' lengths up by a hair."""
    plain = MultilingualModel.text_vectors

    def moving(self: MultilingualModel, texts: Sequence[str], languages: str) -> torch.Tensor:
        loaded = sum(self.is_loaded(tag) for tag in ORDER)
        return plain(self, texts, languages) * (1 + 0.001 * loaded)

    monkeypatch.setattr(MultilingualModel, "text_vectors", moving)
    found = continual(home[0].folder.parent)
    assert found["forgetting"] == [None, 0.0, 0.0, 0.0]
    assert found["vectors_equal"] is False
    assert [column["vectors_equal"] for column in found["columns"]] == [False, False, False, True]
    drawn = draw(found)
    assert drawn.count("✗") == 3
    assert drawn.count("✓") == 1


def test_forgetting_is_measured_where_there_is_some(
    home: tuple[BaseRegistry, Publish], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose Swahili collapses as soon as another language is loaded."""
    plain = MultilingualModel.text_vectors

    def collapsing(self: MultilingualModel, texts: Sequence[str], languages: str) -> torch.Tensor:
        vectors = plain(self, texts, languages)
        return torch.ones_like(vectors) if languages == "sw" and self.is_loaded("am") else vectors

    monkeypatch.setattr(MultilingualModel, "text_vectors", collapsing)
    found = continual(home[0].folder.parent)
    fall = found["scores"][1][1] - found["scores"][2][1]
    assert fall > 0
    assert found["forgetting"] == [None, 0.0, pytest.approx(fall / 2), pytest.approx(fall / 3)]
    assert found["backward_transfer"] == [None, 0.0, pytest.approx(-fall / 2), pytest.approx(-fall / 3)]


def test_what_cannot_be_measured_is_left_out_and_named(
    home: tuple[BaseRegistry, Publish], tmp_path: Path, pictures: list[Path]
) -> None:
    registry, publish = home
    publish("cy", 3)
    publish("de", 4, tmp_path / "gone.jsonl")
    text = tmp_path / "text.tsv"
    text.write_text("a cat\tpaka\na dog\tmbwa\n", encoding="utf-8")
    publish("fr", 5, text)
    weights = registry.current("ja").folder / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    card = registry.current("am").folder / "card.json"
    card.chmod(0o644)
    card.write_text("{}", encoding="utf-8")
    found = continual(registry.folder.parent)
    assert found["languages"] == ["sw"]
    assert list(found["left_out"]) == ["am", "cy", "de", "fr", "ja", "en"]
    assert "names no test set" in found["left_out"]["cy"]
    assert "gone.jsonl does not exist" in found["left_out"]["de"]
    assert "has no images" in found["left_out"]["fr"]
    assert "adapter_model.safetensors" in found["left_out"]["ja"]
    assert "native captions" in found["left_out"]["en"]


def test_a_test_set_given_is_everybodys_and_its_whole_counts(
    home: tuple[BaseRegistry, Publish], tmp_path: Path, pictures: list[Path]
) -> None:
    """Of a test set in parts, `all` stands for it; without one of that name, the first does."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "pictures").symlink_to(tmp_path / "pictures")
    write_rows(folder / "a-part.jsonl", rows_of(pictures[:20], 0))
    write_rows(folder / "all.jsonl", rows_of(pictures, 0))
    root = home[0].folder.parent
    found = continual(root, test_set=folder)
    assert {(column["test_set"], column["split"], column["images"]) for column in found["columns"]} == {
        ("tests", "all", 60)
    }
    (folder / "all.jsonl").unlink()
    assert {column["split"] for column in continual(root, test_set=folder)["columns"]} == {"a-part"}


def test_native_captions_of_their_own_number_are_used(dual_folder: Path, tmp_path: Path, pictures: list[Path]) -> None:
    """An image may have one caption in the language and two native ones."""
    registry, publish = publisher(dual_folder, tmp_path / "adapters")
    rows = [
        {"image": f"pictures/{picture.name}", "captions": [TARGET[i]], "en": [NATIVE[i], NATIVE[i + 60]]}
        for i, picture in enumerate(pictures)
    ]
    publish("sw", 0, write_rows(tmp_path / "two.jsonl", rows))
    found = continual(registry.folder.parent)
    assert [column["texts"] for column in found["columns"]] == [120, 60]
    base = open_base(str(dual_folder))
    vectors = base.native_vectors([text for row in rows for text in row["en"]]).numpy()
    expected = evaluate_retrieval(base.image_vectors(pictures).numpy(), vectors, np.repeat(np.arange(60), 2))
    assert found["scores"][0][0] == pytest.approx(expected.mean_recall)


def test_a_registry_without_anything_to_measure_says_so(
    dual_folder: Path, clip_folder: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    root = tmp_path / "adapters"
    with pytest.raises(RegistryError, match="holds no base"):
        continual(root)
    _, publish = publisher(dual_folder, root)
    with pytest.raises(DataError, match="holds no language that can be measured"):
        continual(root)
    publish("sw", 0)
    with pytest.raises(DataError, match=r"can be measured\. sw: The card of 'sw' names no test set"):
        continual(root)
    publisher(clip_folder, root)[1]("de", 0, write_rows(tmp_path / "de.jsonl", rows_of(pictures, 0)))
    with pytest.raises(RegistryError, match="several bases"):
        continual(root)
    with pytest.raises(RegistryError, match="no base named 'tiny-clap'"):
        continual(root, base="tiny-clap")
    for base in ("tiny-clip", str(clip_folder)):
        assert continual(root, base=base)["languages"] == ["en", "de"]


def draw(found: dict[str, Any]) -> str:
    console = Console(width=100)
    with console.capture() as drawn:
        console.print(continual_table(found))
    return drawn.get()


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command as one of several."""
    app = typer.Typer()
    app.command("continual")(cli.continual)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["continual", *arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_json_alone_or_a_table(home: tuple[BaseRegistry, Publish]) -> None:
    registry, publish = home
    publish("cy", 3)
    root = registry.folder.parent
    code, out, err = run("--registry", str(root), "--json", "--seed", "1")
    assert code == 0
    assert json.loads(out) == continual(root, seed=1)
    assert "Left out: cy: The card of 'cy' names no test set" in " ".join(err.split())
    code, out, _ = run("--registry", str(root))
    assert code == 0
    lines = {line.strip("│ ").split()[0]: line for line in out.splitlines() if line.strip("│ ")}
    assert lines["ja"].count("│") == lines["am"].count("│")
    assert lines["ja"].strip("│ ").split("│")[-2].strip() == "0"
    assert lines["equal"].count("✓") == 4


def test_the_commands_load_no_torch() -> None:

    program = (
        "import sys\nimport mla_extend.cli.compare, mla_extend.cli.continual\n"
        "heavy = {'torch', 'transformers', 'peft', 'numpy'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
