"""Which sentences to translate next: a greedy cover of the words that are needed and not known."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import open_source
from mla_extend.data.suggest import suggest, words
from mla_extend.errors import DataError
from tests.conftest import sentences
from tests.test_cli_end_to_end import run


def plain_greedy(known: list[str], needed: list[str], pool: list[str], count: int) -> list[str]:
    """Count every sentence anew each time."""
    counts = Counter(word for text in needed for word in words(text))
    covered = {word for text in known for word in words(text)}
    chosen: list[str] = []
    while len(chosen) < count:
        gains = [sum(counts[word] for word in set(words(text)) - covered) for text in pool]
        best = min(range(len(pool)), key=lambda i: (-gains[i], len(words(pool[i])), i))
        if not gains[best]:
            break
        chosen.append(pool[best])
        covered.update(words(pool[best]))
    return chosen


@pytest.mark.parametrize("seed", range(20))
def test_the_lazy_queue_chooses_what_counting_anew_chooses(seed: int) -> None:
    draw = random.Random(seed)
    letters = [f"w{i}" for i in range(30)]

    def texts(count: int, longest: int) -> list[str]:
        return [" ".join(draw.choices(letters, k=draw.randint(1, longest))) for _ in range(count)]

    known, needed, pool = texts(3, 2), texts(40, 4), texts(60, 5)
    count = draw.choice([3, 60])
    found = suggest(known, needed, pool, count)
    assert [one["text"] for one in found["sentences"]] == plain_greedy(known, needed, pool, count)


def test_words_weigh_by_how_often_they_are_needed_and_nothing_useless_is_named() -> None:
    needed = ["Red dog", "red DOG", "a red cat", "a bird", "7 fish"]
    pool = ["the cat and the bird", "a red dog", "a red big dog", "fish", "dog, red", "a known boat"]
    found = suggest(["a boat, known"], needed, pool, 10)
    assert [(one["text"], one["new"]) for one in found["sentences"]] == [
        ("dog, red", ["dog", "red"]),
        ("the cat and the bird", ["cat", "bird"]),
        ("fish", ["fish"]),
    ]
    assert (found["words"], found["lacking"], found["beyond"]) == (10, 5, 0)
    assert [found["known"], *(one["covered"] for one in found["sentences"])] == [0.2, 0.7, 0.9, 1.0]
    assert suggest([], ["a wolf"], pool, 1)["beyond"] == 1


def test_chinese_is_covered_by_characters() -> None:
    assert words("红色的狗 in 2024, 3D") == ["红", "色", "的", "狗", "in", "3d"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write a little parallel text, captions whose words are needed, a pool, and a test set."""
    native, target = sentences(12, seed=1)
    (tmp_path / "en-sw.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in zip(native, target, strict=True)))
    (tmp_path / "needed.txt").write_text("a white horse\na horse and a lion\na horse in the snow\n\nthe house\n")
    leak = "a white horse and a lion in deep snow"
    (tmp_path / "pool.txt").write_text(f"{leak}\nsnow,\t lion\nmy horse in snow\n")
    (tmp_path / "test.tsv").write_text(f"{leak}\tfarasi mweupe na simba katika theluji\nthe wolf runs\tmbwa mwitu\n")
    return tmp_path


def test_the_sentences_are_printed_and_written_for_a_translator(files: Path) -> None:
    arguments = ("inspect", str(files / "en-sw.tsv"), "--language", "sw", "--suggest", "5", "--for")
    arguments += (str(files / "needed.txt"), "--pool", str(files / "pool.txt"))
    code, out, _ = run(*arguments, "--out", str(files / "next.tsv"), "--json", registry=files / "none")
    suggested = json.loads(out)["suggested"]
    assert code == 0
    assert [one["text"] for one in suggested["sentences"]] == ["a white horse and a lion in deep snow"]
    assert (files / "next.tsv").read_text() == "en\tsw\na white horse and a lion in deep snow\t\n"
    with pytest.raises(DataError, match=r"next.tsv already exists.*--out"):
        run(*arguments, "--out", str(files / "next.tsv"), registry=files / "none")
    out = run(*arguments, registry=files / "none")[1]
    assert "Most worth translating next" in out
    assert "white, horse" in " ".join(out.split())


def test_a_table_that_is_filled_in_in_part_is_parallel_text(files: Path) -> None:
    arguments = ("inspect", str(files / "en-sw.tsv"), "--language", "sw", "--suggest", "5", "--for")
    arguments += (str(files / "needed.txt"), "--out", str(files / "next.tsv"))
    run(*arguments, registry=files / "none")
    lines = (files / "next.tsv").read_text().splitlines()
    assert len(lines) == 4
    lines[1:3] = [f"{line}farasi" for line in lines[1:3]]
    (files / "next.tsv").write_text("\n".join(lines))
    assert open_source(files / "next.tsv", ColumnMapping("sw")).parallel().target == ["farasi", "farasi", ""]


def test_what_stands_in_the_test_set_is_not_to_be_translated(files: Path) -> None:
    arguments = ("inspect", str(files / "en-sw.tsv"), "--language", "sw", "--suggest", "5", "--json")
    arguments += ("--test-set", str(files / "test.tsv"), "--pool", str(files / "pool.txt"))
    suggested = json.loads(run(*arguments, registry=files / "none")[1])["suggested"]
    assert [one["text"] for one in suggested["sentences"]] == ["my horse in snow", "snow, lion"]
    assert suggested["beyond"] == 4  # white, and, deep, wolf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--suggest", "3"), r"says which words are needed\..*--for FILE"),
        (("--suggest", "3", "--test-set", "test.tsv"), r"must not be trained on.*--pool FILE"),
        (("--suggest", "3", "--for", "none.txt"), r"none.txt does not exist"),
        (("--suggest", "3", "--for", "blank.txt"), r"blank.txt holds no native text"),
    ],
)
def test_what_is_not_said_is_asked_for(
    files: Path, options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    (files / "blank.txt").write_text("\n7\n")
    with pytest.raises(DataError, match=message):
        run("inspect", "en-sw.tsv", "--language", "sw", *options, registry=files / "none")
    code, _, told = run("inspect", "en-sw.tsv", "--language", "sw", "--pool", "pool.txt", registry=files / "none")
    assert code == 2
    assert "--suggest N" in told


def test_suggesting_loads_no_torch() -> None:
    program = "import sys, mla_extend.data.suggest; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
