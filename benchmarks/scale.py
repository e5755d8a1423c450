"""Say what very much parallel text costs: seconds to the first step, peak memory, room on the disk, by number of pairs.

    python benchmarks/scale.py [--pairs 100000 1000000 10000000] [--kinds "dry run" training] [--write]

Pairs are recombined from Multi30K's German and English captions in `../shared/data/multi30k` beside the checkout: the
first half of one and the second half of another, about twelve words a side. Each number of pairs has two processes of
their own, on the demo base with the default recipe:

- `dry run`: `add-language --dry-run` whole;
- `training`: `add-language` until its first step is done.

The room on the disk is that of the process's own unnamed files, at most (Linux tells it). What was measured
stays in `benchmarks/results/scale.json`, number by number, so that a run that was interrupted goes on.
"""

import argparse
import contextlib
import gzip
import json
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, ROOT, load, machine, markdown, put, save

MULTI30K = ROOT.parent / "shared" / "data" / "multi30k"
PAGE = ROOT / "docs" / "performance.md"
BLOCK = 1 << 16
KINDS = ("dry run", "training")


def main() -> None:
    """Measure what is not measured yet, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", type=int, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    found: dict[str, Any] = {"pairs": {}}
    if not options.again and (RESULTS / "scale.json").is_file():
        found = load("scale")
    for count in options.pairs:
        row = found["pairs"].setdefault(str(count), {})
        kinds = [kind for kind in options.kinds if kind not in row]
        if not kinds:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "en-de.tsv"
            write_pairs(path, count)
            for kind in kinds:
                program = [sys.executable, __file__, "--one", kind, str(path)]
                done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
                row[kind] = json.loads(done.stdout.splitlines()[-1])
                found["machine"] = machine()
                save("scale", found)
    print(table(found))
    if options.write:
        put("scale", table(found), PAGE)


def write_pairs(path: Path, count: int) -> None:
    """Write so many pairs, each put together from the halves of two."""
    sides = [_halves(MULTI30K / f"train.{language}.gz") for language in ("en", "de")]
    generator = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, count, BLOCK):
            drawn = generator.integers(len(sides[0]), size=(min(BLOCK, count - start), 2)).tolist()
            file.writelines("\t".join(f"{side[i][0]} {side[j][1]}" for side in sides) + "\n" for i, j in drawn)


def _halves(path: Path) -> list[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        words = [line.split() for line in lines]
    return [(" ".join(row[: len(row) // 2]), " ".join(row[len(row) // 2 :])) for row in words]


def measure(kind: str, path: str) -> dict[str, float]:
    """Return seconds, processor seconds, and the most bytes of memory and of disk that one run takes."""
    from mla_extend.add.job import add_language, plan_language
    from mla_extend.errors import Interrupted
    from mla_extend.platform import peak_memory
    from mla_extend.training.loop import Run

    step = Run.one_step

    def first_step(run: Run) -> float:
        step(run)
        raise Interrupted("The first step is done.")

    disk = Disk()
    with tempfile.TemporaryDirectory() as registry:
        started, processor = time.monotonic(), time.process_time()
        if kind == "dry run":
            plan_language("de", parallel_data=path, base="demo", registry=registry)
        else:
            Run.one_step = first_step  # type: ignore[method-assign]
            with contextlib.suppress(Interrupted):
                add_language("de", parallel_data=path, base="demo", registry=registry)
        return {
            "seconds": round(time.monotonic() - started, 1),
            "processor_seconds": round(time.process_time() - processor, 1),
            "memory_bytes": peak_memory(),
            "disk_bytes": disk.most(),
        }


class Disk:
    """Watch how many bytes the unnamed files of this process hold."""

    def __init__(self) -> None:
        self._most = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def most(self) -> int:
        """Return the most bytes that they held."""
        return self._most

    def _watch(self) -> None:
        while True:
            sizes: dict[int, int] = {}  # a file that is mapped has two descriptors
            for descriptor in Path("/proc/self/fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    told = descriptor.stat()
                    if stat.S_ISREG(told.st_mode) and told.st_nlink == 0:
                        sizes[told.st_ino] = told.st_size
            self._most = max(self._most, sum(sizes.values()))
            time.sleep(0.2)


def table(found: dict[str, Any]) -> str:
    """Return the measurements as a table."""
    head = ["pairs", "", "seconds", "processor, seconds", "memory, GiB", "disk, GB"]
    rows = [
        [
            f"{int(count):,}",
            kind,
            f"{one['seconds']:.0f}",
            f"{one['processor_seconds']:.0f}",
            f"{one['memory_bytes'] / 2**30:.2f}",
            f"{one['disk_bytes'] / 1e9:.2f}",
        ]
        for count, kinds in sorted(found["pairs"].items(), key=lambda item: int(item[0]))
        for kind, one in kinds.items()
    ]
    return f"{markdown(head, rows)}\n\nMeasured on {found['machine']}."


if __name__ == "__main__":
    main()
