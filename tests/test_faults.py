"""Whatever call goes wrong leaves the old state or the new; `make faults` looks at every moment, this at each fifth."""

import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).parent / "faults" / "sweep.py"


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep."""
    done = subprocess.run([sys.executable, SWEEP, *arguments], capture_output=True, text=True, check=False)
    if "C compiler" in done.stderr:
        pytest.skip(done.stderr.strip())
    return done


def test_no_moment_of_any_change_loses_anything() -> None:
    done = sweep("--quick", "--every", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" 0 faults") >= 8


def test_a_sweep_finds_what_is_written_in_place() -> None:
    done = sweep("--careless")
    assert done.returncode == 1, done.stdout + done.stderr
    for fault in ("kill at call", "torn at call", "ENOSPC at call", "EIO at call"):
        assert fault in done.stdout
    assert "neither the old state nor the new" in done.stdout
