"""Set translate-then-search beside a language of its own: Apertium reads the demo's test captions into English.

    sudo apt-get install apertium apertium-eng-spa apertium-eng-cat
    python benchmarks/translate.py [--languages es ca] [--recipe default] [--write]

Apertium is a free engine of rules and dictionaries, and Debian packages it; the packages of further languages stand in
`ENGINES`. It runs as a server would keep it: one pipeline that stays open, a caption at a time, so that no caption is
read in the light of another. It marks the words that it does not know with `*`; they stay in the query as they are,
without the mark (leaving them out reads lower). Ours is what `add-language` makes of the demo's data, and
`compare --translations` sets the two side by side on the same images.

A query is timed as it is served, one caption at a time, the two systems in turns: translating and encoding in English
against encoding in the language. Memory is what each adds to a process that holds the base: the language, loaded and
used, and the processes of the pipeline.
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import PAGE, SPLITS, load, machine, markdown, put, save
from figures import command

from mla_extend.demo.data import demo_data
from mla_extend.registry.load import load_model

MODES = Path("/usr/share/apertium/modes")
ENGINES = {
    "es": ("apertium-eng-spa", "spa-eng"),
    "ca": ("apertium-eng-cat", "cat-eng"),
    "gl": ("apertium-en-gl", "gl-en"),
    "eu": ("apertium-eu-en", "eu-en"),
    "is": ("apertium-isl-eng", "isl-eng"),
    "mk": ("apertium-mkd-eng", "mkd-eng"),
}
"""The Debian package and the direction of each language that has one into English."""
TIMED = 300
WARM_UP = 20
UNKNOWN = re.compile(r"\*(\S*)")


class Apertium:
    """Translate one text after another through a pipeline that stays open.

    Args:
        mode: the direction, `spa-eng`.
    """

    def __init__(self, mode: str) -> None:
        steps = (MODES / f"{mode}.mode").read_text(encoding="utf-8").split("|")
        # Each step is to answer at the end of a text (a zero byte), and to write what it has: some keep it otherwise.
        pipeline = "|".join(re.sub(r"^(\s*\S+)", r"\1 -z", step) for step in steps)
        program = ["stdbuf", "-o0", "bash", "-c", pipeline, "apertium", "-g", ""]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __call__(self, text: str) -> str:
        """Return the translation, unknown words behind `*`."""
        source, result = self._process.stdin, self._process.stdout
        assert source is not None
        assert result is not None
        source.write(re.sub(r"([][{}^$/\\@<>])", r"\\\1", text).encode() + b"\0")
        source.flush()
        found = bytearray()
        while (byte := result.read(1)) != b"\0":
            if not byte:
                raise SystemExit(f"Apertium ended at {text!r}.")
            found += byte
        return re.sub(r"\\(.)", r"\1", found.decode())

    def memory(self) -> int:
        """Return the bytes that the pipeline's processes hold for themselves."""
        return sum(child.memory_full_info().uss for child in psutil.Process(self._process.pid).children(recursive=True))

    def close(self) -> None:
        """End the pipeline."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def check(languages: Sequence[str]) -> None:
    """Stop, with what to install, unless Apertium can translate all of them."""
    unknown = [tag for tag in languages if tag not in ENGINES]
    if unknown:
        raise SystemExit(f"No Apertium pair into English is known for {', '.join(unknown)}: there are {list(ENGINES)}.")
    missing = [ENGINES[tag][0] for tag in languages if not (MODES / f"{ENGINES[tag][1]}.mode").is_file()]
    if missing or not shutil.which("apertium") or not shutil.which("stdbuf"):
        raise SystemExit(f"Apertium is not all there. Install it: sudo apt-get install apertium {' '.join(missing)}")


def package(name: str) -> dict[str, Any]:
    """Return a Debian package's version, installed size and licence."""
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version} ${Installed-Size}", name], check=True, stdout=subprocess.PIPE, text=True
    )
    version, kib = shown.stdout.split()
    notice = Path(f"/usr/share/doc/{name}/copyright").read_text(encoding="utf-8")
    licence = Counter(re.findall(r"^License: (\S+)", notice, flags=re.MULTILINE)).most_common(1)[0][0]
    return {"name": name, "version": version, "bytes": 1024 * int(kib), "licence": licence}


def measure_language(tag: str, recipe: str, seed: int, folder: Path) -> dict[str, Any]:
    """Add a language, translate its test captions, and return what its rows need."""
    name, mode = ENGINES[tag]
    registry, file = folder / "adapters", folder / f"{tag}.jsonl"
    place = demo_data(tag).test_set
    rows = [json.loads(line) for split in SPLITS for line in (place / f"{split}.jsonl").open(encoding="utf-8")]
    captions = list(dict.fromkeys(row["caption"] for row in rows))
    with ExitStack() as stack:
        engine = Apertium(mode)
        stack.callback(engine.close)
        marked = {caption: engine(caption) for caption in captions}
        file.write_text("".join(
            json.dumps({"caption": caption, "translation": plain(text) or caption}, ensure_ascii=False) + "\n"
            for caption, text in marked.items()
        ), encoding="utf-8")  # fmt: skip
        common = ("--registry", str(registry), "--seed", str(seed), "--json")
        data = ("--parallel-data", "demo", "--image-text", "demo", "--recipe", recipe)
        out, seconds = command("add-language", tag, *data, *common)
        card = json.loads(out)
        compared = json.loads(command("compare", tag, "--translations", str(file), *common)[0])
        queries = queries_of(tag, registry, engine, captions)
    words = [word for text in marked.values() for word in text.split()]
    left = Counter(word for text in marked.values() for word in UNKNOWN.findall(text))
    return {
        "name": card["language_name"],
        "seconds": seconds,
        "bytes": card["bytes"],
        "engine": package(name),
        "native": {split: card["metrics"]["splits"][split]["native_mean_recall"] for split in SPLITS},
        "galleries": {split: card["metrics"]["splits"][split]["gallery"] for split in SPLITS},
        "figures": {split: compared["splits"][split]["figures"]["mean_recall"] for split in SPLITS},
        "words_left": sum(left.values()) / len(words),
        "captions_with_words_left": sum("*" in text for text in marked.values()) / len(captions),
        "most_left": left.most_common(20),
        **queries,
    }


def plain(text: str) -> str:
    """Return a translation without the marks of unknown words."""
    return UNKNOWN.sub(r"\1", text).strip()


def queries_of(tag: str, registry: Path, engine: Apertium, captions: Sequence[str]) -> dict[str, Any]:
    """Return the milliseconds of a query of each system, and the bytes that each adds to the base."""
    model = load_model(base="demo", registry=registry)
    chosen = captions[:: max(1, len(captions) // TIMED)]
    model.encode_text(chosen[:WARM_UP], "en")
    own = psutil.Process()
    before = own.memory_full_info().uss
    model.encode_text(chosen[:WARM_UP], tag)
    added = own.memory_full_info().uss - before
    times: dict[str, list[float]] = {"ours": [], "engine": [], "translating": []}
    for caption in [*chosen[:WARM_UP], *chosen]:
        started = time.perf_counter()
        model.encode_text([caption], tag)
        ours = time.perf_counter()
        text = plain(engine(caption))
        translated = time.perf_counter()
        model.encode_text([text], "en")
        times["ours"].append(ours - started)
        times["engine"].append(time.perf_counter() - ours)
        times["translating"].append(translated - ours)
    percentiles = {
        system: [1000 * float(value) for value in np.percentile(seconds[WARM_UP:], (50, 95))]
        for system, seconds in times.items()
    }
    return {"queries": len(chosen), "milliseconds": percentiles, "memory": {"ours": added, "engine": engine.memory()}}


def table(result: dict[str, Any]) -> str:
    """Return the rows as Markdown."""
    head = ["language", "system", *SPLITS, "words left", "query, p50 / p95", "memory", "disk", "licence"]
    rows = []
    for tag, row in result["languages"].items():
        engine, figures = row["engine"], row["figures"]
        rows.append([f"{row['name']} ({tag})", "English itself", *(f"{100 * row['native'][s]:.1f}" for s in SPLITS)])
        rows[-1] += [""] * 5
        queries = {who: " / ".join(f"{ms:.1f}" for ms in times) + " ms" for who, times in row["milliseconds"].items()}
        memory = {who: f"{size / 2**20:.0f} MiB" for who, size in row["memory"].items()}
        rows.append(["", "ours", *(f"{100 * figures[s]['first']:.1f}" for s in SPLITS), "", queries["ours"]])
        rows[-1] += [memory["ours"], f"{row['bytes'] / 1e6:.1f} MB", "yours; the data's: Unicode-3.0"]
        cells = []
        for split in SPLITS:
            found = figures[split]
            low, high = found["ci95"]
            cells.append(
                f"{100 * found['second']:.1f} ({100 * found['difference']:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"
            )
        rows.append(["", f"{engine['name']} {engine['version']}", *cells, f"{100 * row['words_left']:.0f} %"])
        rows[-1] += [queries["engine"], memory["engine"], f"{engine['bytes'] / 1e6:.1f} MB", engine["licence"]]
    first = next(iter(result["languages"].values()))
    galleries = ", ".join(f"{name} {count}" for name, count in first["galleries"].items())
    left = "; ".join(
        f"{tag} {100 * row['captions_with_words_left']:.0f} % ("
        + ", ".join(word for word, _ in row["most_left"][:5]) + ")"
        for tag, row in result["languages"].items()
    )  # fmt: skip
    alone = ", ".join(f"{row['milliseconds']['translating'][0]:.1f}" for row in result["languages"].values())
    return (
        f"{markdown(head, rows)}\n\n"
        f"Mean recall in per cent (galleries: {galleries}; one caption an image); in parentheses the difference to "
        "ours with its 95 % paired-bootstrap interval over images. Words left: the share that the engine did not know "
        f"and left as they were; captions with such a word: {left}, with the most frequent. A query is one of "
        f"{first['queries']} captions, encoded alone, for the engine translated first ({alone} ms of the median). "
        "Memory comes on top of the base; disk is the language pair alone, without the engine's programs. "
        f"Recipe `{result['recipe']}`, seed {result['seed']}, {result['machine']}."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["es", "ca"])
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    if arguments.reuse:
        result = load("translate")
    else:
        check(arguments.languages)
        result = {"seed": arguments.seed, "recipe": arguments.recipe, "machine": machine(), "languages": {}}
        for tag in arguments.languages:
            with tempfile.TemporaryDirectory() as folder:
                result["languages"][tag] = measure_language(tag, arguments.recipe, arguments.seed, Path(folder))
            save("translate", result)
    print(table(result))
    if arguments.write:
        put("translate", table(result))


if __name__ == "__main__":
    main()
