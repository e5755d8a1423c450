"""A language's tokenizer, alignment and embedding starts."""

from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mla_extend.bases.open import open_base
from mla_extend.errors import DataError
from mla_extend.language.alignment import align
from mla_extend.language.build import build_language
from mla_extend.language.embedding import Start, StartInputs, aligned_start, mean_std_start
from mla_extend.language.model import MultilingualModel
from mla_extend.language.pieces import BEGIN_ID, END_ID, PAD_ID, UNK_ID, vocabulary_size
from mla_extend.language.sampling import RandomCuts
from mla_extend.language.tokenizer import READY, LanguageTokenizer, pad
from tests.conftest import sentences

NATIVE, TARGET = sentences(400)
TOKENIZER = LanguageTokenizer.train(TARGET, 16)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_nothing_is_ever_unknown(text: str) -> None:
    ids = TOKENIZER.ids([text])[0]
    assert UNK_ID not in ids
    assert (ids[0], ids[-1]) == (BEGIN_ID, END_ID)
    assert ids.count(END_ID) == 1
    assert len(ids) <= 16


@pytest.mark.parametrize("text", ["</s>", "<pad> <s>", "<0x41>", "<unk>"])
def test_markup_in_a_text_is_text(text: str) -> None:
    assert not {PAD_ID, UNK_ID, BEGIN_ID, END_ID} & set(TOKENIZER.plain_ids([text])[0])


def test_ordinary_text_is_cut_as_sentencepiece_cuts_it() -> None:
    assert TOKENIZER.pieces is not None
    theirs = sentencepiece.SentencePieceProcessor(model_proto=TOKENIZER.pieces)
    texts = [*TARGET, "Mbwa  MWEUSI", " paka ", "日本語", "ﬁ"]
    assert TOKENIZER.plain_ids(texts) == theirs.encode(texts)


def test_cutting_at_random_is_decided_by_the_seed_and_spells_the_same_text() -> None:
    roomy = LanguageTokenizer(TOKENIZER.content, 200, TOKENIZER.pieces)
    decoder = Tokenizer.from_str(TOKENIZER.content)
    drawn = roomy.sampled_ids(TARGET, 0.1, 3)
    assert drawn == roomy.sampled_ids(TARGET, 0.1, 3)
    assert drawn != roomy.sampled_ids(TARGET, 0.1, 4)
    assert len({tuple(row) for row in roomy.sampled_ids(TARGET[:1] * 50, 0.1, 3)}) > 1
    assert decoder.decode_batch(drawn) == decoder.decode_batch(roomy.ids(TARGET))
    assert roomy.sampled_ids(TARGET, 1e6, 3) == roomy.ids(TARGET)
    assert roomy.sampled_ids(["", "  ", "日本"], 0.1, 3) == roomy.ids(["", "  ", "日本"])


def test_ways_are_drawn_as_often_as_they_are_likely() -> None:
    """The shares are those of the paper's equation 8, over all ways that the vocabulary allows."""
    pieces = TOKENIZER.pieces
    assert pieces is not None
    model = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    word, alpha, count = "paka", 0.5, 4000
    ways = [tuple(way) for way in model.nbest_encode(word, nbest_size=64)]
    likely = np.exp([alpha * sum(model.get_score(piece) for piece in way) for way in ways])
    drawn = [tuple(row) for row in RandomCuts(TOKENIZER.content)([word] * count, alpha, 3)]
    for way, share in zip(ways, likely / likely.sum(), strict=True):
        assert abs(drawn.count(way) / count - share) < 0.03


def test_a_text_that_does_not_fit_as_drawn_is_cut_in_the_likeliest_way() -> None:
    likeliest = TOKENIZER.ids(TARGET)
    drawn = TOKENIZER.sampled_ids(TARGET, 0.1, 3)
    assert max(map(len, drawn)) <= 16
    assert any(row == best for row, best in zip(drawn, likeliest, strict=True))
    assert any(row != best for row, best in zip(drawn, likeliest, strict=True))


def test_a_tokenizer_from_elsewhere_cannot_draw() -> None:
    foreign = LanguageTokenizer(TOKENIZER.content, 16)
    assert foreign.pieces is None
    with pytest.raises(ValueError, match="SentencePiece"):
        foreign.sampled_ids(["paka"], 0.1, 3)


def test_more_languages_than_are_kept_ready_are_cut_all_the_same() -> None:
    many = [LanguageTokenizer.train(TARGET[i : i + 300], 16) for i in range(READY + 3)]
    due = [LanguageTokenizer(one.content, 16).ids(TARGET[:3]) for one in many]
    assert [one.ids(TARGET[:3]) for one in many] == due


def test_case_is_folded_only_where_asked() -> None:
    assert TOKENIZER.ids(["PAKA"]) == TOKENIZER.ids(["paka"])
    kept = LanguageTokenizer.train(TARGET, 16, lower=False)
    assert kept.ids(["PAKA"]) != kept.ids(["paka"])


def test_training_is_deterministic_and_round_trips(tmp_path: Path) -> None:
    again = LanguageTokenizer.train(TARGET, 16)
    assert again.content == TOKENIZER.content
    TOKENIZER.save(tmp_path)
    assert LanguageTokenizer.load(tmp_path, 16).ids(TARGET) == TOKENIZER.ids(TARGET)


def test_the_vocabulary_grows_with_the_data_and_has_room_for_every_character() -> None:
    assert vocabulary_size(["a" * 65_000]) == pytest.approx(2550, abs=60)
    assert vocabulary_size(["a" * 2_100_000]) == pytest.approx(14_500, abs=200)
    assert vocabulary_size([chr(0x4E00 + i) for i in range(3000)]) > 3000 + 256
    with pytest.raises(DataError, match="no text"):
        LanguageTokenizer.train(["", " "], 16)


def test_padding() -> None:
    batch = pad([[2, 5, 3], [2, 3]])
    assert batch.ids.tolist() == [[2, 5, 3], [2, 3, PAD_ID]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.ends.tolist() == [2, 1]


def test_the_aligned_start() -> None:
    native = torch.randn(50, 8) * 3 + 1
    alignment = align([[5], [6]], [[7], [9]], 10, 50)
    inputs = StartInputs(native, (0, 1, 2), 10, alignment, seed=0)
    aligned, drawn = aligned_start(inputs), mean_std_start(inputs)
    torch.testing.assert_close(aligned[5], native[7])
    torch.testing.assert_close(aligned[6], native[9])
    torch.testing.assert_close(aligned[8], drawn[8])
    for table in (aligned, drawn):
        assert torch.equal(table[[PAD_ID, BEGIN_ID, END_ID]], native[:3])


@pytest.mark.parametrize("start", ["aligned", mean_std_start, "native"])
def test_a_language_is_built_alike_from_the_same_seed(start: str | Start, base_folder: Path) -> None:
    vectors = []
    for _ in range(2):
        model = MultilingualModel(open_base(str(base_folder)))
        build_language(model, "sw", native=NATIVE, target=TARGET, start=start, bottleneck=4, seed=3)
        vectors.append(model.encode_text(TARGET[:8], "sw"))
    assert torch.equal(*vectors)
