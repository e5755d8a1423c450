"""Measure the checks of the data: what they take from sound data, what they find in spoilt copies, and their cost.

    python benchmarks/doctor.py [--write] [--rows 1000000]

Sound data are the demo's in some languages and, where it lies in `../shared/data/multi30k` beside the checkout,
Multi30K in German and Czech. A tenth of the rows of each is spoilt in one way at a time. Recall is the share of
spoilt rows that are dropped; precision the share of spoilt rows among those dropped.
"""

import argparse
import gzip
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, machine, save
from PIL import Image

from mla_extend.data.doctor import examine
from mla_extend.data.leaks import LeakIndex
from mla_extend.demo.data import demo_data

LANGUAGES = ("sw", "de", "am", "ja", "cy", "ar", "zh", "sr", "uz", "hi")
MULTI30K = ROOT.parent / "shared" / "data" / "multi30k"
SPOILT = 0.1

Pairs = list[tuple[str, str]]
"""Target and native text."""


def main() -> None:
    """Measure, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="save benchmarks/results/doctor.json")
    parser.add_argument("--rows", type=int, default=1_000_000, help="pairs of the timing")
    parser.add_argument("--time-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time_only:
        print(json.dumps(cost(options.rows)))
        return
    # Peak memory is that of a process, so the timing has one of its own.
    program = [sys.executable, __file__, "--time-only", "--rows", str(options.rows)]
    timing = json.loads(subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout)
    corpora = {f"demo {language}": (language, demo_pairs(language)) for language in LANGUAGES}
    corpora |= {f"multi30k {language}": (language, multi30k("train", language)) for language in ("de", "cs")}
    corpora = {name: corpus for name, corpus in corpora.items() if corpus[1]}
    others = {language: demo_pairs(language) for language in ("am", "de", "sw")}
    result = {
        "sound": {name: sound(*corpus) for name, corpus in corpora.items()},
        "spoilt": {name: spoilt(*corpus, others) for name, corpus in corpora.items()},
        "leaked_texts": {language: leaked_texts(language) for language in ("de", "cs") if multi30k("train", language)},
        "leaked_images": leaked_images(),
        "cost": timing,
        "machine": machine(),
    }
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if options.write:
        save("doctor", result)


def demo_pairs(language: str) -> Pairs:
    """Return the demo's parallel text."""
    lines = demo_data(language).parallel.read_text(encoding="utf-8").splitlines()
    return [(line.split("\t")[1], line.split("\t")[0]) for line in lines]


def multi30k(part: str, language: str) -> Pairs:
    """Return Multi30K's captions, or nothing where it is not there."""
    if not (MULTI30K / f"{part}.{language}.gz").is_file():
        return []
    texts = [gzip.decompress((MULTI30K / f"{part}.{code}.gz").read_bytes()).decode() for code in (language, "en")]
    return list(zip(*(text.rstrip("\n").split("\n") for text in texts), strict=True))


def check(language: str, pairs: Pairs, level: str = "default") -> Any:
    """Return the findings on pairs."""
    return examine([a for a, _ in pairs], [b for _, b in pairs], language=language, level=level)


def sound(language: str, pairs: Pairs) -> dict[str, Any]:
    """Return what each level takes from sound data."""
    result: dict[str, Any] = {"rows": len(pairs)}
    for level in ("default", "strict"):
        findings = check(language, pairs, level)
        result[level] = {
            "lost": round(1 - float(findings.kept.mean()), 5),
            **{name: count for name, count in findings.counts().items() if count},
        }
    return result


def spoilt(language: str, pairs: Pairs, others: dict[str, Pairs]) -> dict[str, Any]:
    """Return recall and precision for each way of spoiling."""
    rng = random.Random(0)
    chosen = sorted(rng.sample(range(len(pairs)), round(SPOILT * len(pairs))))
    spoilt_rows = set(chosen)
    foreign = [target for target, _ in others["sw" if language == "de" else "de"] if len(target) > 30]
    script = [target for target, _ in others["sw" if language == "am" else "am"]]

    def other(row: int) -> int:
        return (row + len(pairs) // 2) % len(pairs)

    def before(row: int) -> int:
        """Return a sound row above, so that the spoilt one is the repetition."""
        return next((i for i in range(row // 2, -1, -1) if i not in spoilt_rows), row)

    ways: dict[str, tuple[str, Callable[[int], tuple[str, str]]]] = {
        "punctuation alone": ("empty", lambda i: ("...", pairs[i][1])),
        "row again, in capitals": ("duplicate", lambda i: (pairs[before(i)][0].upper(), f" {pairs[before(i)][1]} ")),
        "untranslated": ("copy", lambda i: (pairs[i][1], pairs[i][1])),
        "UTF-8 read as Latin-1": ("mojibake", lambda i: (_reread(pairs[i][0], "latin-1"), pairs[i][1])),
        "UTF-8 read as Windows-1252": ("mojibake", lambda i: (_reread(pairs[i][0], "cp1252"), pairs[i][1])),
        "another script": ("wrong_script", lambda i: (rng.choice(script), pairs[i][1])),
        "another language": ("wrong_language", lambda i: (rng.choice(foreign), pairs[i][1])),
        "English of another row": ("wrong_language", lambda i: (pairs[other(i)][1], pairs[i][1])),
        "shifted by a row": ("length_ratio", lambda i: (pairs[i - 1][0], pairs[i][1])),
        "cut to a quarter": ("length_ratio", lambda i: (pairs[i][0][: -(-len(pairs[i][0]) // 4)], pairs[i][1])),
    }
    result = {}
    for way, (problem, spoil) in ways.items():
        copy = list(pairs)
        for i in chosen:
            copy[i] = spoil(i)
        changed = np.array([a != b for a, b in zip(copy, pairs, strict=True)])
        findings = check(language, copy)
        dropped = ~findings.kept
        hits = int((dropped & changed).sum())
        named = findings.counts()[problem] if problem != "duplicate" else hits
        result[way] = {
            "spoilt": int(changed.sum()),
            "recall": round(hits / max(1, int(changed.sum())), 4),
            "precision": round(hits / max(1, int(dropped.sum())), 4),
            "problem": problem,
            "under_it": named,
        }
    return result


def _reread(text: str, encoding: str) -> str:
    return text.encode("utf-8").decode(encoding, errors="replace")


def leaked_texts(language: str) -> dict[str, Any]:
    """Return how many of Multi30K's training rows are taken for test sentences, and of test sentences, changed."""
    tests = [
        target for part in ("test_2016_flickr", "test_2018_flickr") for target, _ in multi30k(part, language) if target
    ]
    training = [target for target, _ in multi30k("train", language)]
    index, rng = LeakIndex(tests), random.Random(0)

    def without(text: str) -> str:
        words = text.split()
        words[rng.randrange(len(words))] = "Kamel"
        return " ".join(words)

    ways = {
        "as they are": tests,
        "in capitals, without punctuation": [text.upper().replace(".", "").replace(",", "") for text in tests],
        "one word replaced": [without(text) for text in tests],
    }
    found = {way: round(float(index.texts(texts).mean()), 4) for way, texts in ways.items()}
    return {"tests": len(tests), "training": len(training), "leaked": int(index.texts(training).sum()), "found": found}


def leaked_images() -> dict[str, Any]:
    """Return how many of the demo's training pictures are taken for test pictures, and of test pictures, re-encoded."""
    data = demo_data("sw")
    training = _paths(data.image_text)
    tests = _paths(data.test_set / "all.jsonl")
    index = LeakIndex([], images=tests)
    chosen = random.Random(0).sample(tests, 300)
    found = {"as they are": round(float(index.images(chosen).mean()), 4)}
    ways = {
        "JPEG, quality 75": lambda image: _coded(image, "JPEG", 75),
        "JPEG, quality 30": lambda image: _coded(image, "JPEG", 30),
        "WebP, quality 50": lambda image: _coded(image, "WEBP", 50),
        "half the size": lambda image: _coded(image.resize((112, 112)), "PNG", None),
        "twice the size": lambda image: _coded(image.resize((448, 448)), "PNG", None),
        "2 % cut off each side": lambda image: _coded(image.crop((4, 4, 220, 220)), "PNG", None),
    }
    with tempfile.TemporaryDirectory() as folder:
        for way, coded in ways.items():
            copies = [Path(folder) / f"{number}.picture" for number in range(len(chosen))]
            for path, copy in zip(chosen, copies, strict=True):
                with Image.open(path) as opened:
                    image = Image.new("RGBA", opened.size, "white")
                    image.alpha_composite(opened.convert("RGBA"))
                copy.write_bytes(coded(image.convert("RGB")))
            found[way] = round(float(index.images(copies).mean()), 4)
    return {
        "tests": len(tests),
        "training": len(training),
        "leaked": int(index.images(training).sum()),
        "found": found,
    }


def _paths(rows: Path) -> list[Path]:
    lines = rows.read_text(encoding="utf-8").splitlines()
    return sorted({(rows.parent / json.loads(line)["image"]).resolve() for line in lines})


def _coded(image: Image.Image, form: str, quality: int | None) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **({} if quality is None else {"quality": quality}))
    return file.getvalue()


def cost(rows: int) -> dict[str, Any]:
    """Return the time and the memory for so many pairs: Multi30K's German or the demo's, numbered to differ."""
    pairs = multi30k("train", "de") or demo_pairs("de")
    tests, training = pairs[: min(5000, len(pairs) // 4)], pairs[min(5000, len(pairs) // 4) :]
    numbered = [(training[i % len(training)], i // len(training)) for i in range(rows)]
    target = [f"{pair[0]} {number}" for pair, number in numbered]
    native = [f"{pair[1]} {number}" for pair, number in numbered]
    del numbered
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    leaked = LeakIndex([a for a, _ in tests], [b for _, b in tests]).texts(target, native)
    leaks_done = time.monotonic()
    examine(target, native, language="de", leaked=leaked)
    return {
        "rows": rows,
        "tests": len(tests),
        "leaks_seconds": round(leaks_done - started, 1),
        "checks_seconds": round(time.monotonic() - leaks_done, 1),
        "texts_mib": round(before / 1024),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
