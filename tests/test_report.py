"""The pages: whole by themselves, readable by people and machines, and safe whatever stands in the data."""

import base64
import io
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from conftest import TARGET_WORDS
from PIL import Image
from test_cli_end_to_end import add
from test_registry_store import RECORD, make_base, make_card, stage
from typer.testing import CliRunner

from mla_extend.cli.report import report as report_command
from mla_extend.errors import DataError, RegistryError
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.store import Registry
from mla_extend.report.examples import BUDGET, Example, Examples, choose, thumbnail, within
from mla_extend.report.inspection import EXPLANATIONS, inspection_page
from mla_extend.report.page import make_report
from mla_extend.report.plots import file_name
from mla_extend.report.render import direction, visible

ARABIC = ["واحد", "أحمر", "أخضر", "أزرق", "قطة", "كلب", "طائر", "شجرة", "بيت", "قارب", "يجري", "ينام", "يجلس"]
ARABIC += ["تحت", "فوق", "قرب", "ذلك", "كبير", "صغير", "قديم"]
HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/x.png onerror=alert(1)>\u202e&amp; {{ 7 * 7 }}"


class Page(HTMLParser):
    """Collect what tests ask of a page."""

    void = frozenset({"meta", "img", "source", "br"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == [], "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        """Return what is read, spaces made single."""
        return " ".join(" ".join(data for tag, data in self.words if tag not in ("style", "script")).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of one kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def attributes(self, name: str) -> list[str]:
        """Return all values of one attribute."""
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


def check_page(text: str) -> Page:
    """Check what holds of every page: nothing from outside, no script, all described, all links lead somewhere."""
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert not page.all("script") + page.all("link") + page.all("iframe")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "default-src 'none'" in " ".join(page.attributes("content"))
    assert not re.search(r"url\(|@import|https?://", " ".join(data for tag, data in page.words if tag == "style"))
    sources = [*page.attributes("src"), *page.attributes("srcset")]
    for source in sources:
        head, _, content = source.partition(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as image:
            image.load()
    assert all((image.get("alt") or "").strip() for image in page.all("img"))
    identities = page.attributes("id")
    assert len(set(identities)) == len(identities)
    assert all(link.startswith("#") and link[1:] in identities for link in page.attributes("href"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all("scope" in header for header in page.all("th"))
    assert len(text.encode()) < 5_000_000
    return page


def split(**changes: Any) -> dict[str, Any]:
    """Return the figures of one split as a card has them."""
    names = [f"{way}_retrieval_recall@{k}" for way in ("image", "text") for k in (1, 5, 10)]
    recalls = dict(zip(names, (0.32, 0.573, 0.668, 0.328, 0.565, 0.651), strict=True))
    return {
        "gallery": 1532, "captions": 1533, "mean_recall": 0.5177, "ci95": [0.4976, 0.5379], "t2i_mean_recall": 0.52,
        "native_mean_recall": 0.5663, "ratio": 0.9139, "ratio_ci95": [0.891, 0.938], "floor_mean_recall": 0.022,
        "chance_mean_recall": 0.0034, "metrics": recalls,
        "native_metrics": None, "floor_metrics": None, **changes,
    }  # fmt: skip


def text_split(**changes: Any) -> dict[str, Any]:
    """Return the figures of one split without images as a card has them."""
    return {
        "pairs": 512, "to_native_accuracy": 0.8125, "to_native_ci95": [0.77, 0.844], "from_native_accuracy": 0.79,
        "from_native_ci95": [0.75, 0.82], "mse": 0.00021, "cosine": 0.842, "native_candidates": 612, "candidates": 512,
        "floor_to_native_accuracy": 0.041, "chance_to_native_accuracy": 1 / 612, **changes,
    }  # fmt: skip


def record(role: str, **changes: Any) -> dict[str, Any]:
    """Return what a card says of one source."""
    return {"role": role, "path": f"{role}.tsv", "sha256": "9f" * 32, "pairs": 3159, "licence": "CC-BY-4.0", **changes}


def realistic(language: str, name: str, splits: dict[str, Any] | None = None, **changes: Any) -> Card:
    """Return a card like those of the demo."""
    metrics = {"test_set": "demo", "protocol": "standard", "seed": 11, "splits": splits or {"unseen": split()}}
    cost = {"seconds": 644.0, "peak_memory_bytes": 1_746_087_936, "pairs": 73216, "device": "cpu", "precision": "bf16"}
    card = make_card(language, metrics=metrics, cost=cost, parameters=1_730_688, seed=5)
    return replace(card, language_name=name, data=[record("parallel"), record("test_set")], **changes)


def publish(home: BaseRegistry, card: Card, ok: bool = True) -> None:
    """Publish a card with a small file."""
    line = {"files": "", "vectors": "ab", "files_equal": True, "vectors_equal": True, "as_recorded": True}
    proof = {"ok": ok, "languages": {"en": line}, "seconds": 0.2}
    home.publish(card.language, stage(home, card.language), card, prove=lambda _: proof)


def page_of(root: Path, tmp_path: Path) -> Page:
    out = tmp_path / "page.html"
    assert make_report(root, out=out, examples=False).path == out
    return check_page(out.read_text(encoding="utf-8"))


def arabic(data: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Write the toy language's data in Arabic script."""
    words = dict(zip(TARGET_WORDS, ARABIC, strict=True))
    made = {}
    for name, path in data.items():
        made[name] = folder / f"ar-{path.name}"
        text = re.sub(r"\b[a-z]+\b", lambda found: words.get(found[0], found[0]), path.read_text(encoding="utf-8"))
        made[name].write_text(text, encoding="utf-8")
    return made


def test_a_registry_becomes_one_page_with_examples(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    card = add(data, dual_folder, root, "--test-set", str(data["test"]), "--license", "CC-BY-NC-4.0")
    second = arabic(data, tmp_path)
    add(second, dual_folder, root, "--test-set", str(second["test"]), language="ar")
    add(data, dual_folder, root, language="cy")
    written = make_report(root, out=tmp_path / "out" / "report.html")
    text = written.path.read_text(encoding="utf-8")
    page = check_page(text)
    figures = card["metrics"]["splits"]["test"]
    for figure in (figures["mean_recall"], figures["floor_mean_recall"], figures["chance_mean_recall"]):
        assert f"{100 * figure:.1f}" in page.text
    assert "non-commercial only" in page.text
    assert "No examples: Its card names no test set." in page.text
    assert {path.name for path in written.plots} >= {"ratio-tiny-dual-test.png", "recall-and-pairs-tiny-dual-test.png"}
    assert all(path.parent == tmp_path / "out" / "report_plots" and path.is_file() for path in written.plots)

    shown = {one["language"]: one for one in written.data["examples"]}
    captions = {row["caption"] for row in map(json.loads, second["test"].read_text(encoding="utf-8").splitlines())}
    kinds = shown["ar"]["kinds"]
    assert shown["ar"]["gallery"] == figures["gallery"]
    assert kinds["worst"]
    for kind, examples in kinds.items():
        assert all(example["caption"] in captions for example in examples)
        assert all((example["rank"] == 1) == (kind == "best") == (example["found"] is None) for example in examples)
        assert len({example["image"] for example in examples}) == len(examples) <= 6
    ranks = [example["rank"] for example in kinds["worst"]]
    assert ranks == sorted(ranks, reverse=True)
    marked = [(one.get("lang"), one.get("dir")) for one in page.all("p") if one.get("class") == "caption"]
    assert ("ar", "rtl") in marked
    assert ("sw", "ltr") in marked
    json.dumps(written.data, allow_nan=False)

    # The page is written all the same when a test set has gone.
    second["test"].unlink()
    again = make_report(root, out=tmp_path / "report.html")
    assert "does not exist" in {one["language"]: one for one in again.data["examples"]}["ar"]["reason"]
    assert check_page(again.path.read_text(encoding="utf-8")).text.count("No examples: ") == 2


def test_the_command_writes_the_page_and_prints_what_is_behind_it(tmp_path: Path) -> None:
    publish(make_base(tmp_path / "adapters"), realistic("sw", "Swahili"))
    app = typer.Typer()
    app.command()(report_command)
    out = tmp_path / "page.html"
    arguments = ["--registry", str(tmp_path / "adapters"), "--out", str(out), "--no-examples"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["report"] == str(out)
    assert all(Path(path).is_file() for path in printed["plots"])
    assert printed["data"]["bases"][0]["languages"][0]["retrieval"]["unseen"]["ratio"] == 0.9139
    check_page(out.read_text(encoding="utf-8"))
    assert f"Wrote {out}" in CliRunner().invoke(app, arguments).stdout


def test_every_figure_has_what_makes_it_readable(tmp_path: Path) -> None:
    home = make_base(tmp_path / "adapters")
    publish(home, realistic("sw", "Swahili"))
    publish(home, realistic("de", "German", {"unseen": split(ratio=None, ratio_ci95=None, native_mean_recall=None)}))
    page = page_of(home.folder.parent, tmp_path)
    for wanted in (
        "51.8 49.8–53.8", "0.91 0.89–0.94", "56.6", "2.2", "0.3", "1,532", "1,533", "32.0", "57.3", "66.8", "65.1",
        "10.7 min", "1.7 GB", "1,730,688", "73,216", "bf16", "9f9f9f9f9f9f9f9f", "3,159", "CC-BY-4.0", "proven",
        "Split unseen of base demo", "English (en)", "f" * 16,
    ):  # fmt: skip
        assert wanted in page.text, wanted
    cells = [data.strip() for tag, data in page.words if tag == "td"]
    assert "11" in cells  # the seed of the figures
    assert "5" in cells  # the seed of the training
    alts = [image["alt"] or "" for image in page.all("img")]
    assert any("Swahili (sw) 0.91" in alt for alt in alts)
    assert any("51.8 % with 3,159 pairs" in alt for alt in alts)
    assert [one.get("media") for one in page.all("source")] == ["screen and (prefers-color-scheme: dark)"] * 2


def test_languages_without_images_are_shown_too(tmp_path: Path) -> None:
    home = make_base(tmp_path / "adapters")
    publish(home, realistic("am", "Amharic", {"held-out text": text_split()}))
    earlier = {"to_english": 0.625, "from_english": 0.5, "english_candidates": 64, "candidates": 64, "pairs": 64}
    old = realistic("yo", "Yoruba")
    publish(home, replace(old, metrics={"splits": {}, "text_transfer": {**earlier, "mse": 0.1, "cosine": 0.9}}))
    page = page_of(home.folder.parent, tmp_path)
    for wanted in (
        "held-out text 81.2 %",
        "81.2 77.0–84.4",
        "612",
        "4.1",
        "0.2",
        "held-out 62.5 %",
        "1.6",
        "no images",
    ):
        assert wanted in page.text, wanted
    assert not page.all("img")


def test_licences_are_told(tmp_path: Path) -> None:
    home = make_base(tmp_path / "adapters")
    data = [
        record("parallel", licence="CC BY-NC 4.0", kept=2900, dropped={"duplicate": 250, "wrong_language": 9}),
        record("image_text", licence=None, kept=3159, dropped={}, split="train", weight=0.5),
        record("test_set", licence="Terms of the owner", noncommercial=True),
    ]
    publish(home, replace(realistic("sw", "Swahili"), data=data))
    publish(home, realistic("de", "German"))
    text = page_of(home.folder.parent, tmp_path).text
    assert text.count("non-commercial only") == 3
    assert "unknown for 1 of 3" in text
    assert "CC BY-NC 4.0 non-commercial only" in text
    assert "Terms of the owner non-commercial only" in text
    assert "duplicate 250, wrong language 9" in text
    assert "2,900" in text
    assert "image_text.tsv , split train, weight 0.5" in text


def test_a_proof_that_went_wrong_or_is_missing_is_told(tmp_path: Path) -> None:
    home = make_base(tmp_path / "adapters")
    publish(home, realistic("sw", "Swahili"), ok=False)
    home.publish("de", stage(home, "de"), realistic("de", "German"), prove=lambda _: {})
    text = page_of(home.folder.parent, tmp_path).text
    assert text.count("failed") == 2
    assert text.count("not recorded") == 2


def test_hostile_texts_do_nothing(tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    markup = HOSTILE.replace("\u202e", "")  # which no card may hold
    home = Registry(root).create(replace(RECORD, source=markup, licence=markup, family=markup))
    hostile = realistic("sw", markup, {markup: split(), f"{markup} text": text_split()}, recipe={"name": markup})
    hostile.metrics["test_set"] = hostile.metrics["protocol"] = markup
    data = [record(markup, path=markup, licence=markup, split=markup, sha256=markup, dropped={markup: 3})]
    cost = {**hostile.cost, "device": markup, "precision": markup}
    publish(home, replace(hostile, data=[*data, record("parallel")], cost=cost))
    page = page_of(root, tmp_path)
    assert "<script>alert('x')</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert {path.parent for path in (tmp_path / "page_plots").rglob("*")} == {tmp_path / "page_plots"}


def test_hostile_captions_do_nothing(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    rows = [json.loads(line) for line in data["test"].read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["caption"], row["english"] = f"{row['caption']} {HOSTILE}", f"{HOSTILE} {row['english']}"
    data["test"].write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    add(data, dual_folder, root, "--test-set", str(data["test"]))
    out = make_report(root, out=tmp_path / "page.html").path
    text = out.read_text(encoding="utf-8")
    assert "<script>alert('x')</script>" in check_page(text).text
    assert "\u202e" not in text


@pytest.mark.parametrize("folder", ["", "adapters"])
def test_an_empty_registry_is_an_error(folder: str, tmp_path: Path) -> None:
    if folder:
        make_base(tmp_path / folder)
    with pytest.raises(RegistryError, match=r"holds no language yet\. Add one"):
        make_report(tmp_path / folder, out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_base_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    home = make_base(tmp_path / "adapters")
    publish(home, realistic("sw", "Swahili"))
    with pytest.raises(RegistryError, match=r"no base named 'demos'\. Did you mean 'demo'"):
        make_report(tmp_path / "adapters", base="demos", out=tmp_path / "page.html")
    for known in ("demo", "owner/demo"):
        assert make_report(tmp_path / "adapters", base=known, out=tmp_path / "page.html", examples=False).path.is_file()


def test_only_the_base_that_is_named_is_shown(tmp_path: Path) -> None:
    publish(make_base(tmp_path / "adapters"), realistic("sw", "Swahili"))
    other = Registry(tmp_path / "adapters").create(replace(RECORD, name="other", source="other"))
    card = realistic("de", "German")
    publish(other, replace(card, base={**card.base, "name": "other", "source": "other"}))
    assert "German" in page_of(tmp_path / "adapters", tmp_path).text
    alone = make_report(tmp_path / "adapters", "demo", tmp_path / "page.html", examples=False)
    assert "German" not in Page(alone.path.read_text(encoding="utf-8")).text
    assert len(alone.plots) == 2


def test_damaged_cards_are_told_and_left_out(tmp_path: Path) -> None:
    home = make_base(tmp_path / "adapters")
    publish(home, realistic("sw", "Swahili"))
    publish(home, realistic("de", "German"))
    card = home.current("de").folder / "card.json"
    card.chmod(0o644)
    card.write_text("{}", encoding="utf-8")
    page = page_of(tmp_path / "adapters", tmp_path)
    assert "Left out" in page.text
    assert "de (demo)" in page.text
    home.remove("sw")
    with pytest.raises(
        RegistryError, match=r"No language of .* can be read. The first problem: de \(demo\): .*card.json"
    ):
        make_report(tmp_path / "adapters", out=tmp_path / "page.html")


def test_a_page_needs_the_name_of_a_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder. Give the name of a file, such as .*report\.html"):
        make_report(tmp_path, out=tmp_path)
    with pytest.raises(DataError, match=r"does not end in \.html. Give the name of a page, such as report\.html"):
        make_report(tmp_path, out=tmp_path / "report.pdf")


def test_examples_without_the_base_say_why(tmp_path: Path) -> None:
    publish(make_base(tmp_path / "adapters"), realistic("sw", "Swahili"))
    home = Registry(tmp_path / "adapters").create(replace(RECORD, name="gone", source=str(tmp_path / "gone model")))
    card = realistic("de", "German")
    publish(home, replace(card, base={**card.base, "name": "gone"}))
    publish(home, replace(realistic("am", "Amharic", {"text": text_split()}), base={**card.base, "name": "gone"}))
    notes: list[str] = []

    class Noted:
        def start(self, task: str, total: int | None = None, unit: str = "") -> None: ...
        def advance(self, amount: int = 1, **figures: float) -> None: ...
        def finish(self) -> None: ...
        def note(self, text: str) -> None:
            notes.append(text)

    written = make_report(tmp_path / "adapters", "gone", tmp_path / "page.html", progress=Noted())
    reasons = {one["language"]: one["reason"] for one in written.data["examples"]}
    assert "There is no base at" in reasons["de"]
    assert reasons["am"] == "Its test set has no images."
    assert len(notes) == 1
    assert "No examples for the base gone" in notes[0]
    check_page(written.path.read_text(encoding="utf-8"))


def test_queries_are_chosen_by_how_they_went() -> None:
    images = np.eye(5, dtype=np.float32)
    texts = np.array(
        [
            [1, 0.0, 0, 0, 0],  # right, by 1
            [0.9, 0.8, 0, 0, 0],  # right by little
            [0, 0.9, 1, 0, 0],  # 1 is second, behind 2
            [0.1, 0.2, 0.3, 0.0, 0.9],  # 3 is last
            [0, 0, 0, 0.5, 0.5],  # a tie of 3 and 4
            [0.5, 0, 0, 0, 0],  # the first image once more
        ]
    )
    chosen, rank, other, lead = choose(images, texts, [0, 0, 1, 3, 4, 0])
    assert rank.tolist() == [1, 1, 2, 5, 2, 1]
    assert chosen == {"best": [0], "confused": [4, 2, 3], "worst": []}
    assert other[[2, 3, 4]].tolist() == [2, 4, 3]
    assert lead[0] == pytest.approx(1)
    assert lead[4] == pytest.approx(0)
    few = choose(images, texts, [0, 0, 1, 3, 4, 0], most=1)[0]
    assert few == {"best": [0], "confused": [4], "worst": [3]}


def test_one_image_alone_gives_no_examples() -> None:
    with pytest.raises(DataError, match="only one image"):
        choose(np.ones((1, 4)), np.ones((3, 4)), [0, 0, 0])


def test_examples_keep_within_their_budget(pictures: list[Path]) -> None:
    kinds = {"best": [Example("mbwa", None, path, 1, 0.1) for path in pictures[:6]]}
    examples = {("demo", tag): Examples(kinds, "test", 60, 60) for tag in ("sw", "de", "am")}
    whole, shown = within(examples)
    assert whole == examples
    size = sum(len(shown[path]) for path in pictures[:6])
    assert size < BUDGET
    fewer, _ = within(examples, budget=2 * size)
    assert {len(one.kinds["best"]) for one in fewer.values()} == {4}
    least, _ = within(examples, budget=len(shown[pictures[0]]) + 1)
    assert [len(one.kinds.get("best", ())) for one in least.values()] == [1, 0, 0]
    assert least["demo", "am"].reason == "Left out to keep the page small."


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1", "L", "CMYK", "I;16"])
def test_a_thumbnail_is_small_whatever_the_image(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (900, 300)).save(path)
    uri = thumbnail(path)
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        assert image.mode == "RGB"
        assert max(image.size) == 128
        if mode in ("RGBA", "LA"):
            assert image.getpixel((5, 5)) == (255, 255, 255)


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        thumbnail(tmp_path / "a.png")


def test_many_languages_and_odd_names_are_drawn(tmp_path: Path) -> None:
    home = make_base(tmp_path / "adapters")
    odd = ["$x$ 中文 \u0627\u0644", "_under", "A" * 80, "%s\\frac{1}{0}"]
    for i, tag in enumerate(("sw", "de", "am", "zh-Hant")):
        data = [record("parallel", pairs=10 ** (i + 3)), record("test_set")]
        publish(home, replace(realistic(tag, odd[i], {"测试": split(), "试": split()}), data=data))
    page_of(tmp_path / "adapters", tmp_path)
    assert len(list((tmp_path / "page_plots").glob("*.png"))) == 4


def test_names_of_plots_suit_any_disk() -> None:
    assert file_name("demo", "unseen") == "demo-unseen"
    assert file_name("../../etc", 'a/b\\c:"*') == "etc-a-b-c"
    assert file_name("测试") == "x"


RTL, LTR = ("ar", "he", "ur", "dv", "az-Arab"), ("sw", "am", "ja", "ku", "", "?")


@pytest.mark.parametrize(("tag", "expected"), [*((tag, "rtl") for tag in RTL), *((tag, "ltr") for tag in LTR)])
def test_the_direction_follows_the_script(tag: str, expected: str) -> None:
    assert direction(tag) == expected


def test_unseen_characters_become_visible() -> None:
    assert visible("a\u202eb\x00\ud800\u2066") == "a[U+202E]b[U+0000][U+D800][U+2066]"
    kept = "می\u200cخواهم 👩🏽\u200d🚀 क्\u200dष\ttab\nline \u200f"
    assert visible(kept) == kept


INSPECTED = {
    "paths": ["en-ar.tsv", HOSTILE],
    "language": "ar",
    "language_name": "Arabic",
    "native": "en",
    "level": "default",
    "pairs": 250_312,
    "kept": 231_007,
    "problems": {"empty": 117, "duplicate": 10_021, "wrong_language": 6210, "length_ratio": 0, "own_problem": 3},
    "samples": {
        "duplicate": [{"where": "en-ar.tsv, line 51", "native": "A dog.", "target": "كلب.", "note": "as line 7"}],
        "wrong_language": [{"where": "en-ar.tsv, line 9", "native": "a vote", "target": "در آغاز", "note": None}],
        "empty": [{"where": "en-ar.tsv, line 6", "native": None, "target": "", "note": None}],
        "own_problem": [{"where": HOSTILE, "native": HOSTILE, "target": f"{HOSTILE}\ud800", "note": HOSTILE}],
    },
    "tokens": {"per_word": 1.83, "native_per_word": 1.21, "truncated": 55, "vocabulary": 8000},
    "licence": None,
}


def test_what_was_found_in_data_becomes_a_page() -> None:
    text = inspection_page(INSPECTED)
    text.encode("utf-8")
    page = check_page(text)
    for wanted in ("231,007 of 250,312 rows are kept (92.3 %)", "10,021", "4.0", "<0.1", "1.83; 1.21 in en", "55 texts",
                   "8,000 pieces", "unknown : ask its owner", "Looked for and not found: length ratio", "as line 7",
                   EXPLANATIONS["duplicate"], "1 of 6,210 rows."):  # fmt: skip
        assert wanted in page.text, wanted
    assert "<script>alert('x')</script>" in page.text
    assert "\u202e" not in text
    assert page.text.index("duplicate") < page.text.index("wrong language") < page.text.index("own problem")
    assert next(style for style in page.attributes("style") if style != "width: 100.0%") == "width: 62.0%"
    assert ("ar", "auto") in [(cell.get("lang"), cell.get("dir")) for cell in page.all("td")]


def test_clean_data_and_no_data_become_pages_too() -> None:
    clean = {**INSPECTED, "pairs": 9, "kept": 9, "problems": {"empty": 0}, "samples": {}, "tokens": None}
    page = check_page(inspection_page({**clean, "licence": "CC-BY-NC-4.0"}))
    assert "All 9 rows pass" in page.text
    assert "None was found." in page.text
    assert "CC-BY-NC-4.0 non-commercial only" in page.text
    check_page(inspection_page({**clean, "pairs": 0, "kept": 0}))


def test_every_problem_that_is_looked_for_is_explained() -> None:
    from mla_extend.data.doctor import PROBLEMS

    assert set(PROBLEMS) <= EXPLANATIONS.keys()


def test_starting_the_command_line_needs_nothing_heavy() -> None:
    code = (
        "import sys, mla_extend.cli.report, mla_extend.report.page, mla_extend.report.inspection;"
        "print([name for name in ('torch', 'transformers', 'jinja2', 'matplotlib', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
