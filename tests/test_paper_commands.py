"""The commands of the pages on the paper, read out of them and run on small stand-ins of the folders that they need."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from typer.testing import CliRunner

from mla_extend.cli.app import app
from mla_extend.language import pretrained
from tests.conftest import save_clip

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "paper.md", DOCS / "tutorials" / "paper.md")
CLIP = "openai/clip-vit-base-patch32"
BERT = "google-bert/bert-base-multilingual-cased"
TABLES = (BERT, "FacebookAI/xlm-roberta-base", "models/mbert")
"""What the commands name on the hub lies in the current folder instead, under the same names."""

PARTS: dict[str, tuple[list[str], ...]] = {
    "en": (
        ["a man", "a woman", "a child", "a dog", "a cat", "a girl"],
        ["runs", "sleeps", "sits", "plays", "stands", "waits"],
        ["under a tree", "near the house", "on the beach", "in the street", "on a boat", "in the snow", "over there"],
    ),
    "de": (
        ["ein Mann", "eine Frau", "ein Kind", "ein Hund", "eine Katze", "ein Mädchen"],
        ["rennt", "schläft", "sitzt", "spielt", "steht", "wartet"],
        ["unter einem Baum", "neben dem Haus", "am Strand", "auf der Straße", "auf einem Boot", "im Schnee", "da oben"],
    ),
    "fr": (
        ["un homme", "une femme", "un enfant", "un chien", "un chat", "une fille"],
        ["court", "dort", "est assis", "joue", "se tient debout", "attend"],
        [
            "sous un arbre",
            "près de la maison",
            "sur la plage",
            "dans la rue",
            "sur un bateau",
            "dans la neige",
            "là-bas",
        ],
    ),
    "cs": (
        ["muž", "žena", "dítě", "pes", "kočka", "dívka"],
        ["běží", "spí", "sedí", "si hraje", "stojí", "čeká"],
        ["pod stromem", "vedle domu", "na pláži", "na ulici", "na lodi", "ve sněhu", "tam nahoře"],
    ),
    "zh": (
        ["一个男人", "一个女人", "一个孩子", "一只狗", "一只猫", "一个女孩"],
        ["在跑", "在睡觉", "坐着", "在玩", "站着", "在等"],
        ["在树下", "在房子旁边", "在海滩上", "在街上", "在船上", "在雪地里", "在那边"],
    ),
    "ja": (
        ["男の人が", "女の人が", "子供が", "犬が", "猫が", "女の子が"],
        ["走っている", "眠っている", "座っている", "遊んでいる", "立っている", "待っている"],
        ["木の下で", "家のそばで", "浜辺で", "通りで", "船の上で", "雪の中で", "あそこで"],
    ),
    "sw": (
        ["mwanamume", "mwanamke", "mtoto", "mbwa", "paka", "msichana"],
        ["anakimbia", "analala", "amekaa", "anacheza", "amesimama", "anasubiri"],
        ["chini ya mti", "karibu na nyumba", "ufukweni", "barabarani", "juu ya boti", "kwenye theluji", "kule"],
    ),
}
"""Who, what they do, and where, in the same order in each language."""
TRAINING, TESTS = 220, 32


def captions(language: str) -> list[str]:
    """Return 252 sentences of a language; those of the same place in two languages translate each other."""
    joint = "" if language in ("zh", "ja") else " "
    who, what, where = PARTS[language]
    backwards = language == "ja"
    return [joint.join((a, c, b) if backwards else (a, b, c)) for b, c, a in product(what, where, who)]


def blocks(kind: str) -> list[str]:
    """Return the pages' fenced blocks of a kind."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


class Place:
    """Hold a folder with everything that the commands need, and the calls of `mla-extend` that they come to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        generator = np.random.default_rng(0)
        self.pictures = generator.integers(0, 255, (2 * (TRAINING + TESTS), 16, 16, 3), dtype=np.uint8)
        save_clip(folder / CLIP)
        for seed, name in enumerate(TABLES):
            save_multilingual(folder / name, seed)
        self.authors_files()
        self.published_files()
        rows = zip(captions("en"), captions("sw"), strict=True)
        (folder / "en-sw.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
        for script in blocks("python"):
            name = re.match(r"# (\w+\.py) ", script)
            assert name, "a script's first line says what it is called and what it takes"
            (folder / name[1]).write_text(script, encoding="utf-8")
        self.calls = self.run_shell()

    def picture(self, path: str, number: int) -> None:
        """Write one picture, as PNG whatever its name says."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pictures[number]).save(self.folder / path, "PNG")

    def text(self, path: str, lines: list[str]) -> None:
        """Write a file of lines."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def authors_files(self) -> None:
        """Write what the authors' `dataset.zip` holds, and the images that it names."""
        training = [f"{number:06}.jpg" for number in range(TRAINING)]
        flickr = [f"{1000 + number}.jpg" for number in range(TESTS)]
        coco = [f"COCO_val2014_{number:012}.jpg" for number in range(TESTS)]
        for number, name in enumerate(training):
            self.picture(f"dataset/ConceptualCaption/images/{name}", number)
        for number, name in enumerate(flickr):
            self.picture(f"dataset/Multi30k/images/{name}", TRAINING + number)
        for number, name in enumerate(coco):
            self.picture(f"dataset/MSCOCO/images/val2014/{name}", TRAINING + TESTS + number)
        everything = ["en", "de", "fr", "cs", "zh", "ja"]
        first, last = slice(0, TRAINING), slice(TRAINING, TRAINING + TESTS)
        self.lists("ConceptualCaption", "cc300k.json", "train", everything, training, first, "images")
        self.lists("Multi30k", "multi30k_4lang_path.json", "test", everything[:4], flickr, last, "images")
        self.lists("MSCOCO", "COCO_all_split0_path.json", "test", ["en", "zh", "ja"], coco, last, "images/val2014")

    def lists(
        self, name: str, file: str, split: str, languages: list[str], images: list[str], part: slice, pictures: str
    ) -> None:
        """Write one of the authors' files of lists, and what it names."""
        home = self.folder / "dataset" / name
        (home / "lists").mkdir(parents=True)
        annotations, names = [], []
        for language in languages:
            texts = dict(zip(images, ([text] for text in captions(language)[part]), strict=True))
            annotations.append(f"dataset/{name}/lists/{split}_{language}.json")
            names.append(f"dataset/{name}/lists/{split}_{language}.npy")
            (self.folder / annotations[-1]).write_text(json.dumps(texts), encoding="utf-8")
            np.save(self.folder / names[-1], np.array([image.encode() for image in images]))
        features = [f"dataset/{name}/{pictures}"] * len(languages)
        lists = {"langs": languages, "anno_file": annotations, "name_file": names, "feature": features}
        (home / file).write_text(json.dumps({split: lists}), encoding="utf-8")

    def published_files(self) -> None:
        """Write Multi30K, STAIR and COCO-CN as they are published."""
        last = slice(TRAINING, TRAINING + TESTS)
        flickr = [f"{1000 + number}.jpg" for number in range(TESTS)]
        for task, split in (("task1", "test_2016_flickr"), ("task2", "test_2016")):
            home = f"multi30k/data/{task}"
            listed = split if task == "task1" else f"{split}_images"
            self.text(f"{home}/image_splits/{listed}.txt", flickr)
            for number, name in enumerate(flickr):
                self.picture(f"{home}/flickr30k-images/{name}", TRAINING + number)
            for language in ("en", "de", "fr", "cs") if task == "task1" else ("en", "de"):
                texts = captions(language)
                if task == "task1":
                    self.text(f"{home}/raw/{split}.{language}", texts[last])
                for several in range(1, 6) if task == "task2" else ():
                    moved = texts[several : several + TESTS]
                    self.text(f"{home}/raw/{split}.{several}.{language}", moved)
        names = [f"COCO_val2014_{number:012}.jpg" for number in range(TESTS)]
        for number, name in enumerate(names):
            self.picture(f"stair/val2014/{name}", TRAINING + TESTS + number)
        stair = {
            "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
            "annotations": [
                {"id": number, "image_id": number, "caption": text} for number, text in enumerate(captions("ja")[last])
            ],
        }
        (self.folder / "stair" / "stair_captions_v1.2_val.json").write_text(json.dumps(stair), encoding="utf-8")
        stems = [Path(name).stem for name in names]
        self.text("coco-cn_test.txt", stems)
        lines = [f"{stem}#0\t{text}" for stem, text in zip(stems, captions("zh")[last], strict=True)]
        self.text("imageid.human-written-caption.txt", lines)

    def run_shell(self) -> list[list[str]]:
        """Run the page's shell commands with `mla-extend` noting what it is called with; return its arguments."""
        tools, noted = self.folder / "bin", self.folder / "calls.jsonl"
        note = f"import json, sys; open({str(noted)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')"
        tools.mkdir()
        for name, program in (("python", '"$@"'), ("mla-extend", f'-c "{note}" "$@"')):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {program}\n', encoding="utf-8")
            (tools / name).chmod(0o755)
        environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        script = "set -e\n" + "\n".join(blocks("sh"))
        subprocess.run(["sh", "-c", script], cwd=self.folder, env=environment, check=True)
        return [json.loads(line) for line in noted.read_text(encoding="utf-8").splitlines()]

    def of(self, command: str) -> list[list[str]]:
        """Return the calls of one command."""
        return [call for call in self.calls if call[0] == command]


def save_multilingual(folder: Path, seed: int) -> None:
    """Save a tiny random BERT whose tokenizer knows all the languages here."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=[*names.values()], show_progress=False)
    tokenizer.train_from_iterator([text for language in PARTS for text in captions(language)], trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, initializer_range=1.0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Make the folder once."""
    return Place(tmp_path_factory.mktemp("paper"))


@pytest.fixture
def place(made: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Go into the folder; there is no registry in it yet, and no other test's table is in memory."""
    monkeypatch.chdir(made.folder)
    shutil.rmtree(made.folder / "paper", ignore_errors=True)
    pretrained._OPEN.clear()
    yield made
    pretrained._OPEN.clear()


def run(*arguments: str) -> Any:
    """Run a command that succeeds; return the JSON that it prints."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def option(call: list[str], name: str) -> str | None:
    return call[call.index(name) + 1] if name in call else None


def test_the_page_gives_the_commands_of_the_whole_table(place: Place) -> None:
    added = place.of("add-language")
    by_the_paper = [call[1] for call in added if option(call, "--recipe") == "paper" and "--test-set" in call]
    assert by_the_paper == ["de", "fr", "cs", "zh", "ja"]
    assert [call[1] for call in place.of("evaluate")] == ["de", "fr", "cs", "zh", "ja", "de", "fr", "cs", "ja", "zh"]
    assert [call[1:3] for call in place.of("compare")] == [[f"{x}@v1", f"{x}@v2"] for x in by_the_paper]
    assert len(added) + len(place.of("evaluate")) + len(place.of("compare")) == len(place.calls)


def test_every_command_that_adds_a_language_can_be_dry_run(place: Place) -> None:
    for call in place.of("add-language"):
        base = [] if "--base" in call else ["--base", CLIP]
        plan = run(*call, *base, "--dry-run")
        paper = option(call, "--recipe") == "paper"
        assert plan["recipe"] == (option(call, "--recipe") or "default")
        assert plan["base"] == Path(CLIP).name
        assert plan["stages"]["transfer"] > 0
        assert plan["seconds"] > 0
        assert plan["memory_bytes"] > 0
        if call[1] == "sw":
            assert plan["pairs"] == len(captions("sw"))
            continue
        assert plan["pairs"] == TRAINING
        assert plan["stages"]["exposure"] > 0
        if paper:  # --filter off keeps all rows, and the tests' sentences are no training rows
            assert (call[1], plan["kept"], plan["image_text"]) == (call[1], TRAINING, TRAINING)
            # The projection from 24 to 16, and two acquirers with the bottleneck of the paper.
            assert plan["parameters"] == 24 * 16 + 16 + 2 * (2 * 16 * 256 + 16 + 256)
    assert not (place.folder / "paper").exists()


def test_the_languages_can_be_added_evaluated_and_compared(place: Place) -> None:
    """In the page's order, untrained: a tiny random base has nothing to teach."""
    untrained = ["--set", "transfer.max_steps=0", "--set", "exposure.max_steps=0"]
    for call in place.calls:
        if "--registry" not in call:
            continue
        if call[0] == "add-language":
            card = run(*call, *untrained)
            assert card["recipe"]["name"] == (option(call, "--recipe") or "default")
            assert card["metrics"]["splits"]["test"]["gallery"] == TESTS
            assert card["isolation"]["ok"]
        elif call[0] == "evaluate":
            found = run(*call)
            (split,) = found["splits"].values()
            assert found["protocol"] == "mla"
            assert split["gallery"] == TESTS
            # The authors' lists have English for every image, STAIR and COCO-CN have none.
            assert (split["native_mean_recall"] is None) == (call[1] in ("ja", "zh") and "--test-set" in call)
        else:
            assert run(*call)
