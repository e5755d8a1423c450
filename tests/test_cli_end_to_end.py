"""The commands as a user runs them, on tiny models: what they write, what they print, what they refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.cli import app as cli
from mla_extend.cli.app import app
from mla_extend.training import measure

RUNNER = CliRunner()
QUICK = [
    "--recipe", "quick", "--set", "transfer.max_steps=30", "--set", "exposure.max_steps=20", "--set",
    "transfer.batch=32", "--set", "exposure.batch=16", "--set", "acquirer.bottleneck=4",
]  # fmt: skip


def run(*arguments: str, registry: Path) -> tuple[int, str, str]:
    """Run the command line as `main` does: exit code, standard output, standard error."""
    result = RUNNER.invoke(app, [*arguments], env={"MLA_EXTEND_REGISTRY": str(registry), "COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def add(data: dict[str, Path], base: Path, registry: Path, *more: str, language: str = "sw") -> dict[str, Any]:
    code, out, _ = run(
        "add-language", language, "--parallel-data", str(data["parallel"]), "--image-text", str(data["images"]),
        "--base", str(base), "--json", *QUICK, *more, registry=registry,
    )  # fmt: skip
    assert code == 0
    card: dict[str, Any] = json.loads(out)
    return card


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but for locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "lock" not in path.name
    }


def test_add_list_show_evaluate_verify_remove(data: dict[str, Path], base_folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    card = add(data, base_folder, registry, "--test-set", str(data["test"]))
    home = registry / card["base"]["name"]
    version = home / "sw" / card["version"]
    assert {path.name for path in version.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "card.json", "curves.png", "README.md",
        "sentencepiece.model", "tokenizer.json", "training.jsonl",
    }  # fmt: skip
    assert card["isolation"]["ok"]
    assert list(card["isolation"]["languages"]) == ["en"]
    assert [stage["stage"] for stage in card["stages"]] == ["build", "transfer", "exposure"]
    assert not list((home / ".work").iterdir())

    sw = tree(home / "sw")
    second = add(data, base_folder, registry, language="de")
    assert set(second["isolation"]["languages"]) == {"en", "sw"}
    assert all(line["vectors_equal"] for line in second["isolation"]["languages"].values())
    assert tree(home / "sw") == sw

    code, out, _ = run("list", "--json", registry=registry)
    rows = json.loads(out)
    assert code == 0
    assert [row["language"] for row in rows] == ["de", "sw"]
    assert {"language", "version", "base", "parameters", "bytes"} <= rows[0].keys()
    assert "Swahili" in run("list", registry=registry)[1]

    shown = json.loads(run("show", "sw", "--json", registry=registry)[1])
    assert shown == card
    assert "bit-equal" in run("show", "sw", registry=registry)[1]

    evaluation = json.loads(run("evaluate", "sw", "--json", registry=registry)[1])
    assert evaluation["splits"].keys() == {"test"}
    split = evaluation["splits"]["test"]
    assert {
        "gallery", "captions", "mean_recall", "ci95", "native_mean_recall", "ratio", "floor_mean_recall",
        "chance_mean_recall", "metrics",
    } <= split.keys()  # fmt: skip
    assert split["captions"] == 50
    assert split == card["metrics"]["splits"]["test"]
    with pytest.raises(Exception, match="names no test set"):
        run("evaluate", "de", registry=registry)
    assert "mean recall" in run("evaluate", "de", "--test-set", str(data["test"]), registry=registry)[1]

    assert json.loads(run("verify", "--json", registry=registry)[1]) == {"ok": True, "problems": []}
    weights = version / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, out, _ = run("verify", "--json", registry=registry)
    assert code == 1
    assert json.loads(out)["problems"][0]["file"] == "adapter_model.safetensors"
    with pytest.raises(Exception, match=r"adapter_model\.safetensors"):
        run("evaluate", "sw", registry=registry)

    assert run("remove", "sw", "--yes", registry=registry)[0] == 0
    assert [row["language"] for row in json.loads(run("list", "--json", registry=registry)[1])] == ["de"]


def test_a_damaged_neighbour_does_not_keep_others_out(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    card = add(data, dual_folder, registry)
    weights = registry / card["base"]["name"] / "sw" / card["version"] / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"rubbish")
    proof = add(data, dual_folder, registry, language="de")["isolation"]["languages"]
    assert proof["sw"]["vectors_equal"] is None
    assert not proof["sw"]["as_recorded"]


def test_replacing_keeps_the_older_version(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    first = add(data, dual_folder, registry)
    with pytest.raises(Exception, match="already"):
        add(data, dual_folder, registry)
    second = add(data, dual_folder, registry, "--replace", "--seed", "1")
    home = registry / first["base"]["name"] / "sw"
    assert {path.name for path in home.iterdir() if path.is_dir()} == {first["version"], second["version"]}
    assert (home / "current").read_text().strip() == second["version"]


def test_the_same_seed_gives_the_same_bytes(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    cards = [add(data, dual_folder, tmp_path / name, "--set", "precision=fp32") for name in ("a", "b")]
    assert cards[0]["files"]["adapter_model.safetensors"] == cards[1]["files"]["adapter_model.safetensors"]


def test_a_dry_run_plans_and_writes_nothing(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "adapters"
    arguments = [
        "add-language",
        "sw",
        "--parallel-data",
        str(data["parallel"]),
        "--base",
        str(dual_folder),
        "--dry-run",
    ]
    code, out, _ = run(*arguments, "--json", *QUICK, registry=registry)
    plan = json.loads(out)
    assert code == 0
    assert plan["pairs"] == 400
    assert plan["image_text"] == 0
    assert plan["steps"] > 0
    assert {"language", "base", "parameters", "seconds", "memory_bytes"} <= plan.keys()
    assert not registry.exists()
    assert "expected time" in run(*arguments, *QUICK, registry=registry)[1]


def test_a_dry_run_counts_no_vectors_that_are_kept(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second language of the same native sentences and images is not expected to wait for them again."""
    monkeypatch.setattr(measure, "_encode_seconds", lambda *_: 1000.0)
    monkeypatch.setattr(measure, "_image_seconds", lambda _base, _pictures, lacking: 1e9 * lacking)
    registry = tmp_path / "adapters"
    arguments = ["--parallel-data", str(data["parallel"]), "--image-text", str(data["images"]), *QUICK]

    def seconds() -> float:
        plan = run(
            "add-language", "de", *arguments, "--base", str(dual_folder), "--dry-run", "--json", registry=registry
        )
        return float(json.loads(plan[1])["seconds"])

    first = seconds()
    assert first // 1e9 == 50  # pictures that are shown to training
    assert first % 1e9 > 100_000
    native = [line.split("\t")[0] for line in data["parallel"].read_text().splitlines()]
    base = open_base(str(dual_folder))
    Features(base).text(native)
    assert first - seconds() > 100_000
    Features(base).images(sorted((tmp_path / "pictures").iterdir()))
    assert seconds() < 1e9


def test_one_file_serves_both_stages(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in data["images"].read_text().splitlines()]
    both = tmp_path / "both.jsonl"
    both.write_text(
        "".join(
            json.dumps({"english": row["english"], "non_english": row["caption"], "image": row["image"]}) + "\n"
            for row in rows
        )
    )
    code, out, _ = run(
        "add-language", "sw", "--parallel-data", str(both), "--base", str(dual_folder), "--json", *QUICK,
        registry=tmp_path / "adapters",
    )  # fmt: skip
    assert code == 0
    assert [stage["stage"] for stage in json.loads(out)["stages"]] == ["build", "transfer", "exposure"]


def test_without_images_exposure_is_skipped_and_said_to_be(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    code, out, err = run(
        "add-language", "sw", "--parallel-data", str(data["parallel"]), "--base", str(dual_folder), "--json", *QUICK,
        registry=tmp_path / "adapters",
    )  # fmt: skip
    card = json.loads(out)
    assert code == 0
    assert [stage["stage"] for stage in card["stages"]] == ["build", "transfer"]
    assert "Language Exposure was skipped" in " ".join(err.split())
    assert 0 < card["metrics"]["splits"]["held-out text"]["to_native_accuracy"] <= 1


def test_the_instant_recipe_trains_nothing(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "add-language", "sw", "--parallel-data", str(data["parallel"]), "--base", str(dual_folder), "--json",
        "--recipe", "instant", registry=tmp_path / "adapters",
    )  # fmt: skip
    card = json.loads(out)
    assert code == 0
    assert [stage.get("steps", 0) for stage in card["stages"]] == [0, 0]
    # Word for word, so the alignment finds it.
    assert card["metrics"]["splits"]["held-out text"]["to_native_accuracy"] > 0.5


def test_listing_and_help_load_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom mla_extend.cli.app import app\n"
        "helps = [[command.name, '--help'] for command in app.registered_commands]\n"
        "for arguments in (['--help'], *helps, ['list', '--registry', sys.argv[1]], ['list']):\n"
        "    assert CliRunner().invoke(app, arguments).exit_code == 0, arguments\n"
        "heavy = {'torch', 'transformers', 'peft', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_an_interrupted_run_continues_to_the_same_bytes(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    """Ctrl-C between two steps saves; --resume goes on; the result is that of a run that was never stopped."""
    more = ["--set", "precision=fp32", "--set", "transfer.max_steps=250", "--set", "transfer.epochs=100"]
    whole = add(data, dual_folder, tmp_path / "whole", *more)
    arguments = [
        sys.executable, "-m", "mla_extend", "add-language", "sw", "--parallel-data", str(data["parallel"]),
        "--image-text", str(data["images"]), "--base", str(dual_folder), "--registry", str(tmp_path / "cut"), "--json",
        *QUICK, *more,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    work = tmp_path / "cut" / dual_folder.name / ".work"
    wait_for(lambda: bool(list(work.glob("*/checkpoint.safetensors"))), process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert "--resume" in err
    assert not (tmp_path / "cut" / dual_folder.name / "sw").exists()
    resumed = add(data, dual_folder, tmp_path / "cut", *more, "--resume")
    assert resumed["files"]["adapter_model.safetensors"] == whole["files"]["adapter_model.safetensors"]
    assert resumed["metrics"] == whole["metrics"]


def test_a_killed_run_leaves_the_registry_and_continues(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    more = ["--set", "precision=fp32", "--set", "transfer.max_steps=250", "--set", "transfer.epochs=100"]
    whole = add(data, dual_folder, tmp_path / "whole", *more)
    registry = tmp_path / "cut"
    arguments = [
        sys.executable, "-m", "mla_extend", "add-language", "sw", "--parallel-data", str(data["parallel"]),
        "--image-text", str(data["images"]), "--base", str(dual_folder), "--registry", str(registry), *QUICK, *more,
    ]  # fmt: skip
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = registry / dual_folder.name / ".work"
    wait_for(lambda: bool(list(work.glob("*/checkpoint.safetensors"))), process)
    process.kill()
    process.wait()
    assert json.loads(run("list", "--json", registry=registry)[1]) == []
    resumed = add(data, dual_folder, registry, *more, "--resume")
    assert resumed["files"]["adapter_model.safetensors"] == whole["files"]["adapter_model.safetensors"]


def wait_for(there: Any, process: subprocess.Popen[Any]) -> None:
    for _ in range(1200):
        if there():
            return
        assert process.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.05)
    raise AssertionError("the run never came so far")


def test_errors_are_one_line_and_exit_code_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mla-extend", "show", "swahili", "--registry", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "Error:" in error
    assert "sw" in error
    assert "Traceback" not in error
