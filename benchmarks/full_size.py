"""Set the dry run's estimate beside what a run then costs, on bases of full size.

    python benchmarks/full_size.py [--bases clip siglip] [--write]

CLIP ViT-B/32 and SigLIP-B/16 have their real shapes and vocabularies and random weights; 29,000 pairs of made-up words
have the lengths of image captions. For each base `add-language` runs twice, each time in a process of its own: with
`--dry-run`, and for a few steps. Seconds are those of the commands and do not count imports; memory is the largest
resident size of the process. A third run has images too, for its memory alone.

The runs are short so that they fit into minutes: few steps, two evaluations, a small held-out slice.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, load, machine, markdown, put, save

PAGE = ROOT / "docs" / "performance.md"
LANGUAGE = "de"
PAIRS, IMAGES = 29_000, 64
WORDS, FORMS = 15_000, 3
LONGEST = 37
WANTED = 0.25
TITLES = {"clip": "CLIP ViT-B/32", "siglip": "SigLIP-B/16", "images": "CLIP ViT-B/32, images too"}
RUNS = {
    "clip": ["transfer.max_steps=24", "transfer.batch=128"],
    "siglip": ["transfer.max_steps=4", "transfer.batch=64", "validation.fraction=0.003"],
    "images": ["transfer.max_steps=4", "exposure.max_steps=4", "validation.fraction=0.005", "exposure.evaluations=1"],
}
"""Recipe values of each run, beside the default recipe's."""


def main() -> None:
    """Measure, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bases", nargs="+", choices=list(RUNS), default=list(RUNS), help="runs to make")
    parser.add_argument("--write", action="store_true", help="save the results and put the table into the page")
    parser.add_argument("--make", nargs=2, metavar=("BASE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_base(options.make[0], Path(options.make[1]))
        return
    result: dict[str, Any] = {"pairs": PAIRS, "machine": machine(), "runs": {}}
    if options.write and set(options.bases) != set(RUNS):
        result["runs"] = load("full_size")["runs"] if (RESULTS / "full_size.json").is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder / "pairs.tsv")
        for run in options.bases:
            result["runs"][run] = compare(run, folder)
            print(run, json.dumps(result["runs"][run]), flush=True)
    text = table(result["runs"])
    print(text)
    if options.write:
        save("full_size", result)
        put("full-size", f"{text}\n\nMeasured on {result['machine']}.", PAGE)


# Bases ----------------------------------------------------------------------------------------------------------------


def make_base(name: str, folder: Path) -> Path:
    """Save a base of full size with random weights, its tokenizer, and its image preprocessing.

    Args:
        name: `clip` or `siglip`.
        folder: where it goes; the base is called by its name.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    if name == "clip":
        text = {"bos_token_id": 49_406, "eos_token_id": 49_407, "pad_token_id": 49_407}
        model = CLIPModel(CLIPConfig(text_config=text))
        specials, processor = ["<|startoftext|>", "<|endoftext|>"], "CLIPImageProcessor"
    else:
        model = SiglipModel(SiglipConfig(text_config={"pad_token_id": 1, "bos_token_id": None, "eos_token_id": 1}))
        specials, processor = ["<unk>", "</s>"], "SiglipImageProcessor"
    draw(model)
    if name == "siglip":  # most of a row is padding, which would make all texts alike
        model.text_model.embeddings.token_embedding.weight.data[1] = 0
    model.eval().save_pretrained(folder)
    make_tokenizer(name, model.config.text_config, specials).save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    about = {
        "image_processor_type": processor,
        "size": {"height": 224, "width": 224},
        "do_center_crop": False,
        "image_mean": half,
        "image_std": half,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def draw(model: Any) -> None:
    """Draw weights that keep the size of what they multiply, so that texts differ although nothing was learned."""
    import torch

    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.Linear):
                part.weight.normal_(std=part.in_features**-0.5)
            elif isinstance(part, torch.nn.Embedding):
                part.weight.normal_(std=1.0 if part.num_embeddings > 1000 else 0.1)  # tokens, positions


def make_tokenizer(name: str, config: Any, specials: list[str]) -> Any:
    """Train a tokenizer on the native side of the pairs and fill it up to the model's own vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    size = config.vocab_size
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=specials[0]))
    trained.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(specials), end_of_word_suffix="</w>", show_progress=False, min_frequency=2
    )
    trained.train_from_iterator((native for native, _ in pairs(PAIRS)), trainer)
    model = json.loads(trained.to_str())["model"]
    pieces = [*sorted(model["vocab"], key=model["vocab"].get)]
    spare = [f"<spare {number}>" for number in range(size - len(specials) - len(pieces))]
    # CLIP's special tokens have the last ids, SigLIP's the first.
    order = [*pieces, *spare, *specials] if name == "clip" else [*specials, *pieces, *spare]
    ids = {piece: number for number, piece in enumerate(order)}
    merges = [tuple(pair) for pair in model["merges"]]
    full = Tokenizer(models.BPE(ids, merges, end_of_word_suffix="</w>", unk_token=specials[0]))
    full.normalizer = normalizers.Lowercase()
    full.pre_tokenizer = pre_tokenizers.Whitespace()
    end = specials[1]
    begin = f"{specials[0]} " if name == "clip" else ""
    full.post_processor = processors.TemplateProcessing(
        single=f"{begin}$A {end}", special_tokens=[(special, ids[special]) for special in specials]
    )
    names = {"eos_token": end, "pad_token": end, "unk_token": specials[0] if name == "siglip" else end}
    if name == "clip":
        names["bos_token"] = specials[0]
    return PreTrainedTokenizerFast(tokenizer_object=full, model_max_length=config.max_position_embeddings, **names)


# Data -----------------------------------------------------------------------------------------------------------------


def pairs(count: int) -> Iterator[tuple[str, str]]:
    """Make pairs of sentences of made-up words: native and target.

    Lengths, and how often words return, are those of Multi30K's English: 12 words on average, half of them between 9
    and 14, the longest 37. A native word has up to three forms in the target language.
    """
    generator = random.Random(0)
    native = _words(WORDS, "bcdfghklmnprst", "aeiou", generator)
    target = _words(WORDS * FORMS, "bdfgjklmnprstvz", "aeiouäöü", generator)
    weights = [1 / (rank + 3) ** 1.05 for rank in range(WORDS)]
    totals = [0.0]
    for weight in weights:
        totals.append(totals[-1] + weight)
    while count:
        length = min(LONGEST, max(4, round(generator.lognormvariate(2.43, 0.31))))
        chosen = generator.choices(range(WORDS), cum_weights=totals[1:], k=length)
        forms = [word * FORMS + min(int(generator.expovariate(1.5)), FORMS - 1) for word in chosen]
        if length > 5:  # the target's order is another one, and it has fewer words
            place = generator.randrange(length - 2)
            forms[place : place + 2] = forms[place : place + 2][::-1]
            del forms[generator.randrange(length)]
        yield " ".join(native[word] for word in chosen), " ".join(target[form] for form in forms)
        count -= 1


def _words(count: int, consonants: str, vowels: str, generator: random.Random) -> list[str]:
    """Make different words; those that come first, the frequent ones, are short."""
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = 1 + (len(found) > 60) + (len(found) > 2000) + generator.randrange(2)
        found["".join(generator.choice(consonants) + generator.choice(vowels) for _ in range(syllables))] = None
    return list(found)


def write_pairs(path: Path) -> None:
    """Write all pairs, and pictures of noise with four captions each beside them."""
    from PIL import Image

    path.write_text("".join(f"{native}\t{target}\n" for native, target in pairs(PAIRS)), encoding="utf-8")
    generator = random.Random(1)
    rows = []
    for number in range(IMAGES):
        picture = path.parent / f"{number}.png"
        Image.frombytes("RGB", (224, 224), generator.randbytes(224 * 224 * 3)).save(picture)
        rows.append(str(picture))
    with (path.parent / "images.jsonl").open("w", encoding="utf-8") as file:
        for number, (_, target) in enumerate(islice(pairs(PAIRS), 4 * IMAGES)):
            file.write(json.dumps({"image": rows[number % IMAGES], "caption": target}, ensure_ascii=False) + "\n")


# Runs -----------------------------------------------------------------------------------------------------------------


def compare(run: str, folder: Path) -> dict[str, Any]:
    """Return what a dry run says and what a run then measures."""
    name = "siglip" if run == "siglip" else "clip"
    base = folder / TITLES[name].lower().replace(" ", "-").replace("/", "-")
    if not base.is_dir():
        # Apart: a process inherits its parent's largest resident size.
        subprocess.run([sys.executable, __file__, "--make", name, str(base)], check=True)
    given = ["--parallel-data", str(folder / "pairs.tsv"), "--base", str(base), "--registry", str(folder / run)]
    if run == "images":
        given += ["--image-text", str(folder / "images.jsonl")]
    for setting in ["transfer.evaluations=1", *RUNS[run]]:
        given += ["--set", setting]
    program = [sys.executable, "-m", "mla_extend", "add-language", LANGUAGE, *given]
    program += ["--filter", "off", "--device", "cpu", "--json"]
    plan, _ = measure([*program, "--dry-run"], folder)
    card, memory = measure(program, folder)
    stage = next(stage for stage in card["stages"] if stage["stage"] == "transfer")
    return {
        "steps": plan["steps"],
        "parameters": plan["parameters"],
        "precision": card["cost"]["precision"],
        "estimated": {
            "seconds": plan["seconds"],
            "pairs_per_second": plan.get("pairs_per_second"),
            "memory_bytes": plan["memory_bytes"],
        },
        "measured": {
            "seconds": card["cost"]["seconds"],
            "pairs_per_second": round(stage["pairs"] / stage["seconds"], 1),
            "memory_bytes": memory,
        },
    }


def measure(program: list[str], folder: Path) -> tuple[dict[str, Any], int]:
    """Run a command; return the JSON that it prints, and its process's largest resident size in bytes."""
    environment = {**os.environ, "MLA_EXTEND_CACHE": str(folder / "cache")}
    out = folder / "out.json"
    with out.open("wb") as file, (folder / "err.txt").open("wb") as errors:
        process = subprocess.Popen(program, env=environment, cwd=ROOT, stdout=file, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(program)}\n{(folder / 'err.txt').read_text(encoding='utf-8')}")
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(out.read_text(encoding="utf-8")), usage.ru_maxrss * unit


# Table ----------------------------------------------------------------------------------------------------------------


def table(runs: dict[str, Any]) -> str:
    """Return the table of all runs: estimated, measured, and the ratio of the two."""
    rows = []
    for run, found in runs.items():
        said, seen = found["estimated"], found["measured"]
        cells = [TITLES[run], str(found["steps"])]
        for name, scale, digits in (("seconds", 1, 0), ("pairs_per_second", 1, 0), ("memory_bytes", 2**30, 2)):
            if said[name] is None or (run == "images" and name != "memory_bytes"):
                cells.append("")
                continue
            ratio = said[name] / seen[name]
            mark = "" if abs(ratio - 1) <= WANTED else " (!)"
            cells.append(f"{said[name] / scale:.{digits}f} / {seen[name] / scale:.{digits}f} = {ratio:.2f}{mark}")
        rows.append(cells)
    return markdown(["base", "steps", "seconds", "pairs a second", "memory, GiB"], rows)


if __name__ == "__main__":
    main()
