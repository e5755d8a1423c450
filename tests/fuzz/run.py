"""Feed each parser with bytes made up from those in `corpus/`, by the branches that they reach: `make fuzz`.

atheris makes them. A target fails where anything but an error of the project comes out, where one input takes over
10 s of processor time or 30 s by the clock, or where its process takes over 1 GiB more than at its start; the input
is then in `found/`. Once the fault is mended, it belongs in `corpus/`, which `tests/test_fuzz.py` tries at each run.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
INSTRUMENTED = ["mla_extend.data", "mla_extend.jobs.plan", "mla_extend.language.adapter_files", "mla_extend.registry",
                "mla_extend.share", "mla_extend.training.recipe", "polib", "tarfile", "yaml", "zipfile"]  # fmt: skip
SECONDS_AN_INPUT = 10
SECONDS_STUCK = 30
"""By the clock, for what waits and computes nothing; the fuzzer looks at it every 16 seconds."""
MIB_MORE = 1024


def fuzz(name: str) -> None:
    """Fuzz one target until its time is over; does not return."""
    import atheris
    import psutil

    with atheris.instrument_imports(include=INSTRUMENTED):
        from mla_extend.errors import MlaExtendError
        from tests.fuzz.targets import TARGETS

    def one(data: bytes) -> None:
        begun = time.process_time()
        with contextlib.suppress(MlaExtendError):
            TARGETS[name](data)
        if time.process_time() - begun > SECONDS_AN_INPUT:
            raise TimeoutError(f"over {SECONDS_AN_INPUT} s of processor time")

    for seed in sorted((HERE / "corpus" / name).glob("*")):
        one(seed.read_bytes())  # so that what is imported on the way counts as its start
    found = HERE / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    most = psutil.Process().memory_info().rss // 2**20 + MIB_MORE
    with tempfile.TemporaryDirectory() as made:
        limits = [f"-max_total_time={os.environ.get('FUZZ_SECONDS', '60')}", f"-timeout={SECONDS_STUCK}"]
        places = [f"-artifact_prefix={found}/", made, str(HERE / "corpus" / name)]
        atheris.Setup([name, *limits, f"-rss_limit_mb={most}", "-max_len=65536", "-print_final_stats=1", *places], one)
        atheris.Fuzz()


def main(names: list[str]) -> int:
    """Fuzz several targets, each in a process of its own; return 1 if one failed."""
    failed = []
    for name in names or sorted(path.name for path in (HERE / "corpus").iterdir()):
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, "-m", "tests.fuzz.run", "--one", name], capture_output=True, check=False)
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        executed = next((line for line in text.splitlines() if "number_of_executed_units" in line), "")
        print(f"  {'failed' if done.returncode else 'passed'} {executed.rpartition(' ')[2]} executions", flush=True)
        if done.returncode:
            failed.append(name)
            print(text[-4000:], flush=True)
    print(f"{len(failed)} failed: {', '.join(failed) or 'none'}")
    return int(bool(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2])
    sys.exit(main(sys.argv[1:]))
