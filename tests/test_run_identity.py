"""An interrupted run goes on only as the run that it was, and broken images and stops before it are heard."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mla_extend.add import job as workflow
from mla_extend.add.request import Request
from mla_extend.add.run_identity import run_identity
from mla_extend.bases import base as base_module
from mla_extend.bases.base import Base
from mla_extend.data.pairs import ParallelText, Part
from mla_extend.errors import DataError, Interrupted, TrainingError
from mla_extend.training.recipe import load_recipe
from mla_extend.training.session import Session
from mla_extend.training.split import split
from tests.test_images_open import damaged_pictures

SMALL = [
    "precision=fp32", "transfer.max_steps=3", "exposure.max_steps=2", "transfer.batch=32", "exposure.batch=16",
    "acquirer.bottleneck=4",
]  # fmt: skip
Add = Callable[..., Any]


@pytest.fixture
def add(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> Add:
    """Return what adds Swahili to one registry, with other arguments where they are given."""
    arguments: dict[str, Any] = {
        "parallel_data": str(data["parallel"]),
        "image_text": str(data["images"]),
        "base": str(dual_folder),
        "registry": tmp_path / "adapters",
        "recipe": "quick",
        "overrides": SMALL,
        "test_set": str(data["test"]),
    }
    return lambda language="sw", **other: workflow.add_language(language, **{**arguments, **other})


def interrupt(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt a run after its training."""

    def stop(*_: Any) -> Any:
        raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(workflow, "_evaluate", stop)
        with pytest.raises(Interrupted):
            add()


@pytest.fixture
def interrupted(add: Add, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Interrupt a run after its training; what would train again from there fails the test."""

    interrupt(add, monkeypatch)
    train = Session.train

    def resumed(self: Session, *data: Any, resume: bool = False, **more: Any) -> Any:
        assert resume, "something was started"
        return train(self, *data, resume=resume, **more)

    monkeypatch.setattr(Session, "train", resumed)
    return add


def changed(path: Path, old: str, new: str) -> str:
    content = path.read_text(encoding="utf-8")
    assert old in content
    path = path.with_name(f"changed-{path.name}")
    path.write_text(content.replace(old, new, 1), encoding="utf-8")
    return str(path)


def third_column(path: Path) -> str:
    """Write another translation beside the one that is there."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    path = path.with_name("three.tsv")
    path.write_text("".join(f"{a}\t{b}\t{' '.join(b.split()[::-1])}\n" for a, b in rows), encoding="utf-8")
    return str(path)


def leaking(data: dict[str, Path]) -> str:
    """Write a test set that holds some of the training images."""
    lines = data["images"].read_text(encoding="utf-8").splitlines(keepends=True)
    path = data["test"].with_name("leaking.jsonl")
    path.write_text("".join(lines[:20]) + data["test"].read_text(encoding="utf-8"), encoding="utf-8")
    return str(path)


def faulty(data: dict[str, Path]) -> str:
    """Write parallel text with a row that the checks drop, unless they are off."""
    path = data["parallel"].with_name("faulty.tsv")
    path.write_text(data["parallel"].read_text(encoding="utf-8") + "a dog\ta dog\n", encoding="utf-8")
    return str(path)


OTHERS: dict[str, tuple[Callable[[dict[str, Path]], dict[str, Any]], str]] = {
    "test set": (lambda data: {"test_set": leaking(data)}, r"captions: \d+, were \d+[^$]*test set: .*leaking\.jsonl"),
    "data": (
        lambda data: {"parallel_data": changed(data["parallel"], "\t", " now\t")},
        r"rows [^\n]*pairs: \d+ others[^$]*parallel data: .*changed-en-sw\.tsv",
    ),
    "a caption": (
        lambda data: {"image_text": changed(data["images"], '"caption": "', '"caption": "maneno mapya ')},
        r"captions: \d+ others[^$]*image text: .*changed-sw\.jsonl",
    ),
    "columns": (
        lambda data: {"columns": "native=0,target=2", "parallel_data": third_column(data["parallel"])},
        r"columns\.target: 2, was none",
    ),
    "filter": (
        lambda data: {"filter": "off", "parallel_data": faulty(data)},
        r"filter: off, was default",
    ),
    "seed": (lambda _: {"seed": 1}, r"seed: 1, was 0"),
    "recipe": (
        lambda _: {"overrides": [*SMALL, "transfer.learning_rate=0.5"]},
        r"recipe\.transfer\.learning_rate: 0\.5, was ",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_resuming_another_run_is_refused_with_what_differs(
    interrupted: Add, data: dict[str, Path], tmp_path: Path, other: str
) -> None:
    change, difference = OTHERS[other]
    work = tmp_path / "adapters"
    before = sorted(work.rglob("*"))
    with pytest.raises(TrainingError) as refused:
        interrupted(resume=True, **change(data))
    assert re.search(difference, str(refused.value)), refused.value
    assert sorted(work.rglob("*")) == before
    assert interrupted(resume=True).language == "sw"


def test_weights_and_order_of_rows_are_part_of_a_run() -> None:
    base: Any = SimpleNamespace(identity=SimpleNamespace(name="base", fingerprint="f"))
    recipe = load_recipe("quick")

    def digest(order: list[int], weight: float) -> str:
        pairs = ParallelText(
            (Part("a"), Part("b", weight=weight)),
            [f"text {i}" for i in order],
            [f"maneno {i}" for i in order],
            np.array([i % 2 for i in order]),
            np.array(order),
        )
        request = Request("sw", pairs, None, None, recipe, 0, [])
        return run_identity(request, split(pairs, None, recipe), base, []).digest

    order = list(range(40))
    assert digest(order, 1) == digest(order, 1)
    assert len({digest(order, 1), digest(order, 2), digest(order[::-1], 1), digest(order[:-1], 1)}) == 4


def test_resuming_from_another_start_is_refused(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add(language="de", recipe="instant", overrides=["acquirer.bottleneck=4"], image_text=(), test_set=None)

    interrupt(add, monkeypatch)
    with pytest.raises(TrainingError, match=r"start_from: \{'language': 'de'.*was none"):
        add(resume=True, start_from="de")


def test_a_picture_that_changed_is_another_run(interrupted: Add, data: dict[str, Path]) -> None:
    row = json.loads(data["images"].read_text(encoding="utf-8").splitlines()[0])
    Image.effect_noise((40, 30), 90).convert("RGB").save(data["images"].parent / row["image"])
    with pytest.raises(TrainingError, match=r"captions: \d+ others"):
        interrupted(resume=True)


def test_what_does_not_decide_the_weights_may_differ(interrupted: Add, data: dict[str, Path], tmp_path: Path) -> None:
    """The same rows under another name, and a test set of which training drops the same."""
    copy = shutil.copy(data["parallel"], tmp_path / "copy.tsv")
    lines = data["test"].read_text(encoding="utf-8").splitlines(keepends=True)
    other = tmp_path / "other.jsonl"
    other.write_text("".join([*lines[::-1], lines[0]]), encoding="utf-8")
    card = interrupted(resume=True, parallel_data=str(copy), test_set=str(other))
    assert card.metrics["splits"]["test"]["captions"] == 51


def test_without_an_interrupted_run_there_is_nothing_to_resume(add: Add) -> None:
    with pytest.raises(TrainingError, match="no interrupted run of 'sw'"):
        add(resume=True)


# Images -----------------------------------------------------------------------------------------------------------


def test_no_held_out_image_is_trained_on_whatever_its_copies_are_called(
    add: Add, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five captions an image, and every third picture under a second name."""
    folder = data["images"].parent / "pictures"
    rows = []
    for number in range(40):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(
            folder / f"n{number}.png"
        )
        shutil.copy(folder / f"n{number}.png", folder / f"copy{number}.png")
        for caption in range(5):
            name = f"copy{number}.png" if caption % 3 == 0 else f"n{number}.png"
            rows.append({"image": f"pictures/{name}", "caption": f"picha {number} maneno {caption}"})
    data["images"].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    seen: dict[str, set[int]] = {}
    train = Session.train

    def look(self: Session, parallel: Any, image_text: Any, split: Any, *more: Any, **options: Any) -> Any:
        owners = np.asarray(image_text.image_of_text)
        seen["held"], seen["trained"] = (set(owners[mask]) for mask in (split.captions, ~split.captions))
        assert len(image_text.images) == 40
        return train(self, parallel, image_text, split, *more, **options)

    monkeypatch.setattr(Session, "train", look)
    add(test_set=None, overrides=[*SMALL, "exposure.max_steps=0"])
    assert seen["held"]
    assert not seen["held"] & seen["trained"]
    assert len(seen["held"] | seen["trained"]) == 40


def test_rows_of_a_broken_image_are_dropped_and_counted(add: Add, data: dict[str, Path]) -> None:
    broken = data["images"].parent / "pictures" / "broken.png"
    for name, content in damaged_pictures().items():
        (broken.parent / name).write_bytes(content)
    broken.write_bytes(b"\x89PNG no more")
    with data["images"].open("a", encoding="utf-8") as file:
        for number, name in enumerate(("broken.png", "broken.png", *damaged_pictures())):
            file.write(json.dumps({"image": f"pictures/{name}", "caption": f"picha {number}"}) + "\n")
    card = add(test_set=None)
    record = next(record for record in card.data if record["role"] == "image_text")
    assert record["pairs"] - record["kept"] == sum(record["dropped"].values())
    assert record["dropped"]["unreadable"] == 2 + len(damaged_pictures())


def test_images_of_which_none_can_be_read_are_refused_with_the_reason(add: Add, data: dict[str, Path]) -> None:
    for path in (data["images"].parent / "pictures").iterdir():
        path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"none of its 50 images can be read. The image .*\.png cannot be read"):
        add(test_set=None)


def test_a_stop_is_heard_while_images_are_encoded(add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, encoded = Base._encoded, []

    def stop_in_the_third(self: Base, pictures: Any, *more: Any) -> Any:
        encoded.append(sum(one.made is not None for one in pictures))
        if len(encoded) == 3:
            signal.raise_signal(signal.SIGINT)
        return encode(self, pictures, *more)

    monkeypatch.setattr(base_module, "IMAGE_BATCH", 8)
    monkeypatch.setattr(Base, "_encoded", stop_in_the_third)
    with pytest.raises(Interrupted, match=r"24 of 50 done and kept\. Run the same command again"):
        add(test_set=None)
    assert not list((tmp_path / "adapters").glob("*/.work/*"))
    encoded[:] = [0] * 3
    add(test_set=None)
    assert sum(encoded) == 26


def test_a_broken_picture_of_a_test_set_is_refused_before_training(add: Add, data: dict[str, Path]) -> None:
    row = json.loads(data["test"].read_text(encoding="utf-8").splitlines()[0])
    (data["test"].parent / row["image"]).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"test\.jsonl, line 1: The image .* cannot be read"):
        add()


def test_a_missing_picture_costs_its_rows_alone(add: Add, data: dict[str, Path]) -> None:
    row = json.loads(data["images"].read_text(encoding="utf-8").splitlines()[0])
    (data["images"].parent / row["image"]).unlink()
    record = next(record for record in add(test_set=None).data if record["role"] == "image_text")
    assert record["dropped"]["unreadable"] == 3
