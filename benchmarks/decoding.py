"""Measure the bytes a pixel that decoding a picture takes in each format, beside those that the budget counts.

    python benchmarks/decoding.py [--side 4000]

A gradient is written and opened in processes of their own; what is printed is how far the latter's peak rises.
"""

import argparse
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from mla_extend.images.budget import decoded_bytes
from mla_extend.images.open import STRIP_PIXELS, image_header, open_image

CASES = [("PNG", "L"), ("PNG", "RGB"), ("PNG", "RGBA"), ("TIFF", "RGB"), ("GIF", "L")]
CASES += [(kind, mode) for kind in ("WEBP", "AVIF", "HEIF", "JPEG2000") for mode in ("L", "RGB", "RGBA")]


def apart(work: Callable[[], object]) -> str:
    """Return what work in a process of its own returns."""
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, str(work()).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as pipe:
        return pipe.read()


def main() -> None:
    """Print a line a format and mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4_000)
    side = parser.parse_args().side

    def write(path: Path, kind: str, mode: str) -> None:
        grey = Image.linear_gradient("L").resize((side, side))
        channels = [grey.rotate(90 * turn) for turn in range(len(mode))]
        (Image.merge(mode, channels) if len(mode) > 1 else grey).save(path, kind)

    def peak(path: Path) -> float:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        open_image(path)
        return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / side**2

    with tempfile.TemporaryDirectory() as folder:
        for kind, mode in CASES:
            path = Path(folder) / f"{kind}-{mode}"
            apart(lambda path=path, kind=kind, mode=mode: write(path, kind, mode))
            image_header(path)  # all formats are known from now on, to the children too
            with Image.open(path) as image:
                opened = image.mode  # WebP knows no greys
            took = float(apart(lambda path=path: peak(path)))
            sides = (side, side)
            counted = decoded_bytes(sides, sides, opened, kind, progressive=False, copied=min(side**2, STRIP_PIXELS))
            print(f"{kind:9} {opened:5} {took:5.1f} measured {counted / side**2:5.1f} counted", flush=True)


if __name__ == "__main__":
    main()
