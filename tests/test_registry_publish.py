"""Publishing is all or nothing: under crashes at every step, full disks, and several processes at once."""

import errno
import multiprocessing
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from test_registry_store import make_base, make_card, publish, stage

from mla_extend.errors import BaseMismatchError, Interrupted, IsolationError, RegistryError
from mla_extend.registry import layout
from mla_extend.registry import lock as locking
from mla_extend.registry import publish as publishing
from mla_extend.registry.check import check_version
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify

# Processes are forked: there are a hundred, and starting Python anew takes most of a second.
PROCESSES = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def _die_at(step: int, action: Callable[[], object]) -> None:
    left = iter(range(step))

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            if next(left, None) is None:
                os._exit(77)
            return function(*arguments, **options)

        return run

    for name in ("fsync", "rename", "replace", "mkdir", "chmod", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    action()
    os._exit(0)


def dies_at(step: int, action: Callable[[], object]) -> bool:
    """Run an action in a process that dies at its nth call of the system; tell whether it died."""
    (code,) = _run_all(_die_at, [(step, action)])
    assert code in {0, 77}
    return code == 77


@pytest.mark.parametrize("replacing", [False, True])
def test_a_crash_at_any_step_of_publishing_leaves_the_old_state_or_the_new(tmp_path: Path, replacing: bool) -> None:
    step, died, seen = 0, True, set()
    while died:
        base = make_base(tmp_path / str(step))
        publish(base, "yo")
        old = publish(base, "sw").name if replacing else None
        action = partial(
            base.publish, "sw", stage(base, "sw", seed=1), make_card("sw"), replace=True, prove=lambda _: {}
        )
        died = dies_at(step, action)
        state = base.current("sw").name if "sw" in base.tags() else None
        seen.add("old" if state == old else "new")
        for tag in base.tags():
            check_version(base.current(tag))
        assert base.tags() == (["sw", "yo"] if state else ["yo"])
        publish(base, "sw", replace=True)  # what was left stops nobody
        assert verify(base.folder.parent) == []
        step += 1
    assert seen == {"old", "new"}
    assert step > 8


def test_a_crash_at_any_step_of_removing_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    step, died, seen = 0, True, set()
    while died:
        base = make_base(tmp_path / str(step))
        publish(base, "sw")
        publish(base, "yo")
        died = dies_at(step, partial(base.remove, "sw"))
        seen.add(tuple(base.tags()))
        assert verify(base.folder.parent) == []
        publish(base, "yo", replace=True)
        assert not list(base.work.glob("removed.*"))
        step += 1
    assert seen == {("sw", "yo"), ("yo",)}


def attempt(base: BaseRegistry, staged: Path) -> str | None:
    """Publish and return what went wrong."""
    try:
        base.publish("sw", staged, make_card("sw"), replace=True, prove=lambda folder: {})
    except RegistryError as error:
        return str(error)
    return None


@pytest.mark.parametrize("replacing", [False, True])
@pytest.mark.parametrize("call", ["fsync", "rename", "replace"])
@pytest.mark.parametrize("nth", range(6))
def test_a_full_disk_publishes_nothing_and_keeps_the_staged_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: bool, call: str, nth: int
) -> None:
    base = make_base(tmp_path)
    old = publish(base, "sw") if replacing else None
    staged = stage(base, "sw", seed=1)
    real, calls = getattr(os, call), iter(range(1000))

    def full(*arguments: object, **options: object) -> object:
        if next(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, full)
    failure = attempt(base, staged)
    monkeypatch.undo()
    if failure is not None:
        assert "No space left" in failure
        assert "Free some space" in failure
        assert base.tags() == (["sw"] if replacing else [])
        if old is not None:
            assert base.current("sw") == old
            assert base.versions("sw") == [old]
        else:
            assert not (base.folder / "sw").exists()
        assert attempt(base, staged) is None
    check_version(base.current("sw"))
    assert verify(tmp_path) == []


def test_a_disk_that_is_full_while_the_card_is_written_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(tmp_path)
    staged = stage(base, "sw")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RegistryError, match=r"'sw' was not published: .*No space left"):
        base.publish("sw", staged, make_card("sw"), prove=lambda folder: {})
    assert base.tags() == []
    assert staged.is_dir()


def _publish_in_process(root: str, language: str, seed: int, replace: bool) -> None:
    publish(Registry(root).open(), language, seed, replace=replace)


def _run_all(target: Callable[..., None], jobs: Sequence[tuple[object, ...]]) -> list[int | None]:
    """Call a function in a process for each job, all at once; return their exit codes."""
    processes = [PROCESSES.Process(target=target, args=job) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_processes_add_different_languages_at_once(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    languages = ["sw", "yo", "am", "qu"]
    assert _run_all(_publish_in_process, [(str(tmp_path), tag, 0, False) for tag in languages]) == [0] * 4
    assert base.tags() == sorted(languages)
    assert verify(tmp_path) == []


@pytest.mark.parametrize("replace", [False, True])
def test_processes_add_the_same_language_at_once(
    tmp_path: Path, replace: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    base = make_base(tmp_path)
    codes = _run_all(_publish_in_process, [(str(tmp_path), "sw", seed, replace) for seed in range(3)])
    expected = 3 if replace else 1
    assert codes.count(0) == expected
    assert len(base.versions("sw")) == expected
    assert capfd.readouterr().err.count("is already in the registry") == 3 - expected
    check_version(base.current("sw"))
    assert verify(tmp_path) == []


def test_a_proof_that_fails_is_made_again_under_the_lock_and_can_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "LOCK_SECONDS", 0.1)
    base = make_base(tmp_path)
    staged, held = stage(base, "sw"), []

    def prove(folder: Path) -> dict[str, object]:
        assert folder == staged
        try:
            with locking.lock(base.folder):
                held.append(False)
        except RegistryError as error:
            held.append("Another process has held" in str(error))
        raise IsolationError("yo moved")

    with pytest.raises(IsolationError, match="yo moved"):
        base.publish("sw", staged, make_card("sw"), prove=prove)
    assert held == [False, True]
    assert base.tags() == []
    assert sorted(path.name for path in staged.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    publish(base, "yo")
    publish(base, "yo", replace=True)
    staged = base.versions("yo")[0].folder
    for change in (lambda: base.use("yo", "v1", prove=prove), lambda: base.remove("yo", prove=lambda: prove(staged))):
        with pytest.raises(IsolationError, match="yo moved"):
            change()
        assert held[-2:] == [False, True]
    assert len(base.versions("yo")) == 2
    with locking.lock(base.folder):
        pass


def test_ctrl_c_tells_what_it_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path)
    first = publish(base, "sw")

    def pressed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "set_current", pressed)
    with pytest.raises(Interrupted, match=r"^Stopped\. 'sw' was not published\. The registry is as it was\.$"):
        publish(base, "sw", 1, replace=True)
    monkeypatch.undo()
    monkeypatch.setattr(publishing, "settle", lambda folder: pressed() if base.current("sw") != first else None)
    with pytest.raises(Interrupted, match=r"^Stopped\. 'sw' uses 20\S+ now\.$"):
        publish(base, "sw", 1, replace=True)
    monkeypatch.undo()
    monkeypatch.setattr(publishing, "_delete", pressed)
    with pytest.raises(Interrupted, match=rf"^Stopped\. 'sw' uses \S+ now\. Deleted: {first.name}\.$"):
        base.prune("sw", 1)
    monkeypatch.undo()
    publishing.sweep_removed(base.work)
    monkeypatch.setattr(publishing, "_delete", pressed)
    with pytest.raises(Interrupted, match=r"^Stopped\. 'sw' was removed\.$"):
        base.remove("sw")
    monkeypatch.undo()
    publish(base, "sw")
    assert not list(base.work.glob("removed.*"))
    assert verify(tmp_path) == []


def test_what_is_staged_is_checked(tmp_path: Path) -> None:
    base = make_base(tmp_path)

    def attempt(staged: Path, message: str) -> None:
        with pytest.raises(RegistryError, match=message):
            base.publish("sw", staged, make_card("sw"), prove=lambda folder: {})
        assert base.tags() == []

    attempt(tmp_path, "is not a folder in")
    attempt(base.work / "nothing", "is not a folder in")
    attempt(base.work_folder("sw"), "is empty")
    staged = stage(base, "sw")
    (staged / "pytorch_model.bin").write_bytes(b"pickle")
    attempt(staged, r"pytorch_model\.bin .*not of a kind that is published \(\.json, \.jsonl, \.md, ")
    staged = stage(base, "sw")
    (staged / "tokenizer.json").symlink_to(staged / "adapter_config.json")
    attempt(staged, "is a link")
    staged = stage(base, "sw")
    (staged / "tokenizer.json").hardlink_to(staged / "adapter_config.json")
    attempt(staged, "is a link")


def test_what_is_put_under_a_name_is_recorded_with_its_proof(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    folder, name = base.folder / "sw", "2026-11-24T10-15-03Z-3f9a"
    version = publishing.put(folder, stage(base, "sw"), "sw", name, isolation={"ok": True})
    assert (version, layout.read_current(folder)) == (Version("sw", name, folder / name), name)
    (event,) = base.events("sw")
    assert (event.action, event.before, event.after, event.isolation) == ("add", None, name, {"ok": True})
    staged = stage(base, "sw", seed=1)
    with pytest.raises(RegistryError, match=f"{name} was created by another process meanwhile. Try again"):
        publishing.put(folder, staged, "sw", name)
    assert staged.is_dir()
    assert base.current("sw") == version
    assert len(base.events("sw")) == 1
    later = name.replace("2026", "2027")
    publishing.put(folder, staged, "sw", later)
    event = base.events("sw")[-1]
    assert (event.action, event.before, event.after, event.isolation) == ("replace", name, later, {})


def test_a_failed_publish_puts_the_folder_back_where_current_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(tmp_path)
    old = publish(base, "sw")
    (base.folder / "sw" / "current").write_text("../yo")
    staged = stage(base, "sw", seed=1)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(publishing, "set_current", full)
    assert "No space left" in (attempt(base, staged) or "")
    assert staged.is_dir()
    assert base.versions("sw") == [old]


def test_a_file_system_without_permissions_takes_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chmod", denied)
    version = publish(make_base(tmp_path), "sw")
    check_version(version)


@pytest.mark.parametrize("left", [".current.3f9a.part", "2026-11-24T10-15-03Z-3f9a"])
def test_what_a_cut_off_publish_left_is_swept(tmp_path: Path, left: str) -> None:
    base = make_base(tmp_path)
    (base.folder / "sw" / left).mkdir(parents=True)
    version = publish(base, "sw")
    assert sorted(path.name for path in (base.folder / "sw").iterdir()) == sorted(["current", version.name])


@pytest.mark.parametrize("strange", [".current.txt", "notes.part", "2026"])
def test_what_no_publish_left_is_in_the_way(tmp_path: Path, strange: str) -> None:
    base = make_base(tmp_path)
    (base.folder / "sw" / strange).mkdir(parents=True)
    with pytest.raises(RegistryError, match=r"sw is in the way: it is not a language's folder\. Move it"):
        publish(base, "sw")
    assert (base.folder / "sw" / strange).is_dir()
    (base.folder / "yo").write_text("mine")
    with pytest.raises(RegistryError, match=r"yo is in the way: it is not a language's folder\. Move it"):
        publish(base, "yo")
    assert (base.folder / "yo").read_text() == "mine"


@pytest.mark.parametrize("call", ["unlink", "chmod"])
def test_what_cannot_be_deleted_now_is_out_of_the_registry_and_deleted_at_the_next_publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    base = make_base(tmp_path)
    publish(base, "sw")
    real = getattr(os, call)

    def held(path: object, *arguments: object, **options: object) -> object:
        if "adapter" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, call, held)
    base.remove("sw")
    monkeypatch.undo()
    assert base.tags() == []
    assert len(list(base.work.glob("removed.sw.*"))) == (call == "unlink")
    publish(base, "yo")
    assert not list(base.work.glob("removed.*"))


def test_the_card_is_checked(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    with pytest.raises(RegistryError, match="card is of 'yo'"):
        base.publish("sw", stage(base, "sw"), make_card("yo"), prove=lambda folder: {})
    foreign = make_card("sw", base={"name": "other", "fingerprint": "e" * 64, "family": "clip", "native": "en"})
    with pytest.raises(BaseMismatchError, match=r"'other'.*'demo'"):
        base.publish("sw", stage(base, "sw"), foreign, prove=lambda folder: {})
    with pytest.raises(RegistryError, match="JSON cannot hold"):
        base.publish("sw", stage(base, "sw"), make_card("sw", cost={"seconds": float("nan")}), prove=lambda folder: {})
    assert base.tags() == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path)
    publish(base, "sw")

    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "rename", denied)
    with pytest.raises(RegistryError, match=r"'sw' was not removed: .*Make it writable"):
        base.remove("sw")
    assert base.tags() == ["sw"]
