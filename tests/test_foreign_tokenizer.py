"""A tokenizer from elsewhere holds what this package writes and nothing else, before a library sees it."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import native_tokenizer, sentences
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer

from mla_extend.errors import DataError
from mla_extend.language.normaliser import composed_first, known_steps, learn_normaliser
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.share import foreign_tokenizer
from mla_extend.share.foreign_adapter import numbers_held
from mla_extend.share.foreign_tokenizer import check_tokenizer, trial

TEXTS = {
    "sw": ["mbwa mwekundu anakimbia", "paka wa Toyota amelala"],
    "tr": ["Iğdır'da ılık İstanbul", "kırmızı köpek"],
    "de": ["Der große Straßenhund läuft", "Weiß und schwarz"],
    "el": ["Ο σκύλος τρέχει γρήγορα", "μικρός"],
    "lt": ["Žuvis į̇ vandenį", "šuo"],
    "fa": ["من می‌خواهم سگ را ببینم", "کتاب خوب است"],
    "ar": ["الكلب يجري في الحديقة", "كتاب ي ك ه"],
    "ur": ["کتا بھاگ رہا ہے", "ہم"],
    "th": ["สุนัขวิ่งน้ำ ทำ", "เเมว"],
    "lo": ["ໝາແລ່ນ ນ້ຳ", "ເເມວ"],
    "bn": ["কুকুর দৌড়ায়", "হঠাৎ"],
    "ml": ["നായ ഓടുന്നു അവൻ", "അവന്‍"],
    "si": ["ශ්‍රී ලංකාව", "බල්ලා"],
    "ro": ["Câinele și pisica țară", "şi ţară"],
    "vi": ["Con chó chạy đường", "mèo"],
    "am": ["ውሻው ይሮጣል Toyota", "ድመት"],
    "ja": ["犬がToyotaで走る", "猫"],
    "az": ["İt qaçır, ağ it", "pişik"],
}


@pytest.fixture(scope="module")
def made() -> LanguageTokenizer:
    _, target = sentences(200)
    return LanguageTokenizer.train(target, 16, size=600, language="sw")


@pytest.fixture
def folder(made: LanguageTokenizer, tmp_path: Path) -> Path:
    made.save(tmp_path)
    return tmp_path


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """Return why a tokenizer is refused after a change."""
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"^sw\.zip: tokenizer\.json .* Nothing was taken from it\.$") as found:
        check_tokenizer(folder, 100_000, None, "sw.zip")
    return str(found.value)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("language", TEXTS)
def test_every_step_that_a_language_takes_is_a_known_one(language: str, lower: bool) -> None:
    normaliser = learn_normaliser(TEXTS[language], lower=lower, language=language)
    known = known_steps()
    for step in json.loads(normaliser.__getstate__())["normalizers"]:
        assert step in known


@pytest.mark.parametrize("language", ["sw", "fa", "ja"])
def test_what_this_package_writes_is_taken(language: str, tmp_path: Path) -> None:
    texts = TEXTS[language] * 20
    own = LanguageTokenizer.train(texts, 16, size=700, language=language)
    own.save(tmp_path)
    check_tokenizer(tmp_path, own.size, None, "x.zip")
    larger, added = own.with_native(native_tokenizer("bert"), texts, [("mbwekundu", [9])])
    LanguageTokenizer(added.content, 16, larger.pieces).save(tmp_path)
    check_tokenizer(tmp_path, own.size + len(added.lost) + len(added.rows), None, "x.zip")


def test_a_frozen_tables_tokenizer_is_taken_and_no_other(tmp_path: Path) -> None:
    class Table:
        source = "owner/model"
        tokenizer = native_tokenizer("bert").backend_tokenizer.to_str()

    path = tmp_path / "tokenizer.json"
    for content in (Table.tokenizer, composed_first(Tokenizer.from_str(Table.tokenizer)).to_str()):
        path.write_text(content)
        check_tokenizer(tmp_path, 0, Table, "x.zip")  # type: ignore[arg-type]
    path.write_text(Table.tokenizer.replace("cat", "cot"))
    with pytest.raises(DataError, match="is not that of the table from 'owner/model'"):
        check_tokenizer(tmp_path, 0, Table, "x.zip")  # type: ignore[arg-type]


def junk(values: dict[str, Any]) -> None:
    """Put in a table of characters that ends the process of the library that reads it."""
    charsmap = base64.b64encode(b"\xff\xff\xff\x7f" * 64).decode()
    values["normalizer"]["normalizers"].append({"type": "Precompiled", "precompiled_charsmap": charsmap})


def doubling(values: dict[str, Any]) -> None:
    """Put in nine steps that each make a text ten times as long."""
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    values["normalizer"]["normalizers"] += [step] * 9


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "charsmap": (junk, "Precompiled"),
    "doubling": (doubling, "normalises text in a way"),
    "many-known-steps": (lambda v: v["normalizer"]["normalizers"].extend([known_steps()[0]] * 5), "too many steps"),
    "slow-expression": (
        lambda v: v["normalizer"]["normalizers"].append(
            {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
        ),
        "normalises text in a way",
    ),
    "long-piece": (lambda v: v["model"]["vocab"].append(["x" * 1_000_000, -1.0]), "of 1,000,000 characters"),
    "empty-piece": (lambda v: v["model"]["vocab"].append(["", -1.0]), "of 0 characters"),
    "odd-piece": (lambda v: v["model"]["vocab"].append(["\x1b[2J", -1.0]), r"\x1b"),
    "score": (lambda v: v["model"]["vocab"].append(["x", float("nan")]), "the score nan"),
    "huge-score": (lambda v: v["model"]["vocab"].append(["x", 10**400]), "the score 1"),
    "no-pair": (lambda v: v["model"]["vocab"].append(["x"]), "in place of a piece"),
    "unknown-id": (lambda v: v["model"].update(unk_id=10**9), "1000000000"),
    "model": (lambda v: v["model"].update(type="BPE"), "BPE"),
    "more-in-model": (lambda v: v["model"].update(dropout=0.5), "'dropout'"),
    "added-token": (lambda v: v.update(added_tokens=[{"id": 0, "content": "x"}]), "added_tokens"),
    "parter": (lambda v: v.update(pre_tokenizer={"type": "Digits", "individual_digits": True}), "pre_tokenizer"),
    "template": (lambda v: v["post_processor"]["special_tokens"]["<s>"].update(ids=[2, 10**9]), "ids"),
    "decoder": (lambda v: v.update(decoder={"type": "WordPiece"}), "WordPiece"),
    "more": (lambda v: v.update(more=1), "'more'"),
    "odd-step": (lambda v: v["normalizer"]["normalizers"].append("\x1b[2J\ud800"), r"('\x1b[2J\ud800')"),
    "no-normaliser": (lambda v: v.update(normalizer=None), "no normaliser"),
    "one-step": (lambda v: v.update(normalizer={"type": "NFKC"}), "no normaliser"),
    "first-pieces": (lambda v: v["model"]["vocab"].reverse(), "does not begin with"),
    "other-pieces": (lambda v: v["model"]["vocab"][300].__setitem__(0, "zebra"), "has different pieces from"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_no_language_has_is_refused_before_a_library_sees_it(
    change: Callable[[dict[str, Any]], object], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_tokenizer, "trial", lambda folder: pytest.fail("it was run"))
    assert message in changed(folder, change)


def test_more_pieces_than_rows_and_what_is_no_json_are_refused(folder: Path, made: LanguageTokenizer) -> None:
    with pytest.raises(DataError, match=rf"has {made.size} pieces, and the table 10 rows"):
        check_tokenizer(folder, 10, None, "sw.zip")
    for content in (b"[" * 100_000, b"\xff", b"[]", b"{", b'{"model": 3}'):
        (folder / "tokenizer.json").write_bytes(content)
        with pytest.raises(DataError, match=r"tokenizer\.json (cannot be read|is no tokenizer)"):
            check_tokenizer(folder, 10, None, "sw.zip")


def test_a_sentencepiece_model_of_other_pieces_is_refused(folder: Path) -> None:
    path = folder / "sentencepiece.model"
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    model.pieces.add(piece="y" * 10_000, score=-1.0)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"has different pieces from the sentencepiece\.model"):
        check_tokenizer(folder, 100_000, None, "sw.zip")
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(DataError, match=r"beside a sentencepiece\.model that cannot be read"):
        check_tokenizer(folder, 100_000, None, "sw.zip")


@pytest.mark.parametrize("change", [junk, doubling])
def test_the_trial_ends_what_a_check_has_let_through(
    change: Callable[[dict[str, Any]], object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_tokenizer, "_fault", lambda values, rows: None)
    monkeypatch.setattr(foreign_tokenizer, "MEMORY", 1 << 29)
    assert "cannot be run" in changed(folder, change)


def test_more_values_than_fit_memory_are_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "tokenizer.json").write_text(f"[{'[],' * 2_000_000}0]")
    monkeypatch.setattr(json, "loads", lambda content: pytest.fail("it was read"))
    with pytest.raises(DataError, match=r"tokenizer\.json holds more than 4,000,000 values"):
        check_tokenizer(folder, 10, None, "sw.zip")


def test_the_trial_runs_no_module_of_the_folder_that_it_is_started_in(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "resource.py").write_text("raise RuntimeError('planted')")
    monkeypatch.chdir(planted)
    assert trial(folder) is None


def test_a_header_of_tensors_is_measured_before_a_library_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    body = b'{"a":{"dtype":"F32","data_offsets":[0,0],"shape":[0' + b",0" * 2_000_000 + b"]}}"
    path.write_bytes(len(body).to_bytes(8, "little") + body)
    with pytest.raises(DataError, match="has a header of more than 4,000,000 bytes"):
        numbers_held(path, "sw.zip")
