"""Measure what languages cost where a model serves them: the text tower of CLIP ViT-B/32, random weights.

    python benchmarks/serving_cost.py [--languages 100] [--write]

- an active language beside the bare text tower: the same ids, 64 rows;
- 64 texts in eight languages beside the same texts in one;
- with all languages loaded: the time to encode one text in the language of the text before, and in another one; to
  add, remove and load a language, from a folder and from a registry, which checks its files first;
- the memory of a loaded language beside the size of its file.

What is compared is timed in turns, and the medians are given. The languages are copies of one, as a default recipe
builds it from 29,000 pairs of made-up words (`full_size.py`).
"""

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from common import machine, markdown, put, save
from full_size import PAGE, PAIRS, pairs

from mla_extend.bases.open import open_base
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.language.tokenizer import LanguageTokenizer, pad
from mla_extend.registry.card import Card
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.store import Registry
from mla_extend.training.recipe import load_recipe

BATCH, TOKENS, MIXED = 64, 16, 8
REPEATS = 9
MILLISECOND = 1e-3


def main() -> None:
    """Measure, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", type=int, default=100, help="languages that are loaded")
    parser.add_argument("--write", action="store_true", help="save the results and put the table into the page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maker = Path(__file__).with_name("full_size.py")
        subprocess.run([sys.executable, str(maker), "--make", "clip", str(folder / "base")], check=True)
        result = {**serve(folder, options.languages), "machine": machine()}
    print(result)
    print(table(result))
    if options.write:
        save("serving_cost", result)
        put("serving-cost", f"{table(result)}\n\nMeasured on {result['machine']}.", PAGE)


def serve(folder: Path, count: int) -> dict[str, Any]:
    """Return all figures.

    Args:
        folder: holds `base`, the base's folder, and takes the adapter and a registry.
        count: languages that are loaded.
    """
    bottleneck = load_recipe("default").acquirer.bottleneck
    texts = [target for _, target in pairs(PAIRS)]
    base = open_base(str(folder / "base"))
    tokenizer = LanguageTokenizer.train(texts, base.max_tokens)
    home = Registry(folder / "registry").create(base.identity)
    model = RegistryModel(base, home)
    adapter = folder / "adapter"
    adapter.mkdir()
    model.add("xaa", tokenizer=tokenizer, bottleneck=bottleneck)
    fill(model, "xaa")
    model.save("xaa", adapter)
    publish(model, home, "xaa")
    model.remove("xaa")
    tags = [tag(number) for number in range(count)]
    gc.collect()
    before = psutil.Process().memory_info().rss
    for name in tags:
        model.load(name, adapter)
    gc.collect()
    memory = (psutil.Process().memory_info().rss - before) / count
    return {
        "languages": count,
        "bottleneck": bottleneck,
        "vocabulary": tokenizer.size,
        "batch": [BATCH, TOKENS],
        "active": active(model, str(folder / "base"), tags[0], tokenizer.size),
        "mixed": mixed(model, texts[:BATCH], tags[:MIXED]),
        "switching": switching(model, texts[0], tags),
        "changing": changing(model, adapter, tokenizer, bottleneck),
        "memory_bytes": round(memory),
        "file_bytes": (adapter / "adapter_model.safetensors").stat().st_size,
        "folder_bytes": sum(path.stat().st_size for path in adapter.iterdir()),
    }


def tag(number: int) -> str:
    """Return the code of a language: private ones, which stand for no real language."""
    return f"q{chr(97 + number // 26)}{chr(97 + number % 26)}"


def fill(model: MultilingualModel, name: str) -> None:
    """Draw what a language would have learned: an empty table and identity acquirers would be special cases."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in adapter_tensors(model.peft, model.language(name).adapter).values():
            tensor.normal_(std=0.02)


def publish(model: RegistryModel, home: Any, name: str) -> None:
    """Put the language into the registry."""
    staged = home.work_folder(name) / "version"
    staged.mkdir()
    model.save(name, staged)
    card = Card(name, name, vars(model.base.identity), {}, [], {}, {}, 0, {"seconds": 0, "peak_memory_bytes": 0}, 0)
    home.publish(name, staged, card, prove=lambda _: {"ok": True})


def in_turns(*works: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    """Return the median seconds of each of several works, done one after the other again and again."""
    taken: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for place, work in enumerate(works):
            started = time.perf_counter()
            work()
            if repeat:  # the first round warms up
                taken[place].append(time.perf_counter() - started)
    return [statistics.median(times) for times in taken]


@torch.no_grad()
def active(model: MultilingualModel, source: str, name: str, vocabulary: int) -> dict[str, float]:
    """Time the bare text tower, the native path of one that holds languages, and an active language."""
    bare = MultilingualModel(open_base(source))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, vocabulary, (BATCH, TOKENS), generator=generator)
    batch = pad(ids.tolist())

    def with_language() -> None:
        with model.tuner.route([model.language(name).adapter] * BATCH):
            model.forward(batch)

    def native() -> None:
        with model.native_path():
            model.forward(batch)

    one, two, three = in_turns(lambda: bare.forward(batch), native, with_language)
    return {
        "bare_seconds": round(one, 4),
        "native_seconds": round(two, 4),
        "language_seconds": round(three, 4),
        "overhead": round(three / one - 1, 4),
    }


def mixed(model: MultilingualModel, texts: Sequence[str], tags: Sequence[str]) -> dict[str, float]:
    """Time texts in one language and, the same ones, in several."""
    several = [tags[number % len(tags)] for number in range(len(texts))]
    one, many = in_turns(lambda: model.encode_text(texts, tags[0]), lambda: model.encode_text(texts, several))
    return {"one_seconds": round(one, 4), "mixed_seconds": round(many, 4), "throughput": round(one / many, 3)}


def switching(model: MultilingualModel, text: str, tags: Sequence[str]) -> dict[str, float]:
    """Time one text in the language of the text before, and in one language after the other."""
    turn = iter(tags * (REPEATS + 1))
    same, other = in_turns(
        lambda: model.encode_text([text], tags[0]),
        lambda: model.encode_text([text], next(turn)),
        repeats=4 * REPEATS if len(tags) >= 4 else REPEATS,
    )
    return {"same_seconds": round(same, 5), "other_seconds": round(other, 5)}


def changing(model: RegistryModel, adapter: Path, tokenizer: LanguageTokenizer, bottleneck: int) -> dict[str, float]:
    """Time what brings one more language in and takes it out again, beside all that are loaded."""
    steps: dict[str, Callable[[], Any]] = {
        "add": lambda: model.add("xaa", tokenizer=tokenizer, bottleneck=bottleneck),
        "remove": lambda: model.remove("xaa"),
        "load": lambda: model.load("xaa", adapter),
        "remove again": lambda: model.remove("xaa"),
        "load from the registry": lambda: model.require("xaa"),
        "remove once more": lambda: model.remove("xaa"),
    }
    times = dict(zip(steps, in_turns(*steps.values()), strict=True))
    return {name: round(seconds, 4) for name, seconds in times.items() if "again" not in name and "once" not in name}


def table(result: dict[str, Any]) -> str:
    """Return the table of all figures, beside what is wanted."""
    active_, mixed_, switch, change = (result[name] for name in ("active", "mixed", "switching", "changing"))
    rows, tokens = result["batch"]
    count = result["languages"]
    lines = [
        [
            f"an active language over the bare text tower, {rows} rows of {tokens} ids",
            f"{100 * active_['overhead']:+.1f} %",
            "at most +10 %",
        ],
        [
            f"{rows} texts in {MIXED} languages against one, throughput",
            f"{mixed_['throughput']:.2f}",
            "at least 0.7",
        ],
        [
            f"one text in another of {count} loaded languages, over the same again",
            _ms(switch["other_seconds"] - switch["same_seconds"]),
            "under 50 ms",
        ],
        *(
            [f"{what}, {count} loaded", _ms(change[what]), "under 50 ms"]
            for what in ("add", "remove", "load", "load from the registry")
        ),
        [
            "memory of a loaded language / size of its weights' file",
            f"{result['memory_bytes'] / 2**20:.1f} / {result['file_bytes'] / 2**20:.1f} MiB",
            "",
        ],
    ]
    return markdown(["", "measured", "wanted"], lines)


def _ms(seconds: float) -> str:
    return f"{seconds / MILLISECOND:.1f} ms"


if __name__ == "__main__":
    main()
