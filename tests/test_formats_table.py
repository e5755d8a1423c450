"""Every format through the real command: a dry run reads it, checks it and says how many pairs it would train on."""

import csv
import gzip
import json
import zipfile
from collections.abc import Callable
from html import escape
from pathlib import Path

import polib
import pytest
from PIL import Image

from mla_extend.data.formats import FORMATS
from tests.conftest import sentences
from tests.test_cli_end_to_end import run

COUNT = 80
NATIVE, TARGET = sentences(COUNT)
PAIRS = list(dict.fromkeys(zip(NATIVE, TARGET, strict=True)))

Writer = Callable[[Path], str]


def lines(path: Path, rows: list[str]) -> Path:
    """Write lines."""
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def tsv(folder: Path) -> str:
    """Write two columns, packed."""
    path = folder / "en-sw.tsv.gz"
    path.write_bytes(gzip.compress("".join(f"{a}\t{b}\n" for a, b in PAIRS).encode()))
    return str(path)


def comma_separated(folder: Path) -> str:
    """Write quoted cells under a header."""
    path = folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("english", "non_english"), *PAIRS])
    return str(path)


def jsonl(folder: Path) -> str:
    """Write objects with a column for each language."""
    return str(lines(folder / "pairs.jsonl", [json.dumps({"en": a, "sw": b}) for a, b in PAIRS]))


def jsonl_folder(folder: Path) -> str:
    """Write a folder with a file a split."""
    (folder / "set").mkdir()
    lines(folder / "set" / "dev.jsonl", [json.dumps({"en": a, "sw": b}) for a, b in PAIRS[:3]])
    lines(folder / "set" / "train.jsonl", [json.dumps({"en": a, "sw": b}) for a, b in PAIRS])
    return str(folder / "set")


def parquet(folder: Path) -> str:
    """Write a column of translations."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"translation": [{"en": a, "sw": b} for a, b in PAIRS]}), folder / "pairs.parquet")
    return str(folder / "pairs.parquet")


def moses(folder: Path) -> str:
    """Write two files in an archive, as OPUS has them."""
    path = folder / "en-sw.txt.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Corpus.en-sw.en", "".join(f"{a}\n" for a, _ in PAIRS))
        archive.writestr("Corpus.en-sw.sw", "".join(f"{b}\n" for _, b in PAIRS))
    return str(path)


def tmx(folder: Path) -> str:
    """Write a translation memory."""
    units = "".join(
        f'<tu><tuv xml:lang="en-GB"><seg>{escape(a)}</seg></tuv><tuv xml:lang="sw"><seg>{escape(b)}</seg></tuv></tu>'
        for a, b in PAIRS
    )
    text = f'<?xml version="1.0" encoding="UTF-8"?><tmx version="1.4"><header/><body>{units}</body></tmx>'
    return str(lines(folder / "memory.tmx", [text]))


def xliff(folder: Path) -> str:
    """Write translation units."""
    units = "".join(
        f'<trans-unit id="{i}"><source>{escape(a)}</source><target>{escape(b)}</target></trans-unit>'
        for i, (a, b) in enumerate(PAIRS)
    )
    body = (
        f'<file source-language="en" target-language="sw" datatype="plaintext" original="x"><body>{units}</body></file>'
    )
    text = f'<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">{body}</xliff>'
    return str(lines(folder / "app.xlf", [text]))


def gettext(folder: Path) -> str:
    """Write a catalogue; its keys are different by nature."""
    catalogue = polib.POFile()
    catalogue.metadata = {"Content-Type": "text/plain; charset=utf-8", "Language": "sw"}
    catalogue.extend(polib.POEntry(msgid=a, msgstr=b) for a, b in dict(PAIRS).items())
    catalogue.save_as_mofile(str(folder / "app.mo"))
    return str(folder / "app.mo")


def bicleaner(folder: Path) -> str:
    """Write addresses before a pair and scores behind."""
    rows = [f"https://a.example/{i}\thttps://b.example/{i}\t{a}\t{b}\t0.9" for i, (a, b) in enumerate(PAIRS)]
    return str(lines(folder / "crawl.tsv", rows))


def hugging_face(folder: Path) -> str:
    """Write a data set as the datasets library saves it."""
    import datasets

    rows = {"translation": [{"en": a, "sw": b} for a, b in PAIRS]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(folder / "saved"))
    return str(folder / "saved")


def image_folder(folder: Path) -> str:
    """Write images with their metadata."""
    home = folder / "photos"
    home.mkdir()
    rows = []
    for i, (native, target) in enumerate(PAIRS):
        Image.new("RGB", (8, 8), (i, i, i)).save(home / f"{i}.png")
        rows.append(json.dumps({"file_name": f"{i}.png", "english": native, "text": target}))
    lines(home / "metadata.jsonl", rows)
    return str(home)


def webdataset(folder: Path) -> str:
    """Write a tar of images and texts."""
    import io
    import tarfile

    path = folder / "0000.tar"
    with tarfile.open(path, "w") as archive:
        for i, (_, target) in enumerate(PAIRS):
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), (i, 2 * i, 0)).save(picture, "PNG")
            for suffix, content in (("png", picture.getvalue()), ("txt", target.encode())):
                member = tarfile.TarInfo(f"{i:04}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return str(path)


WRITERS: dict[str, Writer] = {
    "tsv": tsv,
    "csv": comma_separated,
    "jsonl": jsonl,
    "jsonl-folder": jsonl_folder,
    "parquet": parquet,
    "moses": moses,
    "tmx": tmx,
    "xliff": xliff,
    "gettext": gettext,
    "bicleaner": bicleaner,
    "hf": hugging_face,
    "imagefolder": image_folder,
    "webdataset": webdataset,
}
IMAGES_ALONE = {"webdataset"}


def test_every_format_is_in_the_table() -> None:
    """A new format gets its row."""
    assert WRITERS.keys() == {known.name for known in FORMATS}


@pytest.mark.parametrize("prefixed", [False, True], ids=["recognised", "named"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_dry_run_reads_it(name: str, prefixed: bool, dual_folder: Path, tmp_path: Path) -> None:
    """The format is found, or named before the path; nothing of the toy data is dropped."""
    given = WRITERS[name](tmp_path)
    given = f"{name}:{given}" if prefixed else given
    arguments = ["--parallel-data", given]
    if name in IMAGES_ALONE:
        arguments = ["--parallel-data", tsv(tmp_path), "--image-text", given]
    code, out, _ = run(
        "add-language", "sw", *arguments, "--base", str(dual_folder), "--recipe", "quick", "--dry-run", "--json",
        "--set", "transfer.batch=16", "--set", "exposure.batch=16", registry=tmp_path / "adapters",
    )  # fmt: skip
    plan = json.loads(out)
    assert code == 0
    pairs = len(dict(PAIRS)) if name == "gettext" else len(PAIRS)
    assert (plan["pairs"], plan["kept"]) == (pairs, pairs)
    record = plan["data"][-1]
    assert (record["format"], record["pairs"], record["kept"], record["dropped"]) == (name, pairs, pairs, {})
    assert plan["image_text"] == (pairs if name in {"imagefolder", *IMAGES_ALONE} else 0)
