"""Time exact ranks in both directions on a big gallery, and the memory that they take.

    python benchmarks/ranks.py [--images 100000] [--width 512] [--write]

Each image has one text, whose vector is the image's with noise, so that ranks go from the first to the last. A sample
of them is checked against double precision. The number of threads is that of NumPy's BLAS (`OMP_NUM_THREADS`).
"""

import argparse
import os
import resource
import sys
import time

import numpy as np
from common import machine, save
from numpy.typing import NDArray

from mla_extend.evaluation.recall import RetrievalResult, evaluate_retrieval
from mla_extend.ranks import TIE

CHECKED = 200
NOISE = 6.0
Vectors = NDArray[np.float32]


def main() -> None:
    """Make a gallery, rank it, check a sample, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/ranks.json")
    arguments = parser.parse_args()
    images, texts, owner = gallery(arguments.images, arguments.width)
    started, spent = time.monotonic(), time.process_time()
    result = evaluate_retrieval(images, texts, owner)
    seconds, cpu = time.monotonic() - started, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = {
        "images": len(images),
        "texts": len(texts),
        "width": images.shape[1],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_memory_bytes": peak,
        "mean_recall": round(result.mean_recall, 4),
        "checked": check(result, images, texts, owner),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "machine": machine(),
    }
    if arguments.write:
        save("ranks", found)
    print(found)


def gallery(count: int, width: int) -> tuple[Vectors, Vectors, NDArray[np.int64]]:
    """Return vectors of images and texts `[count, width]`, and each text's image, in another order."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((count, width), dtype=np.float32)
    owner = generator.permutation(count)
    texts = images[owner]
    texts += np.float32(NOISE) * generator.standard_normal((count, width), dtype=np.float32)
    return images, texts, owner


def check(result: RetrievalResult, images: Vectors, texts: Vectors, owner: NDArray[np.int64]) -> int:
    """Compare a sample of the ranks of both directions with those in double precision; return how many.

    A rank lies between that without any slack for ties and that with twice the slack.
    """
    sample = np.random.default_rng(1).choice(len(texts), min(CHECKED, len(texts)), replace=False)
    text_of_image = np.argsort(owner)
    for ranks, queries, items, correct in (
        (result.t2i_ranks, texts, images, owner),
        (result.i2t_ranks, images, texts, text_of_image),
    ):
        rows = queries[sample].astype(np.float64)
        scores = (rows @ items.T) / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(items, axis=1)
        own = scores[np.arange(len(sample)), correct[sample]][:, None]
        least, most = (scores >= own).sum(axis=1), (scores >= own - 2 * TIE).sum(axis=1)
        if not ((least <= ranks[sample]) & (ranks[sample] <= most)).all():
            raise SystemExit("Ranks differ from those in double precision.")
    return 2 * len(sample)


if __name__ == "__main__":
    main()
