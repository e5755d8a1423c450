"""A word list beside parallel text: words read as their translations and trained as words."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from tokenizers import normalizers

from mla_extend.add import job as workflow
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ParallelText, Part
from mla_extend.errors import DataError, TrainingError
from mla_extend.jobs.outcome import published
from mla_extend.jobs.plan import read_plan
from mla_extend.language.alignment import Alignment
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.native_words import lexicon_pieces
from mla_extend.registry.store import Registry
from mla_extend.training.recipe import load_recipe
from mla_extend.training.split import split
from mla_extend.training.stages import training_pairs
from tests.conftest import NATIVE_WORDS, TARGET_WORDS, assert_close, sentences

LACKING = ("boat", "boti")
PAIRS = [(a, b) for a, b in zip(*sentences(300), strict=True) if LACKING[0] not in a.split()]


def text(rows: list[tuple[str, str]], *weights: float) -> ParallelText:
    """Return pairs of sources with some weights, which take turns."""
    parts = tuple(Part(f"{i}.tsv", weight=weight) for i, weight in enumerate(weights or (1.0,)))
    part_of = np.arange(len(rows)) % len(parts)
    return ParallelText(parts, [a for a, _ in rows], [b for _, b in rows], part_of, np.arange(len(rows)))


def built(base_folder: Path, lexicon: list[tuple[str, str]], **more: Any) -> MultilingualModel:
    model = MultilingualModel(open_base(str(base_folder)))
    native, target = zip(*PAIRS, strict=True)
    build_language(model, "sw", native=native, target=target, lexicon=lexicon, bottleneck=4, **more)
    return model


@pytest.mark.parametrize("native_words", [True, False])
def test_a_word_that_the_text_lacks_means_its_translation(base_folder: Path, native_words: bool) -> None:
    model = built(base_folder, [LACKING], native_words=native_words)
    native = model.encode_text([LACKING[0]], model.native)
    assert_close(model.encode_text([LACKING[1]], "sw"), native)
    alone = built(base_folder, [], native_words=native_words)
    assert (alone.encode_text([LACKING[1]], "sw") - native).abs().max() > 0.01


def test_a_piece_of_the_text_stays_the_languages_own(base_folder: Path) -> None:
    model = built(base_folder, [("dog", "paka"), LACKING])
    target = [sentence for _, sentence in PAIRS]
    assert model.tokenise("sw", target) == built(base_folder, []).tokenise("sw", target)
    cat, dog = model.encode_text(["cat", "dog"], model.native) @ model.encode_text(["paka"], "sw")[0]
    assert cat > 0.99 > dog  # one entry of a word list weighs little against many sentences


def test_words_become_pieces_where_one_native_token_says_the_same() -> None:
    words = [("Chat", [7]), ("chat", [4]), ("chat", [9]), ("pomme de terre", [3]), ("oiseau", [1, 2]), ("a", [5])]
    assert lexicon_pieces(words, normalizers.Lowercase()) == {"▁chat": 4}


def test_a_word_list_counts_as_one_occurrence_of_each_token() -> None:
    own = Alignment(sparse.csr_array(np.array([[1.0, 0], [0, 0], [0, 0], [1, 0]])))
    other = Alignment(sparse.csr_array(np.array([[0.0, 1], [0, 1], [0, 0], [0, 0]])))
    joined = own.joined(other, np.array([3, 5, 2, 4]))
    assert joined.weights.toarray().tolist() == [[0.75, 0.25], [0, 1], [0, 0], [1, 0]]


def test_its_entries_are_a_share_of_what_is_drawn_however_many_they_are() -> None:
    pairs, lexicon = text([("a b", "c d")] * 6, 1.0, 2.0), text([("a", "c")] * 40, 1.0, 3.0)
    both = training_pairs(pairs, lexicon, 0.2)
    assert both.target == [*pairs.target, *lexicon.target]
    assert both.weights is not None
    own, words = both.weights[:6], both.weights[6:]
    assert words.sum() / both.weights.sum() == pytest.approx(0.2)
    assert own.tolist() == [1, 2] * 3
    assert words[1] / words[0] == pytest.approx(3)
    assert training_pairs(pairs, lexicon, 0) is pairs
    assert training_pairs(pairs, None, 0.2) is pairs


def test_what_is_held_out_leaves_the_word_list() -> None:
    pairs = text([(word, word[::-1]) for word in NATIVE_WORDS])
    lexicon = text([(word, f"{word[::-1].upper()}!") for word in NATIVE_WORDS])
    recipe = load_recipe("quick", ["validation.fraction=0.2"])
    found = split(pairs, None, recipe, lexicon)
    assert found.lexicon is not None
    held = np.flatnonzero(found.pairs)
    assert found.lexicon.native == [word for i, word in enumerate(NATIVE_WORDS) if i not in held]
    assert found.words[0] == (found.lexicon.native[0], found.lexicon.target[0])
    assert split(pairs, None, recipe, lexicon.subset(found.pairs)).lexicon is None


@pytest.fixture
def asked(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Return arguments of `add_language` with a word list, one of whose entries is a sentence of the test set."""
    native, target = sentences(200)
    leaked = next(i for i in range(150, 200) if len(target[i].split()) > 3)
    words = tmp_path / "words.tsv"
    rows = [*zip(NATIVE_WORDS, TARGET_WORDS, strict=True), ("unheard", "sijasikia"), (native[leaked], target[leaked])]
    words.write_text("".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
    small = ["precision=fp32", "transfer.max_steps=3", "exposure.max_steps=0", "acquirer.bottleneck=4"]
    return {
        "parallel_data": str(data["parallel"]),
        "lexicon": str(words),
        "test_set": str(data["test"]),
        "base": str(dual_folder),
        "registry": tmp_path / "adapters",
        "recipe": "quick",
        "overrides": small,
        "licence": "CC0-1.0",
    }


def test_a_run_knows_its_word_list(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = workflow.plan_language("sw", **asked)
    assert plan["lexicon"] == len(NATIVE_WORDS) + 1
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "_evaluate", lambda *_: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception):
            workflow.add_language("sw", **asked)
    with pytest.raises(TrainingError, match="rows of the lexicon"):
        workflow.add_language("sw", **{**asked, "lexicon": ()}, resume=True)
    card = workflow.add_language("sw", **asked, resume=True)
    (record,) = [record for record in card.data if record["role"] == "lexicon"]
    assert record["path"] == asked["lexicon"]
    assert record["licence"] == "CC0-1.0"
    assert record["kept"] == len(NATIVE_WORDS) + 1
    assert record["dropped"] == {"leaked": 1}


def test_a_plan_without_the_word_list_asks_for_another_version(asked: dict[str, Any], tmp_path: Path) -> None:
    workflow.add_language("sw", **{**asked, "overrides": [], "recipe": "instant", "licence": None})
    path = tmp_path / "plan.yaml"
    path.write_text(
        "defaults: {recipe: instant, parallel_data: en-sw.tsv, test_set: test.jsonl, lexicon: words.tsv}\n"
        "languages: [sw]\n"
    )
    (job,) = read_plan(path, registry=asked["registry"], base=asked["base"]).jobs
    home = Registry(asked["registry"]).open()
    assert job.arguments["lexicon"] == [asked["lexicon"]]
    assert published(job, home, {}) is not None
    without = dataclasses.replace(job, arguments={**job.arguments, "lexicon": []})
    assert published(without, home, {}) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [("cat\tcat\ndog\tdog\nbird\tbird\n", "copy of the native text"), ("cat\tpaka\n", "holds 1 pair"), (None, "exist")],
)
def test_a_word_list_that_is_none_is_refused(asked: dict[str, Any], tmp_path: Path, content: str, said: str) -> None:
    asked["lexicon"] = str(tmp_path / "bad.tsv") if content else "demo"
    if content:
        Path(asked["lexicon"]).write_text(content)
    with pytest.raises(DataError, match=said):
        workflow.add_language("sw", **asked)
