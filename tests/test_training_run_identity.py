"""What makes a run the same run, and how a difference is said, without training anything."""

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mla_extend.add.request import Request
from mla_extend.add.run_identity import RunIdentity, run_identity
from mla_extend.data.pairs import ImageText, ParallelText, Part
from mla_extend.training.recipe import load_recipe
from mla_extend.training.split import Split

BASE: Any = SimpleNamespace(identity=SimpleNamespace(name="my-clip", fingerprint="f" * 64))
PAIRS = ParallelText(
    (Part("a.tsv"), Part("b.tsv", weight=2.0)),
    ["one", "two", "three", "four"],
    ["moja", "mbili", "tatu", "nne"],
    np.array([0, 0, 1, 1]),
    np.arange(4),
)
PICTURES = ImageText(
    (Part("a.jsonl"),),
    [Path("x.png"), Path("y.png")],
    ["mbwa", "paka", "ng'ombe"],
    [0, 1, 1],
    np.zeros(3, dtype=np.int64),
    np.arange(3),
)
CONTENTS = [b"\x01" * 32, b"\x02" * 32]
RECORDS: list[dict[str, Any]] = [
    {"role": "parallel", "path": "a.tsv", "sha256": "a" * 64},
    {"role": "parallel", "path": "b.tsv", "sha256": "b" * 64, "split": "train", "weight": 2.0},
    {"role": "image_text", "path": "a.jsonl", "sha256": "c" * 64},
    {"role": "test_set", "path": "t.jsonl", "sha256": "d" * 64},
]
SPLIT = Split(np.array([False, False, False, True]), np.array([False, True, True]), PICTURES)


def request(**changes: Any) -> Request:
    made = Request("sw", PAIRS, PICTURES, None, load_recipe("quick"), 0, RECORDS)
    return dataclasses.replace(made, **changes)


def identity(
    asked: Request | None = None, split: Split = SPLIT, images: list[bytes] = CONTENTS, start: Any = None
) -> RunIdentity:
    return run_identity(asked or request(), split, BASE, images, start)


def rows(*values: str) -> str:
    """Hash rows as the format says: each value behind its length in eight bytes."""
    encoded = [value.encode("utf-8", "surrogatepass") for value in values]
    return hashlib.sha256(b"".join(len(value).to_bytes(8, "big") + value for value in encoded)).hexdigest()


def test_all_that_decides_is_in_it() -> None:
    decides = identity(start={"language": "de", "version": "v"}).decides
    assert decides["language"] == "sw"
    assert decides["base"] == {"name": "my-clip", "fingerprint": "f" * 64}
    assert decides["recipe"] == load_recipe("quick").model_dump(mode="json")
    assert decides["seed"] == 0
    assert decides["start_from"] == {"language": "de", "version": "v"}
    assert decides["rules"].keys() == {"text", "images", "cutting"}
    assert decides["rows trained on, pairs"] == {
        "count": 3, "sha256": rows("one", "moja", "1.0", "two", "mbili", "1.0", "three", "tatu", "2.0"),
    }  # fmt: skip
    assert decides["rows held out, pairs"] == {"count": 1, "sha256": rows("four", "nne", "2.0")}
    one, two = (content.hex() for content in CONTENTS)
    assert decides["rows trained on, captions"] == {"count": 1, "sha256": rows("mbwa", one, "1")}
    assert decides["rows held out, captions"] == {"count": 2, "sha256": rows("paka", two, "1", "ng'ombe", two, "1")}
    assert decides["rows of images"] == {"count": 2, "sha256": rows(one, two)}
    parts = (Part("a.jsonl"), Part("b.jsonl", weight=3.0))
    weighted = dataclasses.replace(PICTURES, parts=parts, part_of=np.array([0, 0, 1]))
    found = identity(split=dataclasses.replace(SPLIT, image_text=weighted)).decides["rows held out, captions"]
    assert found["sha256"] == rows("paka", two, "1.0", "ng'ombe", two, "3.0")
    # Half a character, as a JSON file may hold it, beside sources that all weigh the same.
    half = ParallelText(PAIRS.parts[:1], ["one \ud83d", "two"], ["moja", "mbili"], np.zeros(2, int), np.arange(2))
    found = identity(request(parallel=half), Split(np.array([False, True]), None)).decides
    assert found["rows trained on, pairs"]["sha256"] == rows("one \ud83d", "moja", "1")
    alone = identity(request(image_text=None), Split(SPLIT.pairs, None)).decides
    assert not [key for key in alone if "captions" in key or "images" in key]
    assert alone["start_from"] is None


def test_what_was_asked_names_the_sources() -> None:
    assert identity(request(filter="off", columns={"native": "en"})).asked == {
        "filter": "off",
        "columns": {"native": "en"},
        "test set": [["t.jsonl", None, 1, "d" * 16]],
        "parallel data": [["a.tsv", None, 1, "a" * 16], ["b.tsv", "train", 2.0, "b" * 16]],
        "image text": [["a.jsonl", None, 1, "c" * 16]],
    }
    assert identity(request(data=[])).asked == {"filter": "default", "columns": {}, "test set": None}


def test_the_digest_follows_what_decides_and_nothing_else() -> None:
    same = identity()
    assert len(same.digest) == 64
    assert identity(request(data=[], filter="off")).digest == same.digest
    weighted = dataclasses.replace(PICTURES, parts=(Part("a.jsonl"), Part("b.jsonl", weight=3.0)))
    others = [
        identity(request(seed=1)),
        identity(request(tag="de")),
        identity(request(recipe=load_recipe("quick", ["transfer.batch=7"]))),
        identity(start={"language": "de", "version": "v"}),
        identity(images=CONTENTS[::-1]),
        identity(split=dataclasses.replace(SPLIT, pairs=~SPLIT.pairs)),
        identity(split=dataclasses.replace(SPLIT, captions=np.array([True, False, True]))),
        identity(split=dataclasses.replace(SPLIT, image_text=weighted)),
        identity(
            request(parallel=PAIRS.subset(np.array([True, True, True, False]))),
            dataclasses.replace(SPLIT, pairs=SPLIT.pairs[:3]),
        ),
    ]
    assert len({same.digest, *(other.digest for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("old", "lines"),
    [
        (identity(), []),
        (identity(request(seed=3)), ["seed: 0, was 3"]),
        (identity(request(tag="de")), ["language: sw, was de"]),
        (
            identity(request(recipe=load_recipe("quick", ["transfer.batch=7", "exposure.batch=9"]))),
            ["recipe.transfer.batch: 128, was 7", "recipe.exposure.batch: 128, was 9"],
        ),
        (identity(start={"language": "de", "version": "v"}), [
            "start_from: none, was {'language': 'de', 'version': 'v'}",
        ]),
        (identity(images=CONTENTS[::-1]), [
            "rows trained on, captions: 1 others", "rows held out, captions: 2 others", "rows of images: 2 others",
        ]),
        (
            identity(request(data=RECORDS[:3], filter="off"), dataclasses.replace(SPLIT, pairs=~SPLIT.pairs)),
            [
                "rows trained on, pairs: 3, were 1",
                "rows held out, pairs: 1, were 3",
                "filter: default, was off",
                f"test set: t.jsonl ({'d' * 16}), was none",
            ],
        ),
        (identity(request(data=RECORDS[:1], filter="off")), []),  # other files with the same rows
    ],
)  # fmt: skip
def test_a_difference_is_said_by_what_the_user_gave(old: RunIdentity, lines: list[str]) -> None:
    assert identity().differences(old.to_json()) == lines


def test_sources_are_told_with_split_and_content() -> None:
    shown = identity(split=dataclasses.replace(SPLIT, pairs=~SPLIT.pairs)).differences(
        identity(request(data=[])).to_json()
    )
    assert f"parallel data: a.tsv ({'a' * 16}), b.tsv#train ({'b' * 16}), was none" in shown
    for length, shown in ((60, "x" * 60), (61, f"{'x' * 60}...")):
        asked = request(columns={"native": "x" * length})
        new = run_identity(asked, dataclasses.replace(SPLIT, pairs=~SPLIT.pairs), BASE, CONTENTS)
        assert f"columns.native: {shown}, was none" in new.differences(identity().to_json())


@pytest.mark.parametrize("other", [{}, {"decides": 1, "asked": {}}, {"decides": {}, "asked": None}])
def test_a_run_of_an_older_version_is_said_to_be_one(other: dict[str, Any]) -> None:
    assert identity().differences(other) == ["it was started by another version of mla-extend"]


def test_rows_that_another_version_did_not_count_differ() -> None:
    old = identity().to_json()
    old["decides"] |= {"rows of images": {"sha256": old["decides"]["rows of images"]["sha256"]}}
    assert identity().differences(old) == ["rows of images.count: 2, was none"]
