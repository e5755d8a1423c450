"""A language keeps the words that its base knows: names and native words inside its text, by reference."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mla_extend.bases.open import open_base
from mla_extend.errors import RegistryError
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.native_words import native_pieces
from mla_extend.language.normaliser import learn_normaliser
from mla_extend.language.tokenizer import pad
from mla_extend.training.native_rows import NativeRows, partners
from mla_extend.training.recipe import load_recipe
from mla_extend.training.stages import TransferTask
from tests.conftest import NATIVE_WORDS, TARGET_WORDS, assert_close, sentences
from tests.fake_training import loss_of

NATIVE, TARGET = sentences(400)
ENGLISH = ["a Toyota sleeps in London", "the London house", "Toyota Toyota toys", "sleeping in the houses of London"]
UNKNOWN = [word for word in NATIVE_WORDS if len(word) > 1]
"""Native words that the target text lacks, as it lacks all of them; single letters are no native words."""


def word_piece(lower: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return trained(tokenizer, trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[PAD]", "[UNK]"]))


def byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=["<|endoftext|>"], end_of_word_suffix="</w>")
    tokenizer = trained(tokenizer, trainer)
    tokenizer.add_tokens(["Ġ"])  # CLIP's vocabulary has such entries, which mark nothing
    return tokenizer


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=90, special_tokens=["<s>"]))


def unigram() -> Tokenizer:
    words = ["▁Toyota", "▁London", "▁house", "▁sleeps", "▁the", "ing", "s"]
    letters = sorted(set("".join(ENGLISH)) - {" "} - set(words))
    vocabulary = [("<unk>", 0.0), *((piece, -3.0) for piece in words), *((letter, -6.0) for letter in ["▁", *letters])]
    tokenizer = Tokenizer(models.Unigram(vocabulary, 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def trained(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(ENGLISH * 40, trainer)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "word pieces": lambda: word_piece(True),
    "word pieces with case": lambda: word_piece(False),
    "byte pairs that end words": byte_pairs,
    "byte pairs that begin words": byte_level,
    "unigram": unigram,
}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_words_of_every_kind_of_vocabulary_are_found(kind: str) -> None:
    """Each piece that begins a word names the entry that the base itself reads for that word."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=KINDS[kind]())
    pieces = native_pieces(tokenizer, learn_normaliser(["gari jekundu"], language="sw"))
    assert {"▁toyota", "▁london"} <= pieces.keys()
    for piece, row in pieces.items():
        if piece.startswith("▁"):
            spelled = tokenizer.decode([row]).strip()
            assert spelled.lower() == piece[1:]
            assert tokenizer([spelled], add_special_tokens=False)["input_ids"] == [[row]]
    assert all(len(piece.removeprefix("▁")) > 1 for piece in pieces)


def test_word_parts_are_read_within_words_alone() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_piece(True))
    pieces = native_pieces(tokenizer, learn_normaliser(["gari"], language="sw"))
    parts = {piece for piece in pieces if not piece.startswith("▁")}
    assert parts
    assert all(tokenizer.convert_ids_to_tokens(pieces[part]) == f"##{part}" for part in parts)


def built(folder: Path, target: list[str] = TARGET, **more: Any) -> MultilingualModel:
    model = MultilingualModel(open_base(str(folder)))
    build_language(model, "sw", native=NATIVE, target=target, **{"bottleneck": 0, **more})
    return model


def test_native_text_has_its_native_vectors_before_training(base_folder: Path) -> None:
    model = built(base_folder)
    texts = [" ".join(UNKNOWN[i : i + 4]) for i in range(0, len(UNKNOWN), 4)]
    assert_close(model.text_vectors(texts, "sw"), model.text_vectors(texts, "en"))
    without = built(base_folder, native_words=False)
    far = torch.nn.functional.cosine_similarity(without.text_vectors(texts, "sw"), without.text_vectors(texts, "en"))
    assert float(far.min()) < 0.99


def test_the_language_reads_its_own_text_by_its_own_pieces(dual_folder: Path) -> None:
    """A word that its text holds is its own, whatever it spells in the native language."""
    target = [*TARGET, "red ndege", "nyumba red"]
    model = MultilingualModel(open_base(str(dual_folder)))
    build_language(model, "sw", native=[*NATIVE, "a bird", "house"], target=target, bottleneck=0)
    tokenizer, table = model.language("sw").tokenizer, model.own_table("sw")
    assert tokenizer is not None
    assert table is not None
    own = len(table.weight)
    assert all(token < own for row in tokenizer.plain_ids(target) for token in row)
    (red, green) = tokenizer.plain_ids(["red", "green"])
    assert all(token < own for token in red)
    assert [tokenizer.piece(token) for token in green] == ["▁green"]
    assert green[0] >= own
    drawn = tokenizer.sampled_ids([*target, "green house"], 0.0, 1)
    assert all(token < own for row in drawn for token in row)


def test_native_pieces_own_nothing_and_never_train(dual_folder: Path, tmp_path: Path) -> None:
    model = built(dual_folder)
    table = model.own_table("sw")
    assert table is not None
    assert table.native_rows is not None
    before = model.base.embedding.weight.detach().clone()
    with model.training("sw") as parameters:
        assert [p.shape for p in parameters.values()] == [table.weight.shape]
        tokenizer = model.language("sw").tokenizer
        assert tokenizer is not None
        model.forward(pad(tokenizer.ids(["mbwa green", "green dog"]))).square().sum().backward()  # type: ignore[no-untyped-call]
        assert table.weight.grad is not None
        assert model.base.embedding.weight.grad is None
    assert torch.equal(before, model.base.embedding.weight)
    model.save("sw", tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert sorted(str(tensor.dtype) for tensor in tensors.values()) == ["torch.float32", "torch.int32"]
    again = MultilingualModel(open_base(str(dual_folder)))
    again.load("sw", tmp_path)
    texts = ["mbwa green", "red house", "ndege"]
    assert torch.equal(again.text_vectors(texts, "sw"), model.text_vectors(texts, "sw"))


def test_an_adapter_from_before_has_its_own_pieces_alone(dual_folder: Path, tmp_path: Path) -> None:
    model = built(dual_folder, native_words=False)
    model.save("sw", tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings.pop("native_pieces") == 0
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    again = MultilingualModel(open_base(str(dual_folder)))
    again.load("sw", tmp_path)
    assert torch.equal(again.text_vectors(TARGET[:9], "sw"), model.text_vectors(TARGET[:9], "sw"))


@pytest.mark.parametrize("row", [-1, 10_000])
def test_a_row_that_the_base_lacks_is_refused(row: int, dual_folder: Path, tmp_path: Path) -> None:
    built(dual_folder).save("sw", tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    (name,) = [name for name in tensors if name.endswith("native_rows")]
    tensors[name][3] = row
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    model = MultilingualModel(open_base(str(dual_folder)))
    with pytest.raises(RegistryError, match=f"row {row} of a native table of 24 rows"):
        model.load("sw", tmp_path)
    assert model.languages == ["en"]


def test_latin_words_in_another_script_stand_by_themselves() -> None:
    spell = learn_normaliser(["赤い車が走る", "犬の写真"], language="ja").normalize_str
    assert spell("赤いToyota車") == "赤い toyota 車"
    assert spell("Tシャツ") == "tシャツ"
    assert learn_normaliser(["ቀይ መኪና"], language="am").normalize_str("የToyota መኪና") == "የ toyota መኪና"
    assert learn_normaliser(["gari jekundu"], language="sw").normalize_str("gari赤いtoyota車") == "gari赤いtoyota車"


def test_a_share_of_a_transfer_batch_is_native() -> None:
    """The rows that are, depend on the batch alone; all others are as they were."""
    read = NativeRows(lambda texts: [[ord(text)] for text in texts], "abcdefghij")
    rows = np.array([7, 2, 9, 4, 0, 1, 3, 5, 6, 8])
    ids = [[100 + row] for row in rows]
    mixed = read.put(ids, rows, 0.3)
    native = [i for i, row in enumerate(mixed) if row != ids[i]]
    assert len(native) == 3
    assert all(mixed[i] == [ord("abcdefghij"[rows[i]])] for i in native)
    assert mixed == read.put(ids, rows, 0.3) != read.put(ids, rows[::-1].copy(), 0.3)
    assert read.put(ids, rows, 0.0) == ids


def test_a_word_is_put_back_where_its_native_partner_is_in_the_pair(dual_folder: Path) -> None:
    """Before training, the alignment tells which native word a piece translates; words that the pair lacks stay."""
    model = built(dual_folder)
    tokenizer = model.language("sw").tokenizer
    assert tokenizer is not None
    pairs = {tokenizer.piece(own): tokenizer.piece(natives[0]) for own, natives in partners(model, "sw").items()}
    known = {f"▁{own}": f"▁{native}" for own, native in zip(TARGET_WORDS, NATIVE_WORDS, strict=True) if len(native) > 1}
    assert {own: pairs.get(own) for own in known} == known
    read = NativeRows(lambda texts: model.tokenise("sw", texts), ["red dog", "red dog", "bird"], partners(model, "sw"))
    ids = model.tokenise("sw", ["mbwa lala", "nyekundu mbwa", "mbwa"])
    mixed = read.put(ids, np.arange(3), 0.0, 1.0)
    texts = [[tokenizer.piece(piece) for piece in row[1:-1]] for row in mixed]
    assert texts[0] == ["▁dog", "▁lala"]
    assert texts[1] in (["▁red", "▁mbwa"], ["▁nyekundu", "▁dog"])
    assert texts[2] == ["▁mbwa"]
    assert read.put(ids, np.arange(3), 0.0, 0.0) == ids
    assert partners(built(dual_folder, native_words=False), "sw") == {}


def test_native_rows_count_in_the_loss(dual_folder: Path) -> None:
    model = built(dual_folder)
    teacher = model.text_vectors(NATIVE, "en").numpy()
    ids = model.tokenise("sw", ["moja"] * len(NATIVE))
    task = TransferTask(ids, teacher, NATIVE, native_rows=NativeRows(lambda t: model.tokenise("sw", t), NATIVE))
    recipe = load_recipe("quick").transfer.model_copy(update={"contrast": 0.0})
    rows = np.arange(20)
    with model.training("sw"):
        none, half = (
            float(loss_of(task, model, rows, recipe.model_copy(update={"native": share})).detach())
            for share in (0.0, 0.5)
        )
    assert 0.3 * none < half < 0.75 * none  # native rows lose next to nothing before training
