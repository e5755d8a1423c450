"""The folder of a run in progress: found by what the run is, held by one process, gone when it is done."""

import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mla_extend.add import run_folder
from mla_extend.add.run_folder import RUN, claim_run
from mla_extend.add.run_identity import RunIdentity
from mla_extend.errors import TrainingError
from mla_extend.processes import Processes


class Home:
    """Be a registry's folder of runs."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def work_folders(self, tag: str) -> list[Path]:
        return sorted(self.work.glob(f"{tag}-*"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def home(tmp_path: Path) -> Any:
    return Home(tmp_path)


def identity(seed: int = 0) -> RunIdentity:
    return RunIdentity({"seed": seed, "language": f"of {seed}"}, {})


def leave(home: Any, seed: int = 0) -> Path:
    """Leave a run that was interrupted."""
    with claim_run(home, "sw", identity(seed), False) as run:
        (run.folder / "start").mkdir()
        (run.folder / "start" / "tensors").write_text("x")
        (run.folder / "checkpoint").write_text("x")
    return run.folder


def test_a_run_is_kept_until_it_is_done(home: Any) -> None:
    folder = leave(home)
    about = json.loads((folder / RUN).read_text())
    assert about == {"language": "sw", "identity": identity().digest, **identity().to_json()}
    with claim_run(home, "sw", identity(), True) as run:
        assert (run.folder, run.found, run.note) == (folder, True, "")
        assert (folder / "start" / "tensors").exists()
        assert (folder / "checkpoint").exists()
        run.done = True
    assert not folder.exists()


def test_a_run_that_is_started_again_begins_with_an_empty_folder_and_says_so(home: Any) -> None:
    folder = leave(home)
    with claim_run(home, "sw", identity(), False) as run:
        assert (run.folder, run.found) == (folder, False)
        assert run.note == (
            "An interrupted run of sw was found and is started afresh; --resume would have continued it."
        )
        assert {path.name for path in folder.iterdir()} == {".lock", RUN}


def test_a_run_that_is_cut_off_while_its_folder_is_made_leaves_nothing_for_good(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.work / ".run.0123.part").mkdir()  # as a kill leaves it
    monkeypatch.setattr(run_folder, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        leave(home)
    assert list(home.work.iterdir()) == []


def test_another_run_has_another_folder(home: Any) -> None:
    """Of two interrupted ones each is found; the newest of the same goes on."""
    first, second = leave(home, 0), leave(home, 1)
    assert first != second
    for seed, folder in ((0, first), (1, second)):
        with claim_run(home, "sw", identity(seed), True) as run:
            assert run.folder == folder
            assert run.note == ""
    copy = home.work / "sw-7"
    copy.mkdir()
    (copy / RUN).write_text((first / RUN).read_text())
    with claim_run(home, "sw", identity(0), True) as run:
        assert run.folder == copy


def test_there_must_be_something_to_resume(home: Any) -> None:
    """Folders that say nothing of a run are none."""
    for content in (None, "rubbish", "[1]", '{"language": "sw"}'):
        folder = home.work / f"sw-{len(list(home.work.iterdir()))}"
        folder.mkdir()
        if content is not None:
            (folder / RUN).write_text(content)
    with pytest.raises(TrainingError) as caught, claim_run(home, "sw", identity(), True):
        pass
    assert str(caught.value) == f"There is no interrupted run of 'sw' in {home.work}. Start it without --resume."
    leave(home, 3)
    with pytest.raises(TrainingError) as caught, claim_run(home, "sw", identity(), True):
        pass
    assert str(caught.value) == (
        "The interrupted run of 'sw' is another one than this command would continue. What differs:\n"
        "  seed: 0, was 3\n  language: of 0, was of 3\n"
        "Give the command as it was to continue it, or start without --resume."
    )


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_is_held_by_one_process(resume: bool, home: Any) -> None:
    """Another is refused at once and touches nothing; it is free again when the first ends, by an error too."""
    folder = leave(home)
    with FileLock(folder / ".lock"):
        with pytest.raises(TrainingError) as caught, claim_run(home, "sw", identity(), resume):
            pass
        assert (folder / "checkpoint").exists()
    assert str(caught.value) == (
        f"Another process is already at this run of 'sw' ({folder}). Wait for it, or take another --seed."
    )
    with pytest.raises(ValueError, match="fails"), claim_run(home, "sw", identity(), resume):
        raise ValueError("fails")
    with claim_run(home, "sw", identity(), True) as run:
        assert run.folder == folder


class Rank(Processes):
    """Hear what the first process says."""

    heard: Any = None

    def from_first(self, value: Any) -> Any:
        if self.first:
            Rank.heard = value
        return Rank.heard


def test_the_first_process_claims_for_all(home: Any) -> None:
    folder = leave(home)
    with (
        claim_run(home, "sw", identity(), True, Rank(0, 2)),
        claim_run(home, "sw", identity(), True, Rank(1, 2)) as run,
    ):
        assert (run.folder, run.found, run.note) == (folder, True, "")
        run.done = True  # which is for the first one to say
    assert folder.exists()
