"""Many languages by one plan: reading it, doing it side by side, stopping, dying, and going on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import TARGET_WORDS, sentences

from mla_extend.cli.add_languages import estimate_table, failure_table, status_table
from mla_extend.errors import DataError, MlaExtendError, RegistryError
from mla_extend.jobs.folder import JobFolder, ask_to_stop, asked_to_stop
from mla_extend.jobs.outcome import published
from mla_extend.jobs.plan import Plan, read_plan
from mla_extend.jobs.process import command, supervise
from mla_extend.jobs.run import Run, Status, estimates, run_folder
from mla_extend.jobs.runners import LocalRunner, told
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify

OK = "defaults: {parallel_data: en-sw.tsv}\n"
QUICK = {"acquirer.bottleneck": 4, "transfer.batch": 32, "transfer.max_steps": 20, "exposure.max_steps": 10}
SLOW = {"transfer.max_steps": 600, "transfer.epochs": 200, "transfer.evaluations": 100, "transfer.patience": 100}


def write_plan(folder: Path, languages: Any, **more: Any) -> Path:
    """Write a plan beside the data of the `data` fixture."""
    path = folder / "plan.yaml"
    content = {"defaults": {"recipe": "quick", "set": QUICK, "parallel_data": "en-sw.tsv"}, "languages": languages}
    path.write_text(yaml.safe_dump({**content, **more}, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def write_text(folder: Path, text: str, name: str = "plan.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def do(plan: Plan, jobs: int = 1) -> tuple[dict[str, Status], list[str]]:
    """Do a plan in processes; return the last statuses, and `language state` in the order in which that changed."""
    seen: list[str] = []

    def watch(statuses: Sequence[Status], stopping: bool) -> None:
        for status in statuses:
            if (line := f"{status.language} {status.state}") not in seen:
                seen.append(line)

    runner = LocalRunner(jobs, threads=1)
    try:
        statuses = Run(plan, runner, watch).go()
    finally:
        runner.close()
    return {status.language: status for status in statuses}, seen


def wait_for(there: Callable[[], Any], seconds: float = 150) -> None:
    for _ in range(int(seconds / 0.05)):
        if there():
            return
        time.sleep(0.05)
    raise AssertionError("it never came so far")


# Plans ----------------------------------------------------------------------------------------------------------------


def test_a_plan_gives_each_language_its_options_over_the_defaults(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    plan = read_plan(
        write_text(
            tmp_path,
            f"""
registry: my registry
base: {os.path.relpath(dual_folder, tmp_path)}
defaults:
  recipe: quick
  parallel-data: en-sw.tsv
  image_text: [sw.jsonl, "sw.jsonl=2"]
  set: {{transfer.batch: 32}}
  license: CC0-1.0
languages:
  sw: {{start_from: rw, seed: 3, test_set: "jsonl:test.jsonl"}}
  no:                                     # not a truth value
  pt_br: {{set: [transfer.max_steps=7], columns: {{native: a, target: b}}, replace: true, filter: "off"}}
  rw: {{image_text: []}}
""",
        )
    )
    assert plan.registry == tmp_path / "my registry"
    assert plan.base == str(dual_folder)
    assert [job.language for job in plan.jobs] == ["sw", "no", "pt-BR", "rw"]
    jobs = {job.language: job for job in plan.jobs}
    sw = jobs["sw"].arguments
    assert sw["parallel_data"] == [str(tmp_path / "en-sw.tsv")]
    assert sw["image_text"] == [str(tmp_path / "sw.jsonl"), f"{tmp_path / 'sw.jsonl'}=2"]
    assert sw["test_set"] == f"jsonl:{tmp_path / 'test.jsonl'}"
    assert (sw["start_from"], sw["seed"], sw["licence"]) == ("rw", 3, "CC0-1.0")
    assert jobs["rw"].arguments["image_text"] == []
    brazil = jobs["pt-BR"]
    assert (brazil.arguments["columns"], brazil.arguments["filter"]) == ("native=a,target=b", "off")
    assert (brazil.recipe.transfer.batch, brazil.recipe.transfer.max_steps) == (32, 7)
    assert jobs["no"].recipe.transfer.max_steps == 40
    assert len({job.digest() for job in plan.jobs}) == 4


def test_a_list_of_codes_shares_one_pattern_of_paths(tmp_path: Path) -> None:
    native, target = sentences(30)
    for code, words in (("am", "ድመት ቀይ"), ("hi", "बिल्ली लाल"), ("zh-Hant", "貓 紅")):
        (tmp_path / f"{code}.en").write_text("".join(f"{line}\n" for line in native))
        (tmp_path / f"{code}.target").write_text("".join(f"{words} {line}\n" for line in target), encoding="utf-8")
    path = write_text(
        tmp_path,
        'defaults: {parallel_data: "moses:{language}.en,{language}.target=0.5"}\nlanguages: [am, hi, zh-Hant]\n',
    )
    plan = read_plan(path, registry=tmp_path / "r", recipe="instant")
    assert [job.language for job in plan.jobs] == ["am", "hi", "zh-Hant"]
    assert plan.jobs[2].arguments["parallel_data"] == [f"moses:{tmp_path}/zh-Hant.en,{tmp_path}/zh-Hant.target=0.5"]
    assert plan.jobs[0].recipe.name == "instant"


def test_what_stands_on_the_command_line_counts_more_than_the_plan(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_plan(tmp_path, ["sw"], registry="a", base="demo")
    plan = read_plan(path, registry=tmp_path / "b", base=str(dual_folder), recipe="paper")
    assert plan.registry == tmp_path / "b"
    assert plan.base == str(dual_folder)
    assert plan.jobs[0].recipe.name == "quick"
    monkeypatch.setenv("MLA_EXTEND_REGISTRY", str(tmp_path / "c"))
    assert read_plan(path).registry == tmp_path / "a"
    assert read_plan(write_plan(tmp_path, ["sw"])).registry == tmp_path / "c"


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("languages: {sw: {parallel_data: en-sw.tsv, sede: 3}}", " languages.sw.sede", "Did you mean seed? Known here"),
        ("languages:\n  sw:\n    parallel_data: a\n    seed: many\n", " languages.sw.seed", "'many' is no whole"),
        ("languages:\n  sw:\n    parallel_data: none.tsv\n", " languages.sw", "none.tsv does not exist"),
        ("languages:\n  sw:\n    image_text: sw.jsonl\n", " languages.sw", "has no parallel_data"),
        (OK + "languages:\n- sw\n- swahili\n", " languages.swahili", "swahili"),
        (OK + "languages:\n- sw\n- sw\n", " languages", "in the list twice"),
        (OK + "languages:\n- 7\n", " languages", "7 is not a language code"),
        (OK + "languages:\n  sw:\n  de:\n  swa:\n", " languages.swa", "'sw' is already in the"),
        (OK + "languages:\n  sw:\n  de:\n  sw:\n", "5", "in line 3 already"),
        (OK + "languages:\n  en:\n", " languages.en", "own language"),
        ("defaults: {parallel_data: en-sw.tsv, recipe: slow}\nlanguages: [sw]\n", " languages.sw", "no recipe 'slow'"),
        ("defaults: {parallel_data: en-sw.tsv, set: [a.b=1]}\nlanguages: [sw]\n", " languages.sw", "no such key"),
        ("defaults: {parallel_data: a, filter: off, x: 1}\nlanguages: [sw]\n", " defaults.x", "there is no such key"),
        ("defaults: {parallel_data: en-sw.tsv, filter: hard}\nlanguages: [sw]\n", " defaults.filter", "or 'off'"),
        (
            OK + "languages:\n  sw: {start_from: zu}\n  zu:\n    start_from: sw\n",
            " start_from",
            "from sw: none of them can be first. Break the loop",
        ),
        ("languages: {}\n", " languages", "0 values, not at least 1"),
        ("defaults: {parallel_data: en-sw.tsv}\n", " languages", "it is missing"),
        ("langages: [sw]\nlanguages: [sw]\n", " langages", "Known here: registry, base, defaults, languages"),
        ("languages: [sw\nbase: demo\n", "2", "cannot be read as YAML"),
    ],
)  # fmt: skip
def test_each_problem_of_a_plan_names_the_entry_and_what_to_do(
    data: dict[str, Path], tmp_path: Path, text: str, where: str, said: str
) -> None:
    path = write_text(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_plan(path, registry=tmp_path / "r")
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"{path}:{where}: ")
    assert said in first


def test_all_problems_are_told_at_once(data: dict[str, Path], tmp_path: Path) -> None:
    path = write_text(
        tmp_path,
        "languages:\n  sw: {parallel_data: a.tsv}\n  am: {parallel_data: en-sw.tsv, start_from: xq}\n"
        "  hi: {parallel_data: en-sw.tsv, image_text: [sw.jsonl, b.jsonl]}\n",
    )
    with pytest.raises(DataError) as caught:
        read_plan(path, registry=tmp_path / "r")
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines[:3]] == ["languages.sw", "languages.am", "languages.hi"]
    assert lines[3] == "Nothing was started."
    assert not (tmp_path / "r").exists()
    assert Path.cwd() != tmp_path


def test_a_plan_that_is_not_there_empty_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_plan(tmp_path / "none.yaml")
    for text, said in (("# later\n", "is empty"), ("- sw\n", "holds list, not a mapping with 'languages'")):
        with pytest.raises(DataError, match=said):
            read_plan(write_text(tmp_path, text))
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_plan(tmp_path / "plan.yaml")


def test_the_plan_of_the_guide_can_be_read(data: dict[str, Path], tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "many-languages.md").read_text(encoding="utf-8")
    text = guide.split("```yaml\n")[1].split("```")[0]
    for name in ("en-sw.tsv", "en-am.tsv", "en-zu.tsv", "tatoeba-zu.tsv"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data["parallel"].read_bytes())
    (tmp_path / "data" / "sw.jsonl").write_bytes(data["images"].read_bytes())
    plan = read_plan(write_text(tmp_path, text))
    assert [job.language for job in plan.jobs] == ["sw", "am", "zu"]


def test_the_command_in_a_log_does_the_same_by_hand(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    """What the log shows is parsed by the command line to the very arguments of the job."""
    import shlex

    import typer

    from mla_extend.cli.app import app

    options = {"seed": 4, "license": "CC BY", "columns": "native=a b", "image_text": ["sw.jsonl"], "replace": True}
    [job] = read_plan(write_plan(tmp_path, {"sw": options}, base=str(dual_folder)), registry=tmp_path / "r").jobs
    words = shlex.split(command("sw", job.arguments))
    assert words[:3] == ["mla-extend", "add-language", "sw"]
    group: Any = typer.main.get_command(app)
    context = group.commands["add-language"].make_context("add-language", words[2:])
    renamed = {"format": "format_name", "filter": "level"}
    for name, value in job.arguments.items():
        parsed = context.params[renamed.get(name, name)]
        parsed = list(parsed) if isinstance(parsed, tuple) else parsed  # an option that was not given
        assert (str(parsed) if isinstance(parsed, Path) else parsed) == value, name


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_failed_language_stops_no_other_and_a_second_run_does_what_is_left(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    """Of three, side by side, one has bad data and one waits for a fourth; then the data are mended."""
    bad = tmp_path / "en-am.tsv"
    bad.write_text("a cat\tድመት\na dog ውሻ\n", encoding="utf-8")
    languages = {
        "zu": {"start_from": "sw"},
        "sw": None,
        "am": {"parallel_data": "en-am.tsv"},
        "ti": {"start_from": "am"},
    }
    path = write_plan(tmp_path, languages, base=str(dual_folder), registry="adapters")
    statuses, seen = do(read_plan(path), jobs=2)
    assert {tag: status.state for tag, status in statuses.items()} == {
        "sw": "done", "zu": "done", "am": "failed", "ti": "left out"
    }  # fmt: skip
    assert seen.index("zu waiting") < seen.index("sw running") < seen.index("zu running")
    assert f"{bad}, line 2" in str(statuses["am"].error)
    assert statuses["ti"].error == "It starts from 'am', which failed."
    assert str(statuses["am"].error) in Path(statuses["am"].log).read_text(encoding="utf-8")
    done = statuses["zu"]
    assert done.score is not None
    assert done.stage == "Proving isolation"
    home = Registry(tmp_path / "adapters").open()
    assert home.tags() == ["sw", "zu"]
    assert home.card("zu").stages[0]["start_from"]["language"] == "sw"
    assert done.version == home.card("zu").version
    log = Path(done.log).read_text(encoding="utf-8")
    assert "$ mla-extend add-language zu" in log
    assert f"Published as {done.version}." in log

    (home.work / "am-00000000").mkdir(parents=True)  # of another run, which this one cannot go on with
    native, _ = sentences(200)
    letters = "ሀለሐመሠረሰሸቀበተቸኀነኘአከኸወዐ"
    amharic = {word: f"{letters[i]}{letters[-i]}" for i, word in enumerate(TARGET_WORDS)}
    _, target = sentences(200)
    pairs = zip(native, (" ".join(amharic[word] for word in line.split()) for line in target), strict=True)
    bad.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    path.write_text(path.read_text().replace("  ti:\n    start_from: am\n", ""))
    statuses, seen = do(read_plan(path), jobs=2)
    assert {tag: status.state for tag, status in statuses.items()} == {
        "sw": "was there", "zu": "was there", "am": "done"
    }  # fmt: skip
    assert "sw running" not in seen
    assert statuses["zu"].version == done.version
    assert "It is started afresh." in Path(statuses["am"].log).read_text(encoding="utf-8")


def test_four_at_once_publish_into_one_registry_and_it_verifies(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    text = "defaults: {recipe: instant, parallel_data: en-sw.tsv}\nlanguages: [sw, zu, rw, xh]\n"
    path = write_text(tmp_path, text)
    plan = read_plan(path, registry=tmp_path / "adapters", base=str(dual_folder))
    statuses, _ = do(plan, jobs=4)
    assert {status.state for status in statuses.values()} == {"done"}, [s.error for s in statuses.values()]
    home = Registry(tmp_path / "adapters").open()
    assert home.tags() == ["rw", "sw", "xh", "zu"]
    assert all(home.card(tag).isolation["ok"] for tag in home.tags())
    assert verify(tmp_path / "adapters") == []
    assert not list(home.work.iterdir())

    # What else the plan asks for counts as long as it is on record; without a record, the cards decide.
    def there(plan: Plan) -> list[bool]:
        statuses = (JobFolder(run_folder(plan) / job.language).read() for job in plan.jobs)
        return [
            published(job, home, status.get("published", {})) is not None
            for job, status in zip(plan.jobs, statuses, strict=True)
        ]

    assert there(plan) == [True] * 4
    path.write_text(text.replace("defaults: {", "defaults: {time: 30m, "))
    timed = read_plan(path, registry=tmp_path / "adapters", base=str(dual_folder))
    assert {job.arguments["time"] for job in timed.jobs} == {1800}
    assert there(timed) == [False] * 4
    path.write_text(text.replace("defaults: {", "defaults: {filter: strict, "))
    strict = read_plan(path, registry=tmp_path / "adapters", base=str(dual_folder))
    assert there(strict) == [False] * 4
    for tag in ("sw", "zu"):
        (run_folder(plan) / tag / "status.json").unlink()
    assert there(strict) == [True, True, False, False]
    path.write_text(text.replace("instant", "quick"))
    assert there(read_plan(path, registry=tmp_path / "adapters", base=str(dual_folder))) == [False] * 4
    with data["parallel"].open("a", encoding="utf-8") as file:
        file.write("the boat\tile boti\n")
    assert there(plan) == [False] * 4
    [row, *_] = estimates(plan)
    assert row["state"] == "failed"
    assert "already" in row["error"]


def test_an_interrupted_and_then_a_killed_run_go_on_where_they_were(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    """Ctrl-C keeps the step; so does the death of the parent, which leaves no process; the result is the same bytes."""
    from mla_extend.add.job import add_language

    steps = {**QUICK, **SLOW, "precision": "fp32"}
    path = write_plan(tmp_path, {"sw": {"set": steps}}, base=str(dual_folder))
    registry = tmp_path / "adapters"
    plan = read_plan(path, registry=registry)
    folder = JobFolder(run_folder(plan) / "sw")

    def far(steps: int) -> bool:
        progress = folder.read()
        return progress.get("stage") == "Transfer" and progress["step"] >= steps

    arguments = [sys.executable, "-m", "mla_extend", "add-languages", str(path), "--registry", str(registry)]
    arguments += ["--threads", "1"]

    first = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: far(5) or first.poll() is not None)
    with pytest.raises(RegistryError, match="Another process is running the plan 'plan'"):
        Run(plan, LocalRunner()).go()
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=120)
    assert first.returncode == 130, err
    assert "Continue with the same command" in " ".join(err.split())
    assert "stopped" in out
    assert folder.read()["state"] == "stopped"
    kept = folder.read()["step"]

    second = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: far(kept + 5) or second.poll() is not None)
    child = int(folder.read()["where"].split()[1])
    second.kill()
    second.wait()
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    assert "Stopped in transfer" in folder.log.read_text(encoding="utf-8").splitlines()[-1]

    statuses, _ = do(plan)
    assert statuses["sw"].state == "done", statuses["sw"].error
    assert folder.log.read_text(encoding="utf-8").count("--resume\n") == 2
    whole = add_language(
        "sw", parallel_data=data["parallel"], base=str(dual_folder), registry=tmp_path / "whole", recipe="quick",
        overrides=plan.jobs[0].arguments["overrides"],
    )  # fmt: skip
    card = Registry(registry).open().card("sw")
    assert card.files["adapter_model.safetensors"] == whole.files["adapter_model.safetensors"]


def test_a_dry_run_estimates_each_and_writes_nothing(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text("paka\n")
    languages = {"sw": None, "zu": {"start_from": "sw"}, "am": {"parallel_data": "bad.tsv"}}
    path = write_plan(tmp_path, languages, base=str(dual_folder))
    rows = estimates(read_plan(path, registry=tmp_path / "r"))
    assert [row["state"] for row in rows] == ["waiting", "waiting", "failed"]
    assert rows[0]["pairs"] == 400
    assert rows[0]["steps"] == 20
    assert rows[1]["start_from"] == "sw"
    assert "bad.tsv, line 1" in rows[2]["error"]
    assert not (tmp_path / "r").exists()
    assert estimate_table(rows).row_count == 3


# Smaller things -------------------------------------------------------------------------------------------------------


def test_a_process_that_ends_without_a_word_is_a_failure_that_says_so(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    class Dying:
        """Start nothing: as a process would look that is killed at once."""

        places = 1

        def start(self, folder: Path) -> None:
            (folder / "log.txt").write_text("Illegal instruction\n")

        def ended(self, folder: Path) -> str | None:
            return ""

        def close(self) -> None:
            pass

    plan = read_plan(write_plan(tmp_path, ["sw"], base=str(dual_folder)), registry=tmp_path / "r")
    [status] = Run(plan, Dying()).go()
    assert status.state == "failed"
    assert "the last line of its log is 'Illegal instruction'" in str(status.error)
    assert told(-9) == "The process was killed by signal 9. The likely cause is too little memory: take fewer --jobs."
    assert told(-11) == "The process was killed by signal 11."
    assert told(0) == told(1) == told(130) == ""


def test_a_process_can_be_stopped_by_force(tmp_path: Path) -> None:
    JobFolder(tmp_path / "sw").begin({"language": "sw", "arguments": {}})
    ask_to_stop(tmp_path, 3)
    assert supervise(str(tmp_path / "sw"), 1) in (-signal.SIGINT, -signal.SIGKILL)
    assert "state" not in JobFolder(tmp_path / "sw").read()


def test_the_status_of_a_job_is_remembered_or_reads_as_nothing(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "sw")
    assert (folder.read(), folder.last_line()) == ({}, "")
    folder.begin({"language": "sw"})
    folder.write({**folder.read(), "state": "done", "published": {"version": "v", "digest": "d"}})
    folder.begin({"language": "sw", "again": True})
    assert folder.read() == {"job": {"language": "sw", "again": True}, "published": {"version": "v", "digest": "d"}}
    (folder.folder / "status.json").write_text("[1")
    assert folder.read() == {}
    ask_to_stop(tmp_path, 2)
    assert asked_to_stop(tmp_path) == 2
    ask_to_stop(tmp_path, 0)
    assert asked_to_stop(tmp_path) == 0


def test_what_starts_from_a_failed_one_is_left_out_in_whatever_order_they_stand(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    class Failing:
        """Let each job fail as soon as it is started."""

        places = 1

        def start(self, folder: Path) -> None:
            (folder / "log.txt").write_text("\n")

        def ended(self, folder: Path) -> str | None:
            return "It was unplugged."

        def close(self) -> None:
            pass

    languages = {"zu": {"start_from": "xh"}, "xh": {"start_from": "sw"}, "sw": None}
    plan = read_plan(write_plan(tmp_path, languages, base=str(dual_folder)), registry=tmp_path / "r")
    assert [status.state for status in Run(plan, Failing()).go()] == ["left out", "left out", "failed"]


def test_the_table_keeps_to_the_height_and_shows_what_matters() -> None:
    statuses = [Status(f"q{letter}{other}", "log") for letter in "ab" for other in "abcdefghij"]
    statuses[4].state, statuses[4].stage, statuses[4].step, statuses[4].steps = "running", "Transfer", 3, 40
    statuses[9].state, statuses[9].error = "failed", "[bold]a.tsv[/], line 3: no tab."
    assert status_table(statuses).row_count == 20
    short = status_table(statuses, height=12)
    assert short.row_count == 5
    cells = [list(column.cells) for column in short.columns]
    assert {"qae", "qaj"} <= set(cells[0])
    assert "3/40" in cells[3]
    assert "18 waiting" in str(short.caption)
    assert "\\[bold]a.tsv" in str(next(iter(failure_table([statuses[9]]).columns[1].cells)))


@pytest.mark.demo
def test_the_demo_has_a_plan_of_its_own(tmp_path: Path) -> None:
    plan = read_plan("demo", registry=tmp_path)
    assert len(plan.jobs) > 50
    assert plan.jobs[0].arguments["parallel_data"] == ["demo"]
    with pytest.raises(MlaExtendError, match="no recipe"):
        read_plan("demo", registry=tmp_path, recipe="none")
