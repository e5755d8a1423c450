"""Several processes train one language as one would."""

import json
import os
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file

from mla_extend import load_model
from mla_extend.processes import ALONE, Processes
from mla_extend.stop import StopRequest
from tests.conftest import sentences
from tests.two_processes_session import train

ROOT = Path(__file__).parents[1]


def launch(*program: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a program in several processes, as a user would."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1"]
    launcher += ["--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
    # A port of its own, so that tests may run side by side.
    return run([*launcher, "--main_process_port", "0", *program])


def run(program: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program where the tests' package is found."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(program, check=False, capture_output=True, text=True, env=environment)


def test_the_shares_of_a_batch_are_the_batch() -> None:
    """Every row belongs to one process, and the shares are of like size."""
    for count in (1, 2, 3, 8):
        for rows in (0, 1, 7, 128):
            shares = [list(range(rows))[Processes(rank, count).share(rows)] for rank in range(count)]
            assert list(chain(*shares)) == list(range(rows))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_exchanged() -> None:
    """One process joins its own vectors, sums its own gradients and agrees with itself."""
    own = torch.randn(3, 4, requires_grad=True)
    assert ALONE.join(own, 3) is own
    assert ALONE.from_first("value") == "value"
    assert ALONE.any(True)
    assert not ALONE.any(False)


def test_two_processes_have_the_loss_and_the_gradients_of_one_with_all_rows(dual_folder: Path, tmp_path: Path) -> None:
    """Contrasts see the rows of the other process, and each adds the gradients of its own."""
    script = str(ROOT / "tests" / "two_processes.py")
    for name, done in {
        "one": run([sys.executable, script, str(dual_folder), str(tmp_path / "one")]),
        "two": launch(script, str(dual_folder), str(tmp_path / "two")),
    }.items():
        assert done.returncode == 0, (name, done.stderr)
    one, two = load_file(tmp_path / "one"), load_file(tmp_path / "two")
    assert one.keys() == two.keys()
    assert sum("acquirer_block" in name for name in one) > 8
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, msg=lambda text, name=name: f"{name}: {text}")


def test_two_processes_add_the_language_that_one_adds(dual_folder: Path, data: dict[str, Path], tmp_path: Path) -> None:
    """The whole job under `accelerate launch`: one version, one voice, the same vectors up to rounding."""
    arguments = ["-m", "mla_extend", "add-language", "sw", "--parallel-data", str(data["parallel"])]
    arguments += ["--image-text", str(data["images"]), "--base", str(dual_folder), "--json", "--device", "cpu"]
    for value in ("transfer.max_steps=12", "transfer.batch=32", "exposure.max_steps=6", "exposure.batch=16"):
        arguments += ["--set", value]
    arguments += ["--set", "acquirer.bottleneck=4", "--set", "precision=fp32"]
    cards = {}
    for name, program in {"one": run, "two": launch}.items():
        command = [*arguments, "--registry", str(tmp_path / name)]
        done = run([sys.executable, *command]) if program is run else launch(*command)
        assert done.returncode == 0, done.stderr
        cards[name] = json.loads(done.stdout)
    assert cards["one"]["stages"][1]["steps"] == cards["two"]["stages"][1]["steps"] == 12
    texts = sentences(40)[1]
    vectors = [
        load_model(base=str(dual_folder), registry=tmp_path / name, device="cpu").encode_text(texts, "sw")
        for name in cards
    ]
    torch.testing.assert_close(*vectors, rtol=0, atol=1e-4)
    home = next(path for path in (tmp_path / "two").iterdir() if path.is_dir())
    assert len([path for path in (home / "sw").iterdir() if path.is_dir()]) == 1
    assert not list((home / ".work").glob("sw*"))


def test_two_processes_stop_and_go_on_together_and_one_says_that_the_other_died(
    dual_folder: Path, tmp_path: Path
) -> None:
    """An interrupt that one hears stops both; resumed they end at the same bytes; what one that died had is kept."""
    script = str(ROOT / "tests" / "two_processes_session.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    environment |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [
        subprocess.Popen(
            [sys.executable, script, str(dual_folder), str(tmp_path)],
            env={**environment, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [1, 9], said
    assert "TrainingError: Another of the processes that train together has ended" in said[0]
    assert (tmp_path / "cut.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not train(str(dual_folder), tmp_path / "dead", ALONE, StopRequest(), resume=True)
    whole, dead = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "dead.safetensors")
    for name, expected in whole.items():
        torch.testing.assert_close(dead[name], expected, rtol=0, atol=1e-4)


def test_an_error_is_said_once(dual_folder: Path, tmp_path: Path) -> None:
    """Processes that meet the same error leave the word to the first."""
    empty = tmp_path / "empty.tsv"
    empty.write_text("")
    done = launch(
        "-m", "mla_extend", "add-language", "sw", "--parallel-data", str(empty), "--base", str(dual_folder),
        "--registry", str(tmp_path / "adapters"), "--device", "cpu",
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("is empty. Give") == 1
    assert done.stdout == ""
