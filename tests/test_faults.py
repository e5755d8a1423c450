"""Whatever call goes wrong leaves the old state or the new; `make faults` looks at every moment, this at each fifth."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from mla_extend.errors import DiskError
from mla_extend.files import atomic_folder, atomic_path, writing_to
from tests.test_index_faults import disk_of

FAULTS = Path(__file__).parent / "faults"
NUMBERS = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)


def save_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, NUMBERS)


WRITERS: dict[str, Callable[[Path], object]] = {
    "safetensors": lambda path: save_file({"a": torch.zeros(3000)}, path),
    "numpy": save_array,
    "pictures": lambda path: Image.fromarray(NUMBERS).save(path, "PNG"),
    "text": lambda path: path.write_text("a" * 5000),
    "tokenizers": lambda path: Tokenizer(models.WordLevel({str(i): i for i in range(999)}, "0")).save(str(path)),
}


def sweep(*arguments: str, script: str = "sweep.py") -> subprocess.CompletedProcess[str]:
    """Run a sweep."""
    done = subprocess.run([sys.executable, FAULTS / script, *arguments], capture_output=True, text=True, check=False)
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


def test_commands_that_are_killed_or_meet_a_failing_disk_lose_nothing_and_say_so() -> None:
    for more in ((), ("--disk",)):
        done = sweep("--kills", "6", *more, "pack", "export --replace", "report", script="kills.py")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "6 kills, 0 faults" in done.stdout


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_whatever_a_library_raises_over_a_full_disk_names_the_path_and_leaves_nothing(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    path = tmp_path / "a"
    path.write_text("older")
    with disk_of(500), pytest.raises(DiskError, match=rf"{path}\. F") as told, atomic_path(path) as temporary:
        write(temporary)
    assert told.value.errno in {errno.EFBIG, errno.ENOSPC}
    with disk_of(500), pytest.raises(DiskError, match=rf"{path}2\. F"), atomic_folder(tmp_path / "a2") as folder:
        write(folder / "inner")
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [("a", "older")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("kind", [OSError, SafetensorError, RuntimeError])
def test_an_error_of_the_disk_is_known_by_its_number_or_its_text(number: int, kind: type[Exception]) -> None:
    reason = os.strerror(number)
    error = OSError(number, reason) if kind is OSError else kind(f"I/O error: {reason} (os error {number})")
    with pytest.raises(DiskError, match=rf"^{reason}: there\. .*\.$") as told, writing_to(Path("there")):
        raise error
    assert told.value.errno == number
    with pytest.raises(DiskError, match="read from"), writing_to(Path("there")):
        raise OSError(number, reason, "read from")
    with pytest.raises(DiskError, match=": there"), writing_to(Path("there")):
        raise OSError(number, reason, ".there.0123.part/a")
    with pytest.raises(FileNotFoundError), writing_to(Path("there")):
        Path("nowhere").read_text()
