"""A language over time: the order of its versions, switching, pruning and removing them, and the record of it all."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_registry_publish import dies_at
from test_registry_store import RECORD, make_base, make_card, publish, stage
from test_registry_verify import flip
from test_verify_deep import publish_real
from typer.testing import CliRunner

from mla_extend.bases.open import open_base
from mla_extend.cli.app import app
from mla_extend.errors import BaseError, BaseMismatchError, IsolationError, LanguageError, RegistryError
from mla_extend.files import write_json
from mla_extend.language.model import MultilingualModel
from mla_extend.registry import history as recording
from mla_extend.registry.check import check_version
from mla_extend.registry.history import record_of
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.model_card import model_card
from mla_extend.registry.prove import remove, roll_back
from mla_extend.registry.store import Registry
from mla_extend.registry.summary import find_homes, history
from mla_extend.registry.verify import verify

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
RUNNER = CliRunner()
TEXTS = ["paka mwekundu", "mbwa juu nyumba", "ndege kubwa karibu mti"]


def run(*arguments: str, registry: Path, answer: str | None = None) -> tuple[int, str]:
    """Run a command as `main` does: exit code and standard output."""
    environment = {"MLA_EXTEND_REGISTRY": str(registry), "COLUMNS": "160"}
    result = RUNNER.invoke(app, [*arguments], env=environment, input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def versions_of(base: BaseRegistry, count: int, language: str = "sw") -> list[str]:
    """Publish versions of a language; return their names in the order of their publishing."""
    return [publish(base, language, seed, replace=True).name for seed in range(count)]


def actions(base: BaseRegistry, language: str = "sw") -> list[tuple[str, bool]]:
    return [(event.action, event.done) for event in base.events(language)]


@pytest.fixture
def base(tmp_path: Path) -> BaseRegistry:
    return make_base(tmp_path)


# Finding a version ----------------------------------------------------------------------------------------------------


def test_a_version_is_found_by_name_beginning_and_age(base: BaseRegistry) -> None:
    names = versions_of(base, 3)
    for wanted, found in (("v1", names[0]), ("v3", names[2]), (names[1], names[1]), (names[2][:-1], None)):
        if found is not None:
            assert base.find("sw", wanted).name == found
    for wanted in ("v0", "v4", "vx", "", "../yo", "latest"):
        with pytest.raises(RegistryError, match=rf"has no version '{wanted}'. It has: v1 {names[0]}, v2"):
            base.find("sw", wanted)
    with pytest.raises(RegistryError, match="several versions that begin with '20'"):
        base.find("sw", "20")
    with pytest.raises(LanguageError, match="Did you mean 'sw'"):
        base.find("swa", "v1")


def test_the_earlier_version_is_the_one_published_before(base: BaseRegistry) -> None:
    names = versions_of(base, 3)
    assert base.earlier("sw").name == names[1]
    base.use("sw", "v2")
    assert base.earlier("sw").name == names[0]
    base.use("sw", "v1")
    with pytest.raises(RegistryError, match=rf"uses {names[0]}, its oldest version. Name a newer one .*{names[2]}\."):
        base.earlier("sw")
    publish(base, "yo")
    with pytest.raises(RegistryError, match=r"its oldest version\. It has no other"):
        base.earlier("yo")


# Switching ------------------------------------------------------------------------------------------------------------


def test_a_switch_is_recorded_with_its_proof(base: BaseRegistry) -> None:
    names = versions_of(base, 2)
    seen: list[Path] = []

    def prove(folder: Path) -> dict[str, Any]:
        seen.append(folder)
        assert base.current("sw").name == names[1]
        return {"ok": True, "languages": {}}

    assert base.use("sw", "v1", prove=prove).name == names[0]
    assert seen == [base.folder / "sw" / names[0]]
    added, replaced, switched = base.events("sw")
    assert (added.action, added.before, added.after) == ("add", None, names[0])
    assert (replaced.action, replaced.before, replaced.after) == ("replace", names[0], names[1])
    assert (switched.action, switched.before, switched.after) == ("switch", names[1], names[0])
    assert switched.isolation == {"ok": True, "languages": {}}
    assert all(event.done for event in base.events("sw"))
    assert base.use("sw", names[0]).name == names[0]  # in use already: nothing to record
    assert len(base.events("sw")) == 3
    assert base.events("yo") == []


def test_a_proof_that_refuses_changes_nothing(base: BaseRegistry) -> None:
    versions_of(base, 2)
    before = tree(base.folder)

    def prove(folder: Path) -> dict[str, Any]:
        raise IsolationError("yo moved")

    with pytest.raises(IsolationError, match="yo moved"):
        base.use("sw", "v1", prove=prove)
    with pytest.raises(IsolationError, match="yo moved"):
        base.remove("sw", prove=lambda: prove(base.folder))
    assert tree(base.folder) == before


def test_a_damaged_version_is_not_put_into_use(base: BaseRegistry) -> None:
    names = versions_of(base, 3)
    flip(base.find("sw", "v1"))
    (base.folder / "sw" / names[1] / "card.json").unlink()
    before = tree(base.folder)
    with pytest.raises(RegistryError, match=r"adapter_model\.safetensors: it was changed"):
        base.use("sw", "v1")
    with pytest.raises(RegistryError, match="is not a complete version"):
        base.use("sw", "v2")
    assert tree(base.folder) == before


def test_a_version_of_another_base_or_language_is_not_put_into_use(base: BaseRegistry, tmp_path: Path) -> None:
    names = versions_of(base, 1)
    other = Registry(tmp_path / "elsewhere").create(replace(RECORD, name="other", fingerprint="e" * 64))
    about = {"name": "other", "fingerprint": "e" * 64, "family": "clip", "native": "en"}
    card = make_card("sw", base=about)
    foreign = other.publish("sw", stage(other, "sw"), card, prove=lambda _: {})
    yoruba = publish(base, "yo")
    for version in (foreign, yoruba):
        version.folder.rename(base.folder / "sw" / version.name)
    with pytest.raises(BaseMismatchError, match=r"'other' \(fingerprint eeee.*'demo' \(fingerprint ffff"):
        base.use("sw", foreign.name)
    with pytest.raises(RegistryError, match="it is for 'yo', but is in the folder of 'sw'"):
        base.use("sw", yoruba.name)
    assert base.current("sw").name == names[0]


@pytest.mark.parametrize("content", ["2026-01-01T00-00-00Z-0000", "", "../yo"])
def test_a_switch_mends_a_bad_current(base: BaseRegistry, content: str) -> None:
    names = versions_of(base, 2)
    (base.folder / "sw" / "current").write_text(content)
    with pytest.raises(RegistryError, match="current"):
        base.earlier("sw")
    assert base.use("sw", "v1").name == names[0]
    assert base.current("sw").name == names[0]
    assert verify(base.folder.parent) == []


def test_a_language_that_windows_reserves_has_a_record_that_it_takes(base: BaseRegistry) -> None:
    versions_of(base, 2, "con")
    base.use("con", "v1")
    assert record_of(base.folder, "con").name == "con_.jsonl"
    assert [event.action for event in base.events("con")] == ["add", "replace", "switch"]
    for name in ("../x", "sw/yo", ".work"):
        with pytest.raises(LanguageError, match="cannot name a language"):
            base.events(name)
    assert verify(base.folder.parent) == []


# Pruning and removing -------------------------------------------------------------------------------------------------


def test_pruning_keeps_the_newest_and_the_one_in_use(base: BaseRegistry) -> None:
    names = versions_of(base, 5)
    base.use("sw", "v2")
    publish(base, "yo")
    before = tree(base.folder / "yo")
    assert [version.name for version in base.old_versions("sw", 2)] == [names[0], names[2]]
    assert [version.name for version in base.prune("sw", 2)] == [names[0], names[2]]
    assert [version.name for version in base.versions("sw")] == [names[1], names[3], names[4]]
    assert base.current("sw").name == names[1]
    assert [(event.action, event.version, event.done) for event in base.events("sw")[-2:]] == [
        ("prune", names[0], True),
        ("prune", names[2], True),
    ]
    assert base.prune("sw", 2) == []
    assert tree(base.folder / "yo") == before
    assert not list(base.work.glob("removed.*"))
    assert verify(base.folder.parent) == []
    with pytest.raises(RegistryError, match=r"0 versions cannot be kept\. Give 1 or more"):
        base.prune("sw", 0)
    with pytest.raises(LanguageError, match="not in the registry"):
        base.prune("am", 1)


def test_nothing_is_pruned_where_it_is_not_known_what_is_in_use(base: BaseRegistry) -> None:
    names = versions_of(base, 3)
    (base.folder / "sw" / "current").write_text("2026-01-01T00-00-00Z-0000")
    with pytest.raises(RegistryError, match="which does not exist"):
        base.prune("sw", 1)
    assert [version.name for version in base.versions("sw")] == names


def test_a_removed_language_leaves_its_record(base: BaseRegistry) -> None:
    names = versions_of(base, 2)
    base.remove("sw", prove=lambda: {"ok": True})
    assert base.tags() == []
    assert actions(base) == [("add", True), ("replace", True), ("remove", True)]
    assert base.events("sw")[-1].isolation == {"ok": True}
    found = history("sw", None, base.folder.parent)
    assert (found["versions"], found["in_use"]) == ([], None)
    assert [event["before"] for event in found["events"]] == [None, names[0], names[1]]
    with pytest.raises(LanguageError, match="'am' is not in the registry"):
        history("am", None, base.folder.parent)
    publish(base, "sw")
    assert actions(base) == [("add", True), ("replace", True), ("remove", True), ("add", True)]
    assert verify(base.folder.parent) == []


# Crashes, full disks, several at once ---------------------------------------------------------------------------------


def test_a_crash_at_any_step_of_switching_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    step, died, seen = 0, True, set()
    while died:
        base = make_base(tmp_path / str(step))
        names = versions_of(base, 2)
        died = dies_at(step, partial(base.use, "sw", "v1", prove=lambda folder: {"ok": True}))
        state = base.current("sw").name
        last = base.events("sw")[-1]
        seen.add((state == names[0], last.action, last.done))
        assert verify(base.folder.parent) == []
        check_version(base.current("sw"))
        base.use("sw", "v2")
        base.use("sw", "v1")  # what was left stops nobody
        assert base.events("sw")[-1].done
        assert not list(base.folder.rglob("*.part"))
        step += 1
    # Never a switch without its line; a line without its switch says so.
    assert seen == {(False, "replace", True), (False, "switch", False), (True, "switch", True)}


def test_a_crash_at_any_step_of_pruning_deletes_whole_versions_or_none(tmp_path: Path) -> None:
    step, died, seen = 0, True, set()
    while died:
        base = make_base(tmp_path / str(step))
        names = versions_of(base, 2)
        publish(base, "yo")
        died = dies_at(step, partial(base.prune, "sw", 1))
        left = [version.name for version in base.versions("sw")]
        seen.add(len(left))
        assert left == names[-len(left) :]
        assert verify(base.folder.parent) == []
        done = [event.version for event in base.events("sw") if event.action == "prune" and event.done]
        assert done == names[: 2 - len(left)]
        base.prune("sw", 1)
        assert [version.name for version in base.versions("sw")] == names[1:]
        assert not list(base.work.glob("removed.*"))
        done = [event.version for event in base.events("sw") if event.action == "prune" and event.done]
        assert done == names[:1]
        step += 1
    assert seen == {1, 2}


def failure(action: Callable[[], object]) -> str | None:
    """Return what an action says when it fails; `None` if it does not."""
    try:
        action()
    except RegistryError as error:
        return str(error)
    return None


@pytest.mark.parametrize("action", ["switch", "prune", "remove"])
@pytest.mark.parametrize("call", ["replace", "rename", "fsync"])
def test_a_full_disk_changes_nothing_and_leaves_no_line_or_says_what_it_left(
    base: BaseRegistry, monkeypatch: pytest.MonkeyPatch, action: str, call: str
) -> None:
    names = versions_of(base, 2)
    before = tree(base.folder)
    run_it: dict[str, Callable[[], object]] = {
        "switch": lambda: base.use("sw", "v1"),
        "prune": lambda: base.prune("sw", 1),
        "remove": lambda: base.remove("sw"),
    }
    real = getattr(os, call)
    for nth in range(8):
        calls = iter(range(1000))

        def full(*given: object, nth: int = nth, calls: Any = calls, **options: object) -> object:
            if next(calls) == nth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*given, **options)

        monkeypatch.setattr(os, call, full)
        message = failure(run_it[action])
        monkeypatch.undo()
        if message is None:
            break  # it came through, or met no call that tells of a full disk
        assert "Free some space and" in message
        if tree(base.folder) != before:  # only the folder's own list was not made durable
            said = {
                "switch": f"uses {names[0]} now: ",
                "prune": f"Deleted: {names[0]}.",
                "remove": "'sw' was removed: ",
            }
            assert (call, said[action] in message) == ("fsync", True)
            break
        assert "The registry is as it was." in message
    assert actions(base)[-1] == (action, True)


def test_a_line_that_was_never_followed_says_so(base: BaseRegistry) -> None:
    names = versions_of(base, 2)
    with pytest.raises(KeyboardInterrupt), recording.recorded(base.folder / "sw", "sw", "switch", names[1], names[0]):
        raise KeyboardInterrupt
    assert actions(base) == [("add", True), ("replace", True)]  # taken back where there is somebody to do it
    line = {"when": "2026-11-24T10:15:03Z", "action": "switch", "before": names[1], "after": names[0]}
    with record_of(base.folder, "sw").open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert actions(base)[-1] == ("switch", False)
    publish(base, "sw", 7, replace=True)
    assert actions(base)[-2:] == [("switch", False), ("replace", True)]
    code, out = run("list", "sw", registry=base.folder.parent)
    assert code == 0
    assert "interrupted, or undone by hand" in out


@pytest.mark.parametrize("content", [b"\xff\n", b"{}\n", b"[1]\n", b"rubbish\n"])
def test_a_damaged_record_is_said_and_stops_nobody(base: BaseRegistry, content: bytes) -> None:
    names = versions_of(base, 2)
    record_of(base.folder, "sw").write_bytes(content)
    with pytest.raises(RegistryError, match=r"sw\.jsonl.*Take it from a backup"):
        base.events("sw")
    (problem,) = verify(base.folder.parent)
    assert (problem.base, problem.file) == ("demo", ".history/sw.jsonl")
    base.use("sw", "v1")
    found = history("sw", None, base.folder.parent)
    assert [row["version"] for row in found["versions"]] == [names[1], names[0]]
    assert found["events"] == []
    assert "sw.jsonl" in found["problems"][0]
    (base.folder / ".history" / "no language.jsonl").write_text("")
    assert "no language's record" in verify(base.folder.parent)[0].what


AT_ONCE = """
import sys
sys.path.insert(0, {tests!r})
from test_registry_store import publish
from mla_extend.registry.store import Registry

base = Registry({root!r}).open()
for _ in range(4):
    {action}
"""


def test_processes_switch_prune_and_publish_at_once(base: BaseRegistry) -> None:
    versions_of(base, 6)  # enough to prune whoever comes first
    publish(base, "yo")
    before = tree(base.folder / "yo")
    actions_at_once = ("publish(base, 'sw', 9, replace=True)", "base.prune('sw', 3)", "base.use('sw', 'v1')")
    places = {"tests": str(Path(__file__).parent), "root": str(base.folder.parent)}
    scripts = [AT_ONCE.format(action=action, **places) for action in actions_at_once]
    jobs = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) for script in scripts]
    assert [job.communicate(timeout=120)[1] for job in jobs] == [""] * 3
    assert [job.returncode for job in jobs] == [0] * 3
    assert {"switch", "prune"} <= {event.action for event in base.events("sw")}
    check_version(base.current("sw"))
    assert verify(base.folder.parent) == []
    assert all(event.done for event in base.events("sw"))
    assert base.events("sw")[-1].after == base.current("sw").name
    assert tree(base.folder / "yo") == before


# What the commands print ----------------------------------------------------------------------------------------------


def test_history_shows_versions_newest_first(base: BaseRegistry) -> None:
    names = versions_of(base, 3)
    base.use("sw", "v2")
    flip(base.find("sw", "v1"))
    (base.folder / "sw" / names[2] / "card.json").unlink()
    code, out = run("list", "sw", "--json", registry=base.folder.parent)
    found = json.loads(out)
    assert code == 0
    assert (found["language"], found["base"], found["in_use"]) == ("sw", "demo", names[1])
    assert [row["version"] for row in found["versions"]] == names[::-1]
    assert [row["number"] for row in found["versions"]] == [3, 2, 1]
    assert [row["in_use"] for row in found["versions"]] == [False, True, False]
    newest, middle, oldest = found["versions"]
    assert newest["created"] is None
    assert "is missing" in newest["problems"][0]
    assert middle["problems"] == []
    assert middle["splits"] == {"test": {"mean_recall": 0.5, "ci95": [0.4, 0.6]}}
    assert middle["data"] == [{"role": "train", "path": "a.tsv", "pairs": 12_000, "licence": None}]
    assert middle["bytes"] == sum(len(content) for content in tree(base.folder / "sw" / names[1]).values())
    assert "adapter_model.safetensors: it was changed" in oldest["problems"][0]
    assert [event["action"] for event in found["events"]] == ["add", "replace", "replace", "switch"]
    code, out = run("list", "sw", registry=base.folder.parent)
    assert code == 0
    for part in (names[0], "50.0 (40.0-60.0)", "a.tsv", "put into use", "it was changed"):
        assert part in out


def test_history_shows_what_was_measured_on_text_alone(base: BaseRegistry) -> None:
    splits = {"held-out text": {"to_native_accuracy": 0.875, "to_native_ci95": [0.85, 0.9]}}
    card = make_card("sw", metrics={"test_set": None, "splits": splits})
    base.publish("sw", stage(base, "sw"), card, prove=lambda _: {})
    base.publish("sw", stage(base, "sw"), make_card("sw", metrics={}), replace=True, prove=lambda _: {})
    assert "87.5 (85.0-90.0) text" in run("list", "sw", registry=base.folder.parent)[1]
    assert [row["splits"] for row in history("sw", None, base.folder.parent)["versions"]] == [{}, splits]


def test_history_tells_of_a_current_that_names_nothing(base: BaseRegistry) -> None:
    versions_of(base, 1)
    (base.folder / "sw" / "current").write_text("2026-01-01T00-00-00Z-0000\n")
    assert "names no version that is there" in history("sw", None, base.folder.parent)["problems"][0]


def test_prune_asks_and_says_what_it_frees(base: BaseRegistry) -> None:
    names = versions_of(base, 3)
    versions_of(base, 2, "yo")
    root = base.folder.parent
    before = tree(base.folder)
    code, out = run("prune", "--keep", "1", "--dry-run", registry=root)
    assert code == 0
    assert names[0] in out
    assert "3 version(s), " in out
    assert "would be deleted" in out
    assert run("prune", "--keep", "1", registry=root, answer="n\n")[0] == 1
    assert run("prune", "--keep", "3", registry=root)[1].startswith("Nothing to delete")
    assert tree(base.folder) == before
    code, out = run("prune", "yo", "--keep", "1", "--dry-run", "--json", registry=root)
    (row,) = json.loads(out)
    assert (code, row["language"], row["deleted"], row["bytes"] > 0) == (0, "yo", False, True)
    assert json.loads(run("prune", "sw", "--keep", "3", "--json", registry=root)[1]) == []
    code, out = run("prune", "sw", "--keep", "2", "--yes", "--json", registry=root)
    assert [(row["version"], row["deleted"]) for row in json.loads(out)] == [(names[0], True)]
    code, out = run("prune", "sw", "--keep", "1", "--yes", registry=root)
    assert code == 0
    assert "demo sw: deleted 1 version(s), which freed " in out
    assert [version.name for version in base.versions("sw")] == names[2:]
    assert len(base.versions("yo")) == 2
    assert run("prune", "--keep", "0", registry=root)[0] == 2
    with pytest.raises(LanguageError, match="not in the registry"):
        run("prune", "am", "--keep", "1", registry=root)


def test_prune_clears_what_a_cut_off_run_left(base: BaseRegistry) -> None:
    versions_of(base, 1)
    left = base.work / "removed.2026-01-01T00-00-00Z-0000.12345678"
    left.mkdir(parents=True)
    (left / "card.json").write_text("{}")
    assert run("prune", "--keep", "2", registry=base.folder.parent)[0] == 0
    assert not left.exists()


def test_prune_goes_over_the_languages_of_one_base_or_all(base: BaseRegistry) -> None:
    root = base.folder.parent
    versions_of(base, 2)
    other = Registry(root).create(replace(RECORD, name="other", source="owner/other"))
    assert [(home.base.name, tag) for home, tag in find_homes(None, None, root)] == [("demo", "sw")]
    assert find_homes(None, "owner/other", root) == []
    assert other.tags() == []
    with pytest.raises(RegistryError, match="Did you mean 'demo'"):
        find_homes(None, "demos", root)
    with pytest.raises(RegistryError, match="holds no language yet"):
        find_homes(None, None, root / "nowhere")


def test_any_version_is_shown_with_its_licences_and_its_model_card(base: BaseRegistry) -> None:
    names = versions_of(base, 2)
    root = base.folder.parent
    for which, name in (("sw", names[1]), ("sw@v1", names[0])):
        out = " ".join(run("show", which, registry=root)[1].split())
        assert f"Model card: {base.folder / 'sw' / name / 'README.md'}" in out
        assert "base demo, licence unknown" in out
        assert json.loads(run("show", which, "--json", registry=root)[1])["version"] == name
    with pytest.raises(RegistryError, match="has no version 'v3'"):
        run("show", "sw@v3", registry=root)


def test_the_model_card_says_what_it_began_with() -> None:
    table = {"source": "bert-base-multilingual-cased", "fingerprint": "a" * 64, "width": 768}
    start = {"language": "zu", "version": "2026-11-24T10-15-03Z-3f9a"}
    text = model_card(make_card("xh", stages=[{"stage": "build", "table": table, "start_from": start}]))
    assert "frozen token table of `bert-base-multilingual-cased` (fingerprint `aaaaaaaaaaaaaaaa`)" in text
    assert "began with a copy of `zu`, version `2026-11-24T10-15-03Z-3f9a`" in text
    plain = model_card(make_card("xh", stages=[{"stage": "build", "table": None}, "notes"]))
    assert "frozen token table" not in plain
    assert "began with a copy" not in plain


# With a base: the proof -----------------------------------------------------------------------------------------------


@pytest.fixture
def real(dual_folder: Path, tmp_path: Path) -> BaseRegistry:
    """Give a registry of a tiny base with two versions of Swahili, and German and Amharic beside it."""
    root = tmp_path / "adapters"
    for language, seed in (("de", 1), ("sw", 2), ("am", 3), ("sw", 4)):
        home = publish_real(dual_folder, root, language, seed)
    return home


def vectors(home: BaseRegistry, language: str) -> bytes:
    """Encode texts with the version of a language that is in use, in a model of its own."""
    model = MultilingualModel(open_base(home.base.source))
    if language != home.base.native:
        model.load(language, home.current(language).folder)
    encoded: bytes = model.encode_text(TEXTS, language).numpy().tobytes()
    return encoded


def test_a_rollback_moves_no_other_language_and_records_the_proof(real: BaseRegistry) -> None:
    first, second = (version.name for version in real.versions("sw"))
    others = {tag: (tree(real.folder / tag), vectors(real, tag)) for tag in ("de", "am")}
    english, swahili = vectors(real, "en"), vectors(real, "sw")
    code, out = run("rollback", "sw", "--yes", registry=real.folder.parent)
    assert code == 0
    assert f"sw uses {first} now, {second} before. Isolation: vectors of en, am, de bit-equal" in " ".join(out.split())
    assert real.current("sw").name == first
    assert vectors(real, "sw") != swahili
    assert vectors(real, "en") == english
    assert {tag: (tree(real.folder / tag), vectors(real, tag)) for tag in ("de", "am")} == others
    event = real.events("sw")[-1]
    assert (event.action, event.before, event.after, event.done) == ("switch", second, first, True)
    assert event.isolation["ok"]
    lines = event.isolation["languages"]
    assert list(lines) == ["en", "am", "de"]
    assert all(line["files_equal"] and line["vectors_equal"] and line["as_recorded"] for line in lines.values())
    assert verify(real.folder.parent) == []

    code, out = run("rollback", f"sw@{first}", "--yes", registry=real.folder.parent)
    assert f"sw uses {first} already" in out
    assert run("rollback", f"sw@{second}", registry=real.folder.parent, answer="n\n")[0] == 1
    assert real.current("sw").name == first
    assert run("rollback", f"sw@{second}", registry=real.folder.parent, answer="y\n")[0] == 0
    run("rollback", f"sw@{first}", "--yes", registry=real.folder.parent)
    code, out = run("rollback", f"sw@{second}", "--yes", "--json", registry=real.folder.parent)
    done = json.loads(out)
    assert (code, done["before"], done["after"], done["isolation"]["ok"]) == (0, first, second, True)
    assert vectors(real, "sw") == swahili


def test_a_rollback_needs_the_base_that_the_registry_was_made_for(
    real: BaseRegistry, clip_folder: Path, tmp_path: Path
) -> None:
    before = tree(real.folder)
    record = json.loads((real.folder / "base.json").read_text())
    for source, message in (
        (str(tmp_path / "gone"), "gone"),
        (str(clip_folder), "the base has changed. Restore the original"),
    ):
        write_json(real.folder / "base.json", {**record, "source": source})
        with pytest.raises(BaseError, match=message):
            roll_back(BaseRegistry(real.folder), "sw", "v1")
    write_json(real.folder / "base.json", record)
    assert tree(real.folder) == before


def test_a_damaged_neighbour_does_not_stop_a_rollback(real: BaseRegistry) -> None:
    flip(real.current("de"))
    done = roll_back(real, "sw", "v1")
    assert done["isolation"]["languages"]["de"]["vectors_equal"] is None
    assert not done["isolation"]["languages"]["de"]["as_recorded"]
    assert done["isolation"]["languages"]["am"]["vectors_equal"]


def test_a_removal_is_proven_and_recorded(real: BaseRegistry) -> None:
    others = {tag: (tree(real.folder / tag), vectors(real, tag)) for tag in ("de", "am")}
    proof = remove(real, "sw")
    assert proof["ok"]
    assert list(proof["languages"]) == ["en", "am", "de"]
    assert all(line["vectors_equal"] for line in proof["languages"].values())
    assert real.tags() == ["am", "de"]
    assert {tag: (tree(real.folder / tag), vectors(real, tag)) for tag in ("de", "am")} == others
    assert real.events("sw")[-1].isolation == proof
    with pytest.raises(LanguageError, match="not in the registry"):
        remove(real, "sw")


def test_a_damaged_language_and_one_without_its_base_can_be_removed(real: BaseRegistry, tmp_path: Path) -> None:
    flip(real.current("sw"))
    assert remove(real, "sw")["languages"]["de"]["vectors_equal"]
    record = json.loads((real.folder / "base.json").read_text())
    write_json(real.folder / "base.json", {**record, "source": str(tmp_path / "gone")})
    proof = remove(BaseRegistry(real.folder), "de")
    assert proof["languages"]["am"]["files_equal"]
    assert proof["languages"]["am"]["vectors_equal"] is None
    assert real.tags() == ["am"]


def test_help_and_cards_load_nothing_heavy(base: BaseRegistry) -> None:
    versions_of(base, 2)
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom mla_extend.cli.app import app\n"
        "for line in ('list --help', 'rollback --help', 'prune --help', 'show --help', 'verify --help',\n"
        f"        'show sw --registry {base.folder.parent}', 'prune --keep 2 --registry {base.folder.parent}'):\n"
        "    assert CliRunner().invoke(app, line.split()).exit_code == 0, line\n"
        "heavy = {'torch', 'transformers', 'peft', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
