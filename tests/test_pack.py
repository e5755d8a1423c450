"""Packing a language and taking it elsewhere: what comes out is what went in, and what must not come in does not."""

import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from mla_extend import load_model
from mla_extend.add.job import add_language
from mla_extend.errors import BaseMismatchError, DataError, LanguageError, MlaExtendError, RegistryError
from mla_extend.registry import publish
from mla_extend.registry.card import card_text, read_card
from mla_extend.registry.contents import MAX_FILES
from mla_extend.registry.layout import RECEIVED
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify
from mla_extend.share.pack import pack, unpack
from mla_extend.share.take_in import read_received
from tests.conftest import NATIVE_WORDS, TARGET_WORDS
from tests.test_cli_end_to_end import run, tree

AMHARIC = ["አንድ", "ቀይ", "አረንጓዴ", "ሰማያዊ", "ድመት", "ውሻ", "ወፍ", "ዛፍ", "ቤት", "ጀልባ", "ይሮጣል", "ይተኛል", "ይቀመጣል"]
AMHARIC += ["ሥር", "ላይ", "አጠገብ", "ያ", "ትልቅ", "ትንሽ", "አሮጌ"]
ARABIC = ["واحد", "أحمر", "أخضر", "أزرق", "قطة", "كلب", "طائر", "شجرة", "بيت", "قارب", "يركض", "ينام", "يجلس"]
ARABIC += ["تحت", "فوق", "قرب", "ذلك", "كبير", "صغير", "قديم"]
WORDS = {"sw": TARGET_WORDS, "am": AMHARIC, "ar": ARABIC}
EVIL = "\x1b]0;owned\x07"


def add(language: str, base: Path, registry: Path, folder: Path, *, replace: bool = False, seed: int = 0) -> None:
    """Add a language without training: 300 pairs in its own script."""
    draw = random.Random(seed)
    lines = []
    for _ in range(300):
        picked = [draw.randrange(len(NATIVE_WORDS)) for _ in range(draw.randint(2, 6))]
        lines.append(" ".join(NATIVE_WORDS[i] for i in picked) + "\t" + " ".join(WORDS[language][i] for i in picked))
    data = folder / f"en-{language}.tsv"
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    add_language(
        language,
        parallel_data=data,
        base=str(base),
        registry=registry,
        recipe="instant",
        overrides=["acquirer.bottleneck=4"],
        licence="CC BY 4.0",
        seed=seed,
        replace=replace,
    )


def make_registry(folder: Path, base: Path) -> Path:
    """Make a registry with Swahili, Amharic and Arabic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLA_EXTEND_CACHE", str(folder / "cache"))
        for language in WORDS:
            add(language, base, folder / "adapters", folder)
    return folder / "adapters"


def files_of(registry: Path, language: str) -> dict[str, bytes]:
    """Return the files of the version in use."""
    return {path.name: path.read_bytes() for path in Registry(registry).open().current(language).folder.iterdir()}


def without_swahili(registry: Path, copy: Path) -> Path:
    """Copy a registry and remove Swahili from the copy."""
    shutil.copytree(registry, copy)
    Registry(copy).open().remove("sw")
    return copy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, dual_folder: Path) -> Path:
    """Give a registry of three languages; tests copy it before they change it."""
    return make_registry(tmp_path_factory.mktemp("made"), dual_folder)


@pytest.fixture(scope="module")
def files(made: Path) -> dict[str, bytes]:
    """Give the files of the Swahili version."""
    return files_of(made, "sw")


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """Give a copy of the registry without Swahili."""
    return without_swahili(made, tmp_path / "here")


def write_zip(
    path: Path, files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], object] = lambda _: None
) -> Path:
    """Write an archive as `pack` does, after `change` of each entry."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            change(entry)
            archive.writestr(entry, content)
    return path


def sealed(content: dict[str, bytes], /, **changes: Any) -> dict[str, bytes]:
    """Return a version's files with a card that fits them, after changes of its values: what a forger would send."""
    card = {**json.loads(content["card.json"]), **changes}
    if "files" not in changes:
        card["files"] = {name: sha256(data).hexdigest() for name, data in content.items() if name != "card.json"}
    card.pop("digest", None)
    return {**content, "card.json": card_text(card).encode("utf-8", "surrogatepass")}


def refused(path: Path, registry: Path, base: Path, kind: type[MlaExtendError] = DataError) -> str:
    """Assert that an archive is refused with one printable line, and that nothing was written; return the line."""
    before = tree(registry) if registry.exists() else {}
    with pytest.raises(kind) as caught:
        unpack(path, registry=registry, base=str(base))
    assert (tree(registry) if registry.exists() else {}) == before
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 1000
    assert "mla-extend-" not in line  # no path of a folder that is gone
    return line


@pytest.fixture(autouse=True)
def _no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Assert that no test leaves anything in the system's temporary folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert not list(folder.iterdir())


def test_the_same_version_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    first = pack("am", registry=made, out=tmp_path / "first.zip")
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    second = pack("am", registry=copy, out=tmp_path)
    assert Path(second["file"]).name == f"tiny-dual-am-{first['version']}.zip"
    assert Path(first["file"]).read_bytes() == Path(second["file"]).read_bytes()
    assert first["sha256"] == second["sha256"]
    version = Registry(made).open().current("am")
    with zipfile.ZipFile(first["file"]) as archive:
        assert archive.namelist() == sorted(archive.namelist()) == first["files"]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {name: archive.read(name) for name in archive.namelist()} == {
            path.name: path.read_bytes() for path in version.folder.iterdir()
        }


def test_a_damaged_version_is_not_packed(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    weights = Registry(copy).open().current("ar").folder / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(RegistryError, match=r"adapter_model\.safetensors: it was changed"):
        pack("ar", registry=copy, out=tmp_path / "ar.zip")
    with pytest.raises(LanguageError, match="'yo' is not in the registry"):
        pack("yo", registry=copy, out=tmp_path / "yo.zip")
    with pytest.raises(RegistryError, match="no version '1999'"):
        pack("am@1999", registry=copy, out=tmp_path / "am.zip")
    with pytest.raises(DataError, match=r"cannot be written .*--out"):
        pack("am", registry=copy, out=weights / "am.zip")
    version = Registry(copy).open().current("am").folder
    content = {path.name: path.read_bytes() for path in version.iterdir()}
    forged = {**json.loads(content["card.json"])["base"], "name": "../x"}
    (version / "card.json").chmod(0o644)
    (version / "card.json").write_bytes(sealed(content, base=forged)["card.json"])
    with pytest.raises(RegistryError, match=r"'\.\./x' cannot name a base"):
        pack("am", registry=copy, out=copy)
    assert not list(tmp_path.rglob("*.zip"))


def test_what_is_unpacked_encodes_as_it_did_and_keeps_its_card(made: Path, dual_folder: Path, tmp_path: Path) -> None:
    registry = tmp_path / "elsewhere"
    packed = pack("sw", registry=made, out=tmp_path / "sw.zip")
    found = unpack(packed["file"], registry=registry, base=str(dual_folder))
    assert found["published"]
    assert found["version"] == packed["version"]
    home, old = Registry(registry).open(), Registry(made).open()
    for path in old.current("sw").folder.iterdir():
        assert (home.current("sw").folder / path.name).read_bytes() == path.read_bytes()
    assert verify(registry) == []
    texts = ["paka moja", "mbwa nyekundu chini ya mti", "👩🏽‍🚀", ""]
    vectors = [load_model(str(dual_folder), root).encode_text(texts, "sw") for root in (made, registry)]
    assert vectors[0].numpy().tobytes() == vectors[1].numpy().tobytes()

    received = read_received(home.current("sw"))
    assert received is not None
    assert received["file"] == "sw.zip"
    assert received["sha256"] == packed["sha256"]
    assert received["isolation"]["ok"]
    assert read_received(old.current("sw")) is None
    assert not list(home.work.iterdir())
    # Where it came from is this registry's affair: the archive made of it again is the same.
    assert pack("sw", registry=registry, out=tmp_path / "again.zip")["sha256"] == packed["sha256"]

    before = tree(registry)
    again = unpack(packed["file"], registry=registry)
    assert not again["published"]
    assert again["received"] == received
    assert tree(registry) == before


def test_unpacking_moves_no_other_language(made: Path, here: Path, tmp_path: Path) -> None:
    before = {name: content for name, content in tree(here).items() if "/am/" in name or "/ar/" in name}
    vectors = load_model(registry=here).encode_text(["ቀይ ድመት", "قطة حمراء", "a red cat"], ["am", "ar", "en"])
    found = unpack(pack("sw", registry=made, out=tmp_path / "sw.zip")["file"], registry=here)
    assert set(found["received"]["isolation"]["languages"]) == {"en", "am", "ar"}
    assert before.items() <= tree(here).items()
    after = load_model(registry=here).encode_text(["ቀይ ድመት", "قطة حمراء", "a red cat"], ["am", "ar", "en"])
    assert vectors.numpy().tobytes() == after.numpy().tobytes()
    event = Registry(here).open().events("sw")[-1]
    assert (event.action, event.after, event.done) == ("add", found["version"], True)


def test_another_version_is_kept_beside(made: Path, here: Path, dual_folder: Path, tmp_path: Path) -> None:
    packed = pack("sw", registry=made, out=tmp_path / "sw.zip")
    add("sw", dual_folder, here, tmp_path, seed=1)
    home = Registry(here).open()
    own = home.current("sw")
    with pytest.raises(RegistryError, match=r"'sw' is already in the registry"):
        unpack(packed["file"], registry=here)
    assert unpack(packed["file"], registry=here, replace=True)["published"]
    assert home.current("sw").name == packed["version"]
    assert {version.name for version in home.versions("sw")} == {own.name, packed["version"]}
    home.use("sw", own.name)
    with pytest.raises(RegistryError, match="already"):
        unpack(packed["file"], registry=here)
    assert unpack(packed["file"], registry=here, replace=True)["version"] == packed["version"]
    assert home.current("sw").name == packed["version"]
    assert len(home.versions("sw")) == 2
    assert verify(here) == []


def test_two_versions_of_one_name_are_refused(
    made: Path, files: dict[str, bytes], dual_folder: Path, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "other.zip", sealed(files, seed=7))
    assert "exists with other content" in refused(path, made, dual_folder, RegistryError)


def test_another_base_is_refused_with_both_names(
    made: Path, clip_folder: Path, dual_folder: Path, tmp_path: Path
) -> None:
    packed = pack("sw", registry=made, out=tmp_path / "sw.zip")["file"]
    line = refused(packed, tmp_path / "empty", clip_folder, BaseMismatchError)
    assert "'tiny-dual'" in line
    assert "'tiny-clip'" in line
    assert "--base" in line
    assert not (tmp_path / "empty").exists()
    add("am", clip_folder, tmp_path / "clip", tmp_path)
    with pytest.raises(BaseMismatchError, match=r"'tiny-dual'.*'tiny-clip'.*--base"):
        unpack(packed, registry=tmp_path / "clip")
    refused(packed, tmp_path / "clip", clip_folder, BaseMismatchError)
    # The registry may hold both: the one that the card names is found by its fingerprint.
    assert unpack(packed, registry=tmp_path / "clip", base=str(dual_folder))["published"]
    assert not unpack(packed, registry=tmp_path / "clip")["published"]


NAMES = {
    "up": "../escaped.json",
    "up-inside": "a/../../escaped.json",
    "absolute": "/tmp/escaped.json",
    "drive": "C:/escaped.json",
    "backslash": "a\\escaped.json",
    "dot": "./card2.json",
    "hidden": ".received.json",
    "twice-slashed": "a//b.json",
    "device": "con.json",
    "numbered-device": "lpt1.md",
    "trailing-dot": "a./b.json",
    "control": "a\x1b[31m.json",
    "turned": "a\u202enosj.json",
    "other-script": "ካርድ.json",
    "long": "a" * 200 + ".json",
    "deep": "a/b/c/d/e.json",
    "pickle": "adapter_model.bin",
    "torch": "adapter_model.pt",
    "code": "modeling.py",
    "shell": "run.sh",
    "page": "index.html",
    "no-kind": "data",
    "other-case": "Card.JSON",
    "same-but-for-case": "README.MD",
    "same-but-for-case-kind": "readme.md",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_names_that_no_version_has_are_refused(
    name: str, files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "sw.zip", {**files, name: b"{}"})
    line = refused(path, here, dual_folder)
    assert str(path) in line
    assert not list(tmp_path.rglob("escaped*"))
    assert not Path("/tmp/escaped.json").exists()


def test_a_name_that_stands_twice_is_refused(
    files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sw.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("tokenizer.json", b"{}")
    assert "twice" in refused(path, here, dual_folder)


KINDS = {
    "link": 0o120777,
    "pipe": 0o010644,
    "device": 0o020644,
    "block": 0o060644,
    "folder": 0o040755,
    "socket": 0o140644,
}


@pytest.mark.parametrize("mode", KINDS.values(), ids=KINDS.keys())
def test_links_and_devices_are_refused(
    mode: int, files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    def change(entry: zipfile.ZipInfo) -> None:
        if entry.filename == "tokenizer.json":
            entry.external_attr = mode << 16

    path = write_zip(tmp_path / "sw.zip", {**files, "tokenizer.json": b"/etc/passwd"}, change)
    assert "not a plain file" in refused(path, here, dual_folder)


def test_a_bomb_is_refused_before_anything_is_written(
    files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, "more.json": bytes(50_000_000)}.items():
            archive.writestr(name, content)
    assert bomb.stat().st_size < 1_000_000
    assert "is compressed" in refused(bomb, here, dual_folder)

    many = write_zip(tmp_path / "many.zip", {**files, **{f"{i}.json": b"" for i in range(MAX_FILES)}})
    assert f"the limit is {MAX_FILES}" in refused(many, here, dual_folder)

    large = write_zip(tmp_path / "large.zip", {**files, "card.json": bytes(20_000_000)})
    assert "above the limit" in refused(large, here, dual_folder)

    # The list says of each file that it is of 3 GB, or that all lie over one another.
    content = bytearray(write_zip(tmp_path / "lying.zip", files).read_bytes())
    at, sizes = 0, []
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        sizes.append(at + 20)
        at += 4
    for size in sizes:
        content[size : size + 8] = struct.pack("<LL", 3_000_000_000, 3_000_000_000)
    (tmp_path / "lying.zip").write_bytes(content)
    assert "above the limit" in refused(tmp_path / "lying.zip", here, dual_folder)
    for size in sizes:
        content[size : size + 8] = struct.pack("<LL", 1_000_000, 1_000_000)
    (tmp_path / "lying.zip").write_bytes(content)
    assert "its entries overlap" in refused(tmp_path / "lying.zip", here, dual_folder)


def test_what_is_no_archive_of_ours_is_refused(
    files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    whole = write_zip(tmp_path / "sw.zip", files).read_bytes()
    odd = tmp_path / "odd.zip"
    broken = bytearray(whole)
    broken[whole.index(files["adapter_model.safetensors"]) + 100] ^= 1
    wrong = [b"", b"PK", whole[:-1], whole[: len(whole) // 2], b"#!/bin/sh\n" + whole, whole + b"tail", bytes(broken)]
    for content in (*wrong, random.Random(0).randbytes(5000)):
        odd.write_bytes(content)
        assert "is not an archive that mla-extend pack wrote" in refused(odd, here, dual_folder)

    def encrypt(entry: zipfile.ZipInfo) -> None:
        entry.flag_bits |= 1

    write_zip(odd, files, encrypt)
    content = bytearray(odd.read_bytes())
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        content[at + 8] |= 1
        at += 4
    odd.write_bytes(content)
    assert "is encrypted" in refused(odd, here, dual_folder)

    with tarfile.open(odd, "w") as archive:
        for name, part in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(part)
            archive.addfile(entry, io.BytesIO(part))
    assert "is not an archive" in refused(odd, here, dual_folder)
    assert "does not exist" in refused(tmp_path / "none.zip", here, dual_folder)
    assert "is not a file" in refused(tmp_path, here, dual_folder)
    pipe = tmp_path / "pipe.zip"
    os.mkfifo(pipe)
    assert "is not a file" in refused(pipe, here, dual_folder)


def test_files_that_the_card_does_not_vouch_for_are_refused(
    files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    def attempt(content: dict[str, bytes], kind: type[MlaExtendError] = RegistryError) -> str:
        return refused(write_zip(tmp_path / "sw.zip", content), here, dual_folder, kind)

    assert "tokenizer.json: it was changed" in attempt({**files, "tokenizer.json": b"{}"})
    assert "it is not on the card" in attempt({**files, "more.json": b"{}"})
    lacking = {name: content for name, content in files.items() if name != "adapter_config.json"}
    assert "adapter_config.json: it is missing" in attempt(lacking)
    edited = files["card.json"].replace(b'"seed": 0', b'"seed": 1')
    assert "was changed after it was published" in attempt({**files, "card.json": edited})
    no_card = {name: content for name, content in files.items() if name != "card.json"}
    assert "holds no card.json" in attempt(no_card, DataError)
    for rubbish in (
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": ' + b"9" * 5000 + b"}",
        b'{"schema": 99}',
    ):
        attempt({**files, "card.json": rubbish}, MlaExtendError)
    weights = {**files, "adapter_model.safetensors": b"\x80\x04\x95pickle"}
    assert "not a readable safetensors file" in attempt(sealed(weights))
    weights["adapter_model.safetensors"] = struct.pack("<Q", 2**62) + b"{}"
    assert "not a readable safetensors file" in attempt(sealed(weights))


def deep(levels: int) -> list[Any]:
    """Return a list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


CARDS: dict[str, dict[str, Any]] = {
    "control": {"language_name": f"Swahili{EVIL}"},
    "control-in-a-key": {"cost": {"seconds": 1, "peak_memory_bytes": 1, EVIL: 1}},
    "turned": {"language_name": "Swahili\u202e"},
    "surrogate": {"language_name": "Swahili\ud800"},
    "markup": {"language_name": "[bold]Swahili[/nothing]"},
    "script": {"language_name": "<script>alert(1)</script>"},
    "no-text": {"language_name": ["Swahili"]},
    "path-as-language": {"language": "../../sw"},
    "native": {"language": "en"},
    "path-as-version": {"version": "../../../2026-11-24T10-15-03Z-3f9a"},
    "no-version": {"version": "latest"},
    "line-after-version": {"version": "2026-11-24T10-15-03Z-3f9a\n"},
    "huge": {"parameters": 10**40},
    "negative": {"bytes": -1},
    "true-as-number": {"seed": True},
    "infinite": {"cost": {"seconds": float("inf"), "peak_memory_bytes": 1}},
    "not-a-number": {"metrics": {"splits": {"all": {"mean_recall": float("nan")}}}},
    "wrong-splits": {"metrics": {"splits": []}},
    "markup-in-a-split": {"metrics": {"language": "sw", "base": "x", "test_set": "x", "splits": {"[/x]": {}}}},
    "half-a-split": {"metrics": {"language": "sw", "base": "x", "test_set": "x", "splits": {"all": {"gallery": 3}}}},
    "nameless-metrics": {"metrics": {"splits": {}}},
    "half-a-stage": {"stages": [{"stage": "transfer", "steps": 5}]},
    "wrong-interval": {"metrics": {"splits": {"all": {"ci95": ["a", "b"]}}}},
    "wrong-data": {"data": ["x"]},
    "wrong-stage": {"stages": [7]},
    "wrong-proof": {"isolation": {"ok": "yes", "languages": []}},
    "deep": {"recipe": {"a": deep(60)}},
    "escaping-file": {"files": {"../x.json": "0" * 64}},
    "wrong-hash": {"files": {"tokenizer.json": "x"}},
    "number-as-hash": {"files": {"tokenizer.json": 5}},
    "nameless-base": {"base": {"fingerprint": "0" * 64, "family": "clip", "native": "en"}},
    "path-as-base": {"base": {"name": "../x", "fingerprint": "0" * 64, "family": "clip", "native": "en"}},
}


@pytest.mark.filterwarnings("ignore:.*surrogates")
@pytest.mark.parametrize("changes", CARDS.values(), ids=CARDS.keys())
def test_cards_that_no_registry_writes_are_refused(
    changes: dict[str, Any], files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    card = {**json.loads(files["card.json"]), **changes, "digest": ""}
    text = json.dumps(card, indent=2)  # by hand: the card's own writer refuses some of these
    content = text.replace('\n  "digest": ""', f'\n  "digest": "{sha256(text.encode()).hexdigest()}"').encode()
    path = write_zip(tmp_path / "sw.zip", {**files, "card.json": content})
    refused(path, here, dual_folder, MlaExtendError)


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "slow-expression": ({"target_modules": "^(([a-z.0-9]+)+)+!$"}, "target_modules"),
    "other-modules": ({"target_modules": ".*"}, "target_modules"),
    "other-method": ({"peft_type": "LORA"}, "peft_type"),
    "no-text": ({"peft_type": {"a": 1}}, "peft_type"),
    "other-language": ({"language": "am"}, "language"),
    "other-base": ({"base_fingerprint": "0" * 64}, "base_fingerprint"),
    "other-width": ({"width": 4096}, "width"),
    "unknown-kind": ({"kind": "eval"}, "kind"),
    "wrong-kind": ({"kind": ["lora"]}, "kind"),
    "huge-acquirers": ({"bottleneck": 10**12}, "bottleneck"),
    "negative": ({"bottleneck": -1}, "bottleneck"),
    "huge-table": ({"vocabulary": 10**12}, "vocabulary"),
    "no-number": ({"vocabulary": "all"}, "vocabulary"),
    "small-table": ({"vocabulary": 3}, "pieces, and the table"),
    "wrong-table": ({"pretrained": "x"}, "pretrained"),
    "control": ({"revision": EVIL}, "holds the character"),
}


@pytest.mark.parametrize(("changes", "message"), SETTINGS.values(), ids=SETTINGS.keys())
def test_settings_that_do_not_fit_the_base_are_refused(
    changes: dict[str, Any], message: str, files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    settings = json.dumps({**json.loads(files["adapter_config.json"]), **changes}).encode()
    path = write_zip(tmp_path / "sw.zip", sealed({**files, "adapter_config.json": settings}))
    assert message in refused(path, here, dual_folder)


@pytest.mark.parametrize("source", [None, "google-bert/bert-base-multilingual-cased"])
def test_a_table_that_an_adapter_names_is_neither_opened_nor_fetched(
    source: str | None, files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("it was fetched"))
    table = {"source": source or str(dual_folder), "fingerprint": "0" * 64, "width": 16}
    settings = json.dumps({**json.loads(files["adapter_config.json"]), "pretrained": table}).encode()
    path = write_zip(tmp_path / "sw.zip", sealed({**files, "adapter_config.json": settings}))
    line = refused(path, here, dual_folder, RegistryError)
    assert "which is not in the cache" in line
    assert (f'open_table("{source}")' in line) == (source is not None)


def test_settings_and_tokenizers_that_cannot_be_read_are_refused(
    files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    def attempt(changes: dict[str, bytes]) -> str:
        return refused(write_zip(tmp_path / "sw.zip", sealed({**files, **changes})), here, dual_folder)

    for content in (b"", b"[1]", b"{", b"[" * 100_000):
        assert "adapter_config.json" in attempt({"adapter_config.json": content})
    for content in (b"", b"{}", b'{"model": {"type": "WordLevel", "vocab": {}}}'):
        assert "tokenizer.json" in attempt({"tokenizer.json": content})
    for content in (EVIL.encode(), b"\xff", "x\u202e".encode()):
        assert "README.md" in attempt({"README.md": content})


def test_weights_that_do_not_fit_or_give_no_vectors_are_refused(
    files: dict[str, bytes], here: Path, dual_folder: Path, tmp_path: Path
) -> None:
    tensors = load(files["adapter_model.safetensors"])

    def attempt(changed: dict[str, Any]) -> str:
        content = sealed({**files, "adapter_model.safetensors": save(changed)})
        return refused(write_zip(tmp_path / "sw.zip", content), here, dual_folder, RegistryError)

    first = next(name for name in tensors if "acquirer_block" in name)
    assert "does not fit the base" in attempt({**tensors, "more": np.zeros(3, np.float32)})
    assert "is missing" in attempt({name: tensor for name, tensor in tensors.items() if name != first})
    assert "has shape" in attempt({**tensors, first: np.concatenate([tensors[first]] * 2)})
    with pytest.raises(DataError, match=r"'more\\x1b'"):
        attempt({**tensors, f"more{EVIL[0]}": np.zeros(3, np.float32)})
    assert "not finite" in attempt(
        {name: np.full_like(t, np.nan) if t.dtype.kind == "f" else t for name, t in tensors.items()}
    )
    assert Registry(here).open().tags() == ["am", "ar"]
    assert not list(Registry(here).open().work.iterdir())


def test_a_failure_while_it_is_put_into_use_leaves_the_registry_as_it_was(
    made: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack("sw", registry=made, out=tmp_path / "sw.zip")["file"]
    before = tree(here)

    def full(folder: Path, name: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "set_current", full)
        with pytest.raises(RegistryError, match=r"'sw' was not published: .*No space left.*Free some space"):
            unpack(packed, registry=here)
    assert tree(here) == before
    assert Registry(here).open().tags() == ["am", "ar"]
    assert unpack(packed, registry=here)["published"]
    assert verify(here) == []


def test_two_processes_unpack_the_same_file_at_once(made: Path, here: Path, tmp_path: Path) -> None:
    packed = pack("sw", registry=made, out=tmp_path / "sw.zip")["file"]
    command = [sys.executable, "-m", "mla_extend", "unpack", packed, "--registry", str(here), "--json"]
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    found = [json.loads(process.communicate()[0]) for process in pair]
    assert sorted(one["published"] for one in found) == [False, True]
    assert len(Registry(here).open().versions("sw")) == 1
    assert [event.action for event in Registry(here).open().events("sw")] == ["add", "remove", "add"]
    assert verify(here) == []


def test_the_commands_pack_and_unpack(made: Path, here: Path, dual_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kiswahili.zip"
    code, text, _ = run("pack", "sw", "--out", str(out), registry=made)
    assert code == 0
    assert f"into {out}" in text
    version = Registry(made).open().current("sw").name
    code, text, _ = run("pack", "sw@v1", "--out", str(tmp_path), "--json", registry=made)
    assert json.loads(text)["version"] == version
    code, text, _ = run("unpack", str(out), "--json", registry=here)
    assert code == 0
    found = json.loads(text)
    assert found["published"]
    assert Path(found["folder"]) == Registry(here).open().current("sw").folder
    assert (Path(found["folder"]) / RECEIVED).is_file()
    assert "Was there already: sw" in run("unpack", str(out), registry=here)[1]
    assert "Published sw" in run("unpack", str(out), "--base", str(dual_folder), registry=tmp_path / "new")[1]
    assert [row["language"] for row in json.loads(run("list", "--json", registry=here)[1])] == ["am", "ar", "sw"]
    assert read_card(Path(found["folder"])).version == version
