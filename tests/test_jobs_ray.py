"""A plan on a local Ray of two workers, as a user starts it; nothing of Ray may be left behind."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from mla_extend.cli.add_languages import add_languages
from mla_extend.errors import DataError
from mla_extend.jobs.runners import RayRunner
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify

pytest.importorskip("ray", reason="Ray is not installed: pip install 'mla-extend[ray]'")

STARTS = """
import ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
assert ray.get(ray.remote(lambda: 7).remote()) == 7
ray.shutdown()
"""


CLUSTER = """
import json, subprocess, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster

plan, registry = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
command = ["-m", "mla_extend", "add-languages", plan, "--registry", registry, "--ray", cluster.address, "--json"]
running = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def training(path):
    status = json.loads(path.read_text())
    return status.get("stage") == "Transfer" and status["step"] > 0

jobs = Path(registry) / ".jobs" / "plan"
while running.poll() is None and sum(map(training, jobs.glob("*/status.json"))) < 2:
    time.sleep(0.05)
cluster.remove_node(nodes[0], allow_graceful=False)
out, err = running.communicate()
cluster.shutdown()
print(json.dumps({"code": running.returncode, "out": out, "err": err}))
"""


@pytest.fixture(scope="module")
def _ray_starts() -> None:
    """Skip where the system does not let Ray start: no shared memory, no processes."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    try:
        tried = subprocess.run(
            [sys.executable, "-c", STARTS], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("Ray does not start here within two minutes")
    if tried.returncode:
        pytest.skip(f"Ray does not start here: {tried.stderr.strip().splitlines()[-1]}")


def watched(arguments: list[str]) -> tuple[int, str, str, dict[int, str]]:
    """Run a command; return exit code, standard output and error, and every process that it had by its id."""
    had: dict[int, str] = {}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            for child in parent.children(recursive=True):
                had[child.pid] = f"{child.create_time()}"
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, had


def alive(had: dict[int, str]) -> list[str]:
    """Return those processes that still run."""
    found = []
    for pid, started in had.items():
        try:
            process = psutil.Process(pid)
            if f"{process.create_time()}" == started and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{pid} {process.name()}")
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.usefixtures("_ray_starts")
def test_a_local_ray_of_two_workers_does_a_plan_and_leaves_no_process(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    """Two languages side by side, and one with bad data that stops neither; warnings are errors there too."""
    (tmp_path / "en-am.tsv").write_text("a cat ድመት\n", encoding="utf-8")
    languages = {"sw": None, "zu": {"seed": 2}, "am": {"parallel_data": "en-am.tsv"}}
    plan = tmp_path / "plan.yaml"
    defaults = {"recipe": "instant", "parallel_data": "en-sw.tsv"}
    plan.write_text(yaml.safe_dump({"base": str(dual_folder), "defaults": defaults, "languages": languages}))
    code, out, err, had = watched(
        [
            sys.executable, "-W", "error::FutureWarning", "-W", "error::ResourceWarning", "-m", "mla_extend",
            "add-languages", str(plan), "--registry", str(tmp_path / "adapters"), "--ray", "local", "--jobs", "2",
            "--threads", "1", "--json",
        ]
    )  # fmt: skip
    assert code == 1, err
    results: dict[str, dict[str, Any]] = {row["language"]: row for row in json.loads(out)}
    assert {tag: row["state"] for tag, row in results.items()} == {"sw": "done", "zu": "done", "am": "failed"}
    assert "en-am.tsv, line 1" in results["am"]["error"]
    assert (
        Path(results["sw"]["log"])
        .read_text(encoding="utf-8")
        .splitlines()[-1]
        .endswith(f"Published as {results['sw']['version']}.")
    )
    assert results["sw"]["where"] != results["zu"]["where"]
    assert any("running" in line and "sw" in line for line in err.splitlines())
    assert had
    for _ in range(100):
        if not alive(had):
            break
        time.sleep(0.1)
    assert alive(had) == []


@pytest.mark.usefixtures("_ray_starts")
def test_a_cluster_that_loses_a_node_publishes_every_language_once(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    steps = {"transfer.max_steps": 300, "transfer.epochs": 200, "transfer.batch": 32, "acquirer.bottleneck": 4}
    steps |= {"transfer.evaluations": 100, "transfer.patience": 100}
    plan, root = tmp_path / "plan.yaml", tmp_path / "adapters"
    defaults = {"recipe": "quick", "parallel_data": "en-sw.tsv", "set": steps}
    plan.write_text(yaml.safe_dump({"base": str(dual_folder), "defaults": defaults, "languages": ["sw", "zu"]}))
    code, out, err, _ = watched([sys.executable, "-c", CLUSTER, str(plan), str(root)])
    assert code == 0, err
    done = json.loads(out.splitlines()[-1])
    assert done["code"] == 0, done["err"]
    assert "Raylet is terminated" in done["err"]
    rows = json.loads(done["out"])  # which Ray writes nothing into
    assert {row["language"]: row["state"] for row in rows} == dict.fromkeys(("sw", "zu"), "done")
    home = Registry(root).open()
    attempts = 0
    for row in rows:
        assert [version.name for version in home.versions(row["language"])] == [row["version"]]
        assert [event.action for event in home.events(row["language"])] == ["add"]
        log = Path(row["log"]).read_text(encoding="utf-8")
        assert log.count("Published as") == 1
        attempts += log.count("$ mla-extend add-language")
    assert attempts == 3  # one was lost with its node
    assert verify(root) == []


@pytest.mark.usefixtures("_ray_starts")
def test_a_cluster_that_is_not_there_is_an_error_of_one_line() -> None:
    program = (
        "from mla_extend.errors import DataError\n"
        "from mla_extend.jobs.runners import RayRunner\n"
        "try:\n    RayRunner('nowhere at all')\n"
        "except DataError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("There is no Ray at 'nowhere at all' ("), done.stderr
    assert "Give the address of a cluster's head node, auto, or local." in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_gpus_without_ray_are_refused() -> None:
    with pytest.raises(DataError, match=r"--gpus 0\.5 needs --ray"):
        add_languages("demo", gpus=0.5)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r"pip install 'mla-extend\[ray\]'"):
        RayRunner("local")
