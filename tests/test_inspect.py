"""The data doctor as a command, and what `add-language` drops on the same grounds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mla_extend.add.inspect import inspect_data
from mla_extend.errors import DataError
from tests.conftest import sentences
from tests.test_cli_end_to_end import QUICK, run
from tests.test_images_open import damaged_pictures

FAULTS = {
    "empty": ("a lonely dog", "—"),
    "copy": ("the quick brown fox jumps over the dog", "the quick brown fox jumps over the dog"),
    "mojibake": ("the coffee is ready for you", "kahawa iko tayari kwa ajili yenu Ã©tÃ© dÃ©jÃ  lÃ "),
    "wrong_script": ("a red house under a tree", "красный дом под большим деревом"),
    "length_ratio": ("boat", "ndege " * 60),
}


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Write good pairs and one of each fault, a repetition and a leak among them."""
    native, target = sentences(300, seed=5)
    pairs = list(dict.fromkeys(zip(native, target, strict=True)))
    pairs += [
        *FAULTS.values(),
        pairs[0],
        ("a big bird runs over the old house", "ndege kubwa kimbia juu nyumba zee ile"),
    ]
    path = tmp_path / "en-sw.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    (tmp_path / "test.tsv").write_text(
        "the bird runs\tNdege kubwa, kimbia juu nyumba zee ile!\nyes\tndiyo\n", encoding="utf-8"
    )
    return path


def test_each_fault_is_counted_once(faulty: Path) -> None:
    """The JSON has what scripts read, with a sample of each fault and its place."""
    code, out, _ = run(
        "inspect", str(faulty), "--language", "sw", "--test-set", str(faulty.parent / "test.tsv"), "--json",
        registry=faulty.parent / "adapters",
    )  # fmt: skip
    found = json.loads(out)
    rows = len(faulty.read_text(encoding="utf-8").splitlines())
    assert code == 0
    assert found["pairs"] == rows
    assert found["problems"] == {
        "empty": 1, "unreadable": 0, "leaked": 1, "duplicate": 1, "copy": 1, "mojibake": 1, "wrong_script": 1,
        "wrong_language": 0, "length_ratio": 1, "truncated": 0,
    }  # fmt: skip
    assert found["kept"] == rows - 7
    sample = found["samples"]["wrong_script"][0]
    assert (sample["native"], sample["target"]) == FAULTS["wrong_script"]
    assert sample["where"] == f"{faulty}, line {rows - 3}"
    assert found["tokens"]["positions"] == 512
    assert found["tokens"]["per_word"] > 0.9


def test_people_see_a_table_and_a_page(faulty: Path, tmp_path: Path) -> None:
    """The table names each fault; the page is one file."""
    code, out, _ = run(
        "inspect", str(faulty), "--language", "sw", "--html", str(tmp_path / "faults.html"), registry=tmp_path / "none"
    )
    assert code == 0
    assert "wrong script" in out
    assert "красный дом" in out
    assert "rows are kept" in out
    assert "красный дом" in (tmp_path / "faults.html").read_text(encoding="utf-8")


def test_what_is_wrong_throughout_is_told_and_not_refused(tmp_path: Path) -> None:
    """A file of copies, which `add-language` refuses, can be inspected."""
    native, _ = sentences(40)
    path = tmp_path / "copies.tsv"
    path.write_text("".join(f"{text} under\t{text} under\n" for text in dict.fromkeys(native)), encoding="utf-8")
    found = inspect_data([path], "sw", filter="strict")
    assert found["kept"] == 0
    assert found["problems"]["copy"] == found["pairs"]
    assert found["tokens"] is None


def test_captions_and_their_images_are_inspected(tmp_path: Path, pictures: list[Path]) -> None:
    """A caption of an image in the test set has leaked, whatever it says."""
    _, target = sentences(100, seed=9)
    rows = [{"image": str(pictures[i % 50]), "caption": text} for i, text in enumerate(dict.fromkeys(target))]
    (tmp_path / "sw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    again = tmp_path / "again.png"
    with Image.open(pictures[3]) as picture:
        picture.save(again, optimize=True)
    tests = [{"image": str(again), "caption": "picha ya kwanza"}, {"image": str(pictures[55]), "caption": "ya pili"}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tests), encoding="utf-8")
    found = inspect_data([tmp_path / "sw.jsonl"], "sw", test_set=tmp_path / "test.jsonl")
    assert found["problems"]["leaked"] == sum(row["image"] == str(pictures[3]) for row in rows)
    assert all(sample["note"] == pictures[3].name for sample in found["samples"]["leaked"])


def test_the_card_says_what_was_dropped(faulty: Path, dual_folder: Path, tmp_path: Path) -> None:
    """The same checks filter what is trained on, by the level asked for."""
    registry = tmp_path / "adapters"
    arguments = ("--parallel-data", str(faulty), "--base", str(dual_folder), "--json", *QUICK, "--seed", "1")
    code, out, _ = run("add-language", "sw", *arguments, registry=registry)
    card = json.loads(out)
    rows = len(faulty.read_text(encoding="utf-8").splitlines())
    assert code == 0
    assert card["data"][0]["pairs"] == rows
    assert card["data"][0]["kept"] == rows - 6
    assert card["data"][0]["dropped"] == {
        "empty": 1, "duplicate": 1, "copy": 1, "mojibake": 1, "wrong_script": 1, "length_ratio": 1,
    }  # fmt: skip
    assert "kept (dropped: 1 empty" in " ".join(run("show", "sw", registry=registry)[1].split())
    _, out, _ = run("add-language", "de", *arguments, "--filter", "off", "--dry-run", registry=registry)
    assert json.loads(out)["kept"] == rows - 1
    with pytest.raises(DataError, match=r"'some' is not a filter level.*strict, default, off"):
        run("add-language", "de", *arguments, "--filter", "some", registry=registry)


def test_inspecting_loads_no_torch(faulty: Path) -> None:
    """It is a tool to try data with, and starts as one."""
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom mla_extend.cli.app import app\n"
        "assert CliRunner().invoke(app, ['inspect', sys.argv[1], '--language', 'sw']).exit_code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(faulty)], check=True, capture_output=True, cwd=faulty.parent)


def test_images_that_cannot_be_read_are_told_of_with_the_reason(data: dict[str, Path], tmp_path: Path) -> None:
    names = sorted({json.loads(line)["image"] for line in data["images"].read_text(encoding="utf-8").splitlines()})
    (data["images"].parent / names[0]).write_bytes(b"no picture")
    cut = data["images"].parent / names[1]
    cut.write_bytes(cut.read_bytes()[:-30])
    (data["images"].parent / names[2]).unlink()
    damaged = damaged_pictures()
    for name, content in zip(names[3:], damaged.values(), strict=False):
        (data["images"].parent / name).write_bytes(content)
    lost = 3 * (3 + len(damaged))
    alone = tmp_path / "alone.jsonl"
    rows = [json.loads(line) for line in data["images"].read_text(encoding="utf-8").splitlines()]
    alone.write_text("".join(json.dumps({"image": r["image"], "text": r["caption"]}) + "\n" for r in rows))
    arguments = ("inspect", str(alone), "--language", "sw", "--json")
    code, out, _ = run(*arguments, registry=tmp_path / "none")
    found = json.loads(out)
    assert code == 0
    assert found["problems"]["unreadable"] == lost
    notes = " ".join(sample["note"] for sample in found["samples"]["unreadable"])
    assert "it is not a picture" in notes
    assert "does not exist" in notes
    assert "OSError" in notes or "SyntaxError" in notes
    everything = json.loads(run(*arguments, "--filter", "off", registry=tmp_path / "none")[1])
    assert everything["kept"] == everything["pairs"] - lost
    both = json.loads(run("inspect", str(data["images"]), *arguments[2:], registry=tmp_path / "none")[1])
    assert both["problems"]["unreadable"] == lost
    assert both["kept"] > both["pairs"] - lost  # as parallel text, they teach all the same
