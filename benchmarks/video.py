"""Measure text-to-video retrieval on clips made of the demo's pictures, beside English and beside the pictures.

    python benchmarks/video.py --registry adapters [--language sw] [--concepts 150] [--write]

The registry holds the language. Of each half of the test set, the concepts that were taught and those that were not,
some are made into clips of three seconds:

- `moving`: the view goes into the picture of the test style and to a side;
- `faded`: one training style fades into the test style. The base has seen training styles, so that is easier;
- `stills`: no clip but the picture of the test style itself.

Every clip is encoded, kept, sampled and averaged as a user's video is.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from common import ROOT, markdown, put, save
from PIL import Image

from mla_extend import load_model
from mla_extend.bases.features import Features
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import parse_source
from mla_extend.data.test_sets import read_test_set
from mla_extend.demo.base import demo_images
from mla_extend.demo.data import demo_data
from mla_extend.demo.icons import IMAGE_SIZE, TEST_STYLE, TRAINING_STYLES
from mla_extend.demo.images import image_path
from mla_extend.evaluation.evaluate import evaluate_model
from mla_extend.images.video import FRAMES

KINDS = ("stills", "moving", "faded")
LENGTH, RATE = 30, 10
"""Frames of a clip, and frames a second."""
CROP = 0.4
"""Share of the side that is out of view at the end of a moving clip."""


def main() -> None:
    """Make the clips, look for them, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--language", default="sw")
    parser.add_argument("--concepts", type=int, default=150, help="taught, and as many that were not")
    parser.add_argument("--write", action="store_true", help="write the result, and its table into docs/video.md")
    arguments = parser.parse_args()
    language = arguments.language
    model = load_model("demo", arguments.registry)
    features = Features(model.base)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            test = write_test(Path(folder) / kind, kind, language, arguments.concepts)
            test_set = read_test_set(parse_source(test, ColumnMapping(language)))
            found[kind] = evaluate_model(model, language, test_set, features)["splits"]
    if arguments.write:
        save("video", {"language": language, "frames": FRAMES, "clip_frames": LENGTH, "kinds": found})
        put("video", f"{table(found)}\n\n{note(language)}", ROOT / "docs" / "video.md")
    print(table(found))


def write_test(folder: Path, kind: str, language: str, count: int) -> Path:
    """Write a test set of one kind, with the splits of the demo's; return its folder."""
    folder.mkdir()
    source = demo_data(language).test_set
    halves = {}
    for split in ("seen", "unseen"):
        lines = (source / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        # The lines are in the order of emoji, like beside like: some of all kinds are taken.
        rows = halves[split] = [json.loads(line) for line in lines[:: max(1, len(lines) // count)][:count]]
        for row in rows:
            row["video"] = str(source / row.pop("image"))
            if kind != "stills":
                code = Path(row["video"]).stem
                row["video"] = f"{code}.mp4"
                write_clip(folder / row["video"], kind, code)
    for split, rows in {**halves, "all": halves["seen"] + halves["unseen"]}.items():
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(content, encoding="utf-8")
    return folder


def write_clip(path: Path, kind: str, code: str) -> None:
    """Encode one clip of a concept."""
    with av.open(str(path), "w") as container:
        # MPEG-4 is in every build of FFmpeg.
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width = stream.height = IMAGE_SIZE
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        for image in moving(code) if kind == "moving" else faded(code):
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())


def moving(code: str) -> Iterator[Image.Image]:
    """Give the frames of a clip that goes into the picture, to the right and a little down."""
    image = picture(TEST_STYLE, code)
    for part in parts():
        hidden = CROP * part * IMAGE_SIZE
        left, top = 0.8 * hidden, 0.6 * hidden
        box = (left, top, left + IMAGE_SIZE - hidden, top + IMAGE_SIZE - hidden)
        yield image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def faded(code: str) -> Iterator[Image.Image]:
    """Give the frames of a clip that fades from a training style into the test style."""
    first, last = picture(TRAINING_STYLES[0], code), picture(TEST_STYLE, code)
    for part in parts():
        yield Image.blend(first, last, part)


def parts() -> Iterator[float]:
    """Give the place of each frame, from 0 to 1."""
    return (number / (LENGTH - 1) for number in range(LENGTH))


def picture(style: str, code: str) -> Image.Image:
    """Return a concept's picture."""
    with Image.open(image_path(demo_images(), style, code)) as image:
        return image.convert("RGB")


def note(language: str) -> str:
    """Say what the table is of."""
    return (
        f"{language}, in per cent; mean recall over R@1, R@5 and R@10 in both directions, beside the base's English "
        f"on the same clips. Clips of {LENGTH} frames, of which {FRAMES} are taken; galleries in brackets."
    )


def table(found: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    rows = []
    for kind, splits in found.items():
        for split, report in splits.items():
            recalls = [f"{100 * report['metrics'][f'image_retrieval_recall@{k}']:.1f}" for k in (1, 5, 10)]
            means = [f"{100 * report[name]:.1f}" for name in ("mean_recall", "native_mean_recall")]
            rows.append([f"{kind}, {split} ({report['gallery']})", *recalls, *means, f"{report['ratio']:.3f}"])
    return markdown(["clips", "R@1", "R@5", "R@10", "mean recall", "English", "ratio"], rows)


if __name__ == "__main__":
    main()
