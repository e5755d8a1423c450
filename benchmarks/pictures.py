"""Measure `mla-extend index` on a folder of many pictures: cold, and again where nothing has changed.

    python benchmarks/pictures.py --pictures FOLDER [--count 100000] [--base demo] [--write]

The pictures are drawn (a sky, some shapes and noise; JPEG, some 15 KB each) unless FOLDER holds them already. A base of
random weights and 16 pixels, which `--base tiny` makes, costs next to nothing, so that what is measured is the reading;
with `demo` it is the whole. Seconds on the wall and of the processor (of three unchanged runs, the quickest), and the
peak memory of the process.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, load, machine, markdown, put, save
from PIL import Image, ImageDraw

SIZE = (320, 240)
A_FOLDER = 1_000
"""Pictures in a folder."""
DOC = ROOT / "docs" / "performance.md"


def main() -> None:
    """Draw what is missing, index twice, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="where they lie, or are drawn")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--base", default="tiny", help="tiny, demo, or a folder")
    parser.add_argument("--write", action="store_true", help="save the result, and the table in docs/performance.md")
    options = parser.parse_args()
    source = options.pictures / f"{options.count}"
    draw_all(source, options.count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = str(tiny_base(folder / "tiny")) if options.base == "tiny" else options.base
        result = {
            "count": options.count,
            "megabytes": round(sum(path.stat().st_size for path in source.rglob("*.jpg")) / 1e6),
            "runs": {
                "cold": index(source, folder, base),
                "unchanged": min((index(source, folder, base) for _ in range(3)), key=lambda run: run["seconds"]),
            },
            "machine": machine(),
        }
    print(json.dumps(result, indent=2))
    if options.write:
        path = ROOT / "benchmarks" / "results" / "pictures.json"
        found = {**(load("pictures") if path.exists() else {}), f"{options.count:,}, {options.base}": result}
        save("pictures", found)
        put("pictures", f"{table(found)}\n\nMeasured on {result['machine']}.", DOC)


def table(found: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    rows = [
        [
            name,
            str(one["megabytes"]),
            *(
                f"{run['seconds']:,.0f} s ({run['cpu_seconds']:,.0f} s), {run['gib']:.2f} GiB"
                for run in one["runs"].values()
            ),
        ]
        for name, one in found.items()
    ]
    return markdown(["pictures, base", "MB", "cold: time (processor), memory", "unchanged"], rows)


def draw_all(folder: Path, count: int) -> None:
    """Draw the pictures that are not there, in as many processes as there are cores."""
    missing = [start for start in range(0, count, A_FOLDER) if not (folder / f"{start:07}").exists()]
    with ProcessPoolExecutor() as workers:
        for start in workers.map(draw_folder, [folder] * len(missing), missing, [count] * len(missing)):
            print(f"drawn {start + A_FOLDER:,}", file=sys.stderr, end="\r")


def draw_folder(folder: Path, start: int, count: int) -> int:
    """Draw one folder of pictures."""
    there, made = folder / f"{start:07}", folder / f".{start:07}"
    made.mkdir(parents=True, exist_ok=True)
    for number in range(start, min(start + A_FOLDER, count)):
        (made / f"{number:07}.jpg").write_bytes(draw(number))
    made.rename(there)
    return start


def draw(number: int) -> bytes:
    """Return a picture as JPEG: a gradient, eight shapes and noise, all drawn from its number."""
    rng = np.random.default_rng(number)
    ends = rng.integers(0, 256, (2, 1, 1, 3))
    slope = np.linspace(0, 1, SIZE[1])[:, None, None]
    ground = np.broadcast_to(ends[0] * (1 - slope) + ends[1] * slope, (SIZE[1], SIZE[0], 3))
    image = Image.fromarray(ground.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for x, y, w, h, *colour in rng.integers(0, 256, (8, 7)).tolist():
        (pen.ellipse if w % 2 else pen.rectangle)([x, y, x + w // 2, y + h // 2], fill=tuple(colour))
    noisy = np.asarray(image) + rng.integers(-9, 10, (SIZE[1], SIZE[0], 1))
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def tiny_base(folder: Path) -> Path:
    """Make the tests' CLIP of random weights."""
    sys.path.insert(0, str(ROOT))
    from tests.conftest import save_clip

    return save_clip(folder)


def index(source: Path, folder: Path, base: str) -> dict[str, Any]:
    """Index the pictures in a process of its own."""
    command = [sys.executable, "-m", "mla_extend", "index", str(source), "--index", str(folder / "index"), "--json"]
    command += ["--base", base, "--registry", str(folder / "registry"), "--device", "cpu"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.read())
        _, _, used = os.wait4(process.pid, 0)
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "gib": round(used.ru_maxrss / 2**20, 2),
        **{key: said[key] for key in ("added", "unchanged", "count")},
    }


if __name__ == "__main__":
    main()
