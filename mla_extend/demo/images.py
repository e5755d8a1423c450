"""Draw the demo's pictures and pass them through the image tower, in several processes.

Drawing holds Python's lock, and a second thread gains a convolution this small little; so each process draws and
encodes chunks of its own with one thread. What a chunk holds does not depend on how many processes there are, so
neither do the features. Shapes: `N` pictures, `F` features.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.demo.icons import IMAGE_SIZE, draw
from mla_extend.errors import BaseError
from mla_extend.platform import cores
from mla_extend.progress import SILENT, Progress

CHUNK = 4
"""Pictures a batch: more do not fit a processor's cache and take up to three times as long each."""
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of red, green and blue between 0 and 1: what the published tower was trained with."""
TOWER_FILE = "tower.safetensors"

Array = NDArray[np.float32]
Job = list[tuple[str, str]]
"""Pictures to draw: the path inside the folder, and the SVG text."""


@dataclass
class Worker:
    """Hold one drawing process and where it complains."""

    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]


def image_path(folder: Path, style: str, code: str) -> Path:
    """Return the place of one picture."""
    return folder / style / f"{code}.png"


def build_images(
    folder: Path,
    drawings: Mapping[str, Mapping[str, str]],
    tower_config: Mapping[str, Any],
    tower_state: Mapping[str, Any],
    progress: Progress = SILENT,
) -> None:
    """Draw and encode: write `STYLE/CODE.png`, `STYLE/features.npy` `[N, F]` and `STYLE/names.json`.

    Args:
        folder: an empty folder.
        drawings: SVG text by style and code.
        tower_config: configuration of the image tower.
        tower_state: its weights.
        progress: told of each chunk.

    Raises:
        BaseError: a process that draws failed; the message has its last words.
    """
    from safetensors.torch import save_file  # noqa: PLC0415 - workers draw before torch is there

    job: Job = []
    for style, svgs in drawings.items():
        (folder / style).mkdir()
        job += [(image_path(Path(), style, code).as_posix(), svg) for code, svg in svgs.items()]
    save_file(dict(tower_state), folder / TOWER_FILE)
    count = max(1, min(-(-len(job) // CHUNK), cores(), 16))
    progress.start("Drawing and encoding pictures", total=len(job), unit="pictures")
    try:
        with _workers(folder, tower_config, job, count) as workers:
            for chunk in range(-(-len(job) // CHUNK)):
                worker = workers[chunk % count]
                assert worker.process.stdout is not None
                line = worker.process.stdout.readline()
                if not line.strip().isdigit():
                    raise _failure(worker)
                progress.advance(int(line))
            for worker in workers:
                if worker.process.wait() != 0:
                    raise _failure(worker)
    finally:
        progress.finish()
    (folder / TOWER_FILE).unlink()
    _gather(folder, {style: list(svgs) for style, svgs in drawings.items()}, count)


def draw_and_encode(folder: Path, index: int, config: Mapping[str, Any], chunks: list[Job]) -> Iterator[int]:
    """Do one process's share; yield how many pictures each step did, and leave the features in `part-INDEX.npy`."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    from mla_extend.bases.efficientnet_lite import EfficientNetLite  # noqa: PLC0415

    torch.set_num_threads(1)
    tower = EfficientNetLite(config).eval()
    tower.load_state_dict(load_file(folder / TOWER_FILE))
    tower.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = []
    for chunk in chunks:
        pixels = []
        for name, svg in chunk:
            png = draw(svg)
            (folder / name).write_bytes(png)
            pixels.append(_pixels(png))
        with torch.inference_mode():
            parts.append(tower(torch.from_numpy(np.stack(pixels))).numpy())
        yield len(chunk)
    np.save(folder / f"part-{index}.npy", np.concatenate(parts))


def _pixels(png: bytes) -> Array:
    """Return what the base's image processor makes of a picture that has the right size already: `[3, H, W]`."""
    from PIL import Image  # noqa: PLC0415

    with Image.open(io.BytesIO(png)) as image:
        values = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
    assert values.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    normalised = (values - np.asarray(MEAN, dtype=np.float32)) / np.asarray(DEVIATION, dtype=np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1), dtype=np.float32)


def _gather(folder: Path, codes: Mapping[str, list[str]], count: int) -> None:
    """Put the processes' features back into the order of the pictures, one file a style."""
    total = sum(len(names) for names in codes.values())
    parts = [folder / f"part-{k}.npy" for k in range(count)]
    rows = np.concatenate([np.arange(total)[np.arange(total) // CHUNK % count == k] for k in range(count)])
    features = np.concatenate([np.load(part) for part in parts])[np.argsort(rows)]
    start = 0
    for style, names in codes.items():
        np.save(folder / style / "features.npy", features[start : start + len(names)])
        (folder / style / "names.json").write_text(json.dumps([f"{code}.png" for code in names]), encoding="utf-8")
        start += len(names)
    for part in parts:
        part.unlink()


@contextlib.contextmanager
def _workers(folder: Path, config: Mapping[str, Any], job: Job, count: int) -> Iterator[list[Worker]]:
    chunks = [job[start : start + CHUNK] for start in range(0, len(job), CHUNK)]
    workers: list[Worker] = []
    try:
        for index in range(count):
            command = [sys.executable, "-P", "-m", "mla_extend.demo.images", str(folder), str(index)]
            errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, with its process
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
            workers.append(Worker(process, errors))
            share = json.dumps({"config": dict(config), "chunks": chunks[index::count]}).encode()
            assert process.stdin is not None
            # A process that is dead already says why on its error stream, which is read below.
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(share)
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            if worker.process.stdout is not None:
                worker.process.stdout.close()
            worker.errors.close()


def _failure(worker: Worker) -> BaseError:
    code = worker.process.wait()
    worker.errors.seek(0)
    lines = worker.errors.read().decode(errors="replace").strip().splitlines()
    return BaseError(
        f"A process that draws the demo's pictures ended with code {code}: {lines[-1] if lines else 'no message'}. "
        "Try again (downloads are kept); if it was killed, give it more memory."
    )


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    for done in draw_and_encode(Path(sys.argv[1]), int(sys.argv[2]), asked["config"], asked["chunks"]):
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
