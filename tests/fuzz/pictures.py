"""Damage small pictures of each format, and look that opening them ends soon, takes little and raises ImageError alone.

    python tests/fuzz/pictures.py [--seconds N] [--seed N] [--keep FOLDER]

Bytes are flipped, cut, inserted, spliced from another picture of the format, and lengths set to odd values; PNG's own
checksums are put right again. Each lot is opened in a process of its own. Ends with 1 where something was found.
"""

import argparse
import io
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from mla_extend.errors import ImageError
from mla_extend.images.open import FORMATS, _formats, image_header, open_image

LOT = 40
MOST_SECONDS = 10.0
"""Of the processor, for one picture."""
MOST_BYTES = 1 << 30
ODD = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 20_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def seeds() -> dict[str, list[bytes]]:
    """Return small sound pictures of each format that can be written here."""
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48))
    scene = Image.fromarray((np.stack([x, y, x * y], -1) * 200 + 20).astype(np.uint8))
    clear = scene.convert("RGBA")
    clear.putalpha(100)
    deep = Image.fromarray((x * 65_535).astype(np.uint16))
    shown = [scene, clear, deep, *map(scene.convert, ("L", "1", "P", "CMYK"))]
    exif = Image.Exif()
    exif[0x112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kinds = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ways = [{}, {"exif": exif, "icc_profile": profile}, {"save_all": True, "append_images": [scene.rotate(90)]}]
    ways += [{"progressive": True, "lossless": True, "transparency": 3}, *({"compression": kind} for kind in kinds)]
    found: dict[str, list[bytes]] = {}
    for kind in sorted(set(_formats()) & Image.SAVE.keys()):
        for image in shown:
            for way in ways if image is scene else ways[:1]:
                stream = io.BytesIO()
                try:
                    image.save(stream, kind, **way)
                except (OSError, ValueError, KeyError, RuntimeError):  # not of this mode, or not with this
                    continue
                found.setdefault(kind, []).append(stream.getvalue())
    return found


def damaged(draw: random.Random, pictures: list[bytes]) -> bytes:
    """Return one of some pictures, damaged in a few places."""
    content = bytearray(draw.choice(pictures))
    for _ in range(draw.choice([1, 1, 1, 2, 3, 6])):
        at = draw.randrange(min(len(content), 400) if draw.random() < 0.6 else len(content))
        draw.choice(WAYS)(draw, content, at, pictures)
        content = content or bytearray(b"\0")
    return sealed(bytes(content)) if content.startswith(b"\x89PNG") and draw.random() < 0.7 else bytes(content)


def flip(draw: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    content[at] ^= 1 << draw.randrange(8)


def cut(draw: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    del content[draw.randrange(len(content)) :]


def take_out(draw: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    del content[at : at + draw.randrange(1, 40)]


def insert(draw: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    content[at:at] = draw.randbytes(draw.randrange(1, 40))


def splice(draw: random.Random, content: bytearray, at: int, pictures: list[bytes]) -> None:
    other, length = draw.choice(pictures), draw.randrange(1, 200)
    start = draw.randrange(len(other))
    content[at : at + length] = other[start : start + length]


def set_number(draw: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    shape = draw.choice(["<I", ">I", "<H", ">H"])
    number = struct.pack(shape, draw.choice(ODD) & (0xFFFFFFFF if shape[1] == "I" else 0xFFFF))
    content[at : at + len(number)] = number


def set_digits(draw: random.Random, content: bytearray, at: int, _: list[bytes]) -> None:
    content[at : at + 1] = draw.choice([b"9" * draw.randrange(1, 12), b"-1", b"#", b"\n", b"1e9", b" "])


WAYS: list[Callable[[random.Random, bytearray, int, list[bytes]], None]] = [
    flip, flip, cut, take_out, insert, splice, set_number, set_number, set_digits,
]  # fmt: skip


def sealed(content: bytes) -> bytes:
    """Return a PNG whose parts have right checksums, so that damage comes further than these."""
    found, at = content[:8], 8
    while at + 12 <= len(content) and (end := at + 12 + int.from_bytes(content[at : at + 4], "big")) <= len(content):
        found += content[at : end - 4] + zlib.crc32(content[at + 4 : end - 4]).to_bytes(4, "big")
        at = end
    return found + content[at:]


def look(lot: list[bytes], writing: int) -> None:
    """Open pictures, and write after each what is wrong, if anything is."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    for content in lot:
        began, wrong = time.process_time(), ""
        for open_it in (open_image, image_header, lambda some: open_image(some, least_side=64, few_pixels=0)):
            try:
                open_it(content)
            except ImageError:
                pass
            except BaseException as error:  # noqa: BLE001 - it is told
                wrong = f"raises {type(error).__name__}"
        if time.process_time() - began > MOST_SECONDS:
            wrong = "takes long"
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MOST_BYTES:
            wrong = "takes much memory"
        os.write(writing, f"{wrong}\n".encode())
        if wrong == "takes much memory":
            break  # the process has this peak from now on


def main() -> None:
    """Damage pictures for a while, and tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="where what is found is written")
    arguments = parser.parse_args()
    draw, known, tried, found = random.Random(arguments.seed), seeds(), Counter[str](), 0
    print("Not written here, so not tried:", *(sorted(set(FORMATS) - known.keys()) or ["none"]))
    end = time.monotonic() + arguments.seconds
    while time.monotonic() < end:
        kind = draw.choice(list(known))
        lot = [damaged(draw, known[kind]) for _ in range(LOT)]
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(int(MOST_SECONDS * LOT))
            look(lot, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read().splitlines()
        _, status = os.waitpid(child, 0)
        said += [f"ends the process with {status}"] if status else []
        for number, wrong in enumerate(said):
            if wrong:
                found += 1
                path = arguments.keep / f"{kind}-{arguments.seed}-{found}.bin"
                path.write_bytes(lot[number])
                print(f"{kind}: {path} {wrong}", flush=True)
        tried[kind] += len(said)
    print(
        f"{sum(tried.values()):,} pictures, {found} found:", ", ".join(f"{k} {n:,}" for k, n in sorted(tried.items()))
    )
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
