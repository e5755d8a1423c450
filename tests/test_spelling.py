"""Text that is equal to the eye has the same pieces, in whatever form it comes, and however it is cut."""

import json
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from mla_extend.bases.open import open_base
from mla_extend.language import pieces as pieces_module
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.normaliser import JOINERS, learn_normaliser
from mla_extend.language.pieces import train_pieces, usual_letters, without_normaliser
from mla_extend.language.sampling import SHORT, RandomCuts
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.search.route_parts import Pieces

TEXTS = {
    "sw": ["ng'ombe mweusi anakimbia kwenye nyasi", "mbwa na paka mweupe"],
    "vi": ["con chó chạy trong công viên", "bầu trời xanh và biển", "đường phố mặt cười"],
    "yo": ["ọ̀rọ̀ yorùbá ẹ̀kọ́", "ọjọ́ mẹ́ta ṣe"],
    "ko": ["한국어 강아지", "공원에서 뛰는 검은 개"],
    "ja": ["ガソリンスタンドの犬", "ドアを開ける"],
    "ta": ["தமிழ் கொடு நாய் ஓடுகிறது"],
    "hi": ["काला कुत्ता पार्क में दौड़ता है", "क़लम और ज़मीन"],
    "bn": ["কালো কুকুর দৌড়ায়"],
    "th": ["หมาดำวิ่งในน้ำ", "แมวขาวนอน"],
    "tr": ["iki köpek parkta koşuyor", "ışık çok parlak", "kâğıt ve ığdır"],
    "az": ["qara it parkda qaçır", "işıq çox parlaqdır", "ağ pişik"],
    "lt": ["šuo bėga į žalią mišką", "ąžuolas ir žąsis"],
    "de": ["große straße und fußball", "mädchen über öl"],
    "el": ["ο σοφός σκύλος τρέχει στους δρόμους", "άσπρη γάτα"],
    "uk": ["чорний собака біжить", "їжак ґава м'яч"],
    "ka": ["შავი ძაღლი გარბის"],
    "hy": ["սև շունը վազում է", "եւ կատուն"],
    "he": ["כלב שחור רץ בפארק"],
    "ar": ["كلب أسود يجري", "إلى الحديقة آخر"],
    "fa": ["می‌خواهم کتاب‌ها را بخوانم"],
    "chr": ["ꭰꭱꭲ ꭳꭴꭵ ꭶꭷ"],
}
TOKENIZERS = {language: LanguageTokenizer.train(texts * 3, 500, language=language) for language, texts in TEXTS.items()}
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
APOSTROPHES = "'’‘ʼ`ʻꞌ′´＇‛"
RUNS = ("a", "aa", "aaa", "aaaa")
INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a\u202c\u2060\u2066\u2069\ufeff\ufe0f\u034f\u061c\x00"


def capitals(text: str, language: str) -> str:
    if language in ("tr", "az"):
        text = text.replace("i", "İ").replace("ı", "I")
    return text.upper()


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a language and a text of its alphabet."""
    language = draw(st.sampled_from(sorted(TEXTS)))
    letters = sorted(set("".join(TEXTS[language])) - {" "})
    words = st.text(st.sampled_from(letters), min_size=1, max_size=8)
    return language, " ".join(draw(st.lists(words, min_size=1, max_size=4)))


@settings(max_examples=300, deadline=None)
@given(written(), st.sampled_from(FORMS))
def test_every_normal_form_in_any_case_has_the_same_ids(case: tuple[str, str], form: str) -> None:
    language, text = case
    tokenizer = TOKENIZERS[language]
    other = unicodedata.normalize(form, text)
    large = unicodedata.normalize(form, capitals(text, language))
    assert tokenizer.ids([other, large]) == tokenizer.ids([text]) * 2


@settings(max_examples=200, deadline=None)
@given(written(), st.sampled_from(INVISIBLE), st.integers(0, 30), st.sampled_from(FORMS))
def test_what_has_no_ink_and_no_width_changes_nothing(
    case: tuple[str, str], character: str, place: int, form: str
) -> None:
    language, text = case
    other = text[: place % len(text)] + character + text[place % len(text) :]
    other = f"{character}{unicodedata.normalize(form, other)}{character}"
    assert TOKENIZERS[language].ids([other]) == TOKENIZERS[language].ids([text])


@settings(max_examples=200, deadline=None)
@given(written())
def test_sentencepiece_cuts_the_normalised_text_alike_and_random_cuts_spell_it(case: tuple[str, str]) -> None:
    language, text = case
    tokenizer = TOKENIZERS[language]
    reader = Tokenizer.from_str(tokenizer.content)
    spelled = reader.normalizer.normalize_str(text)
    assert tokenizer.pieces is not None
    model = sentencepiece.SentencePieceProcessor(model_proto=without_normaliser(tokenizer.pieces))
    assert model.encode(spelled) == tokenizer.plain_ids([text])[0]
    for row in RandomCuts(tokenizer.content)([text, unicodedata.normalize("NFD", text)], 0.2, 5):
        assert reader.decode(row) == spelled


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.sampled_from(sorted(TEXTS)), st.sampled_from(FORMS))
def test_any_text_at_all_is_spelled_alike_in_every_form_and_only_once(text: str, language: str, form: str) -> None:
    normaliser = Tokenizer.from_str(TOKENIZERS[language].content).normalizer
    spelled = normaliser.normalize_str(text)
    assert normaliser.normalize_str(unicodedata.normalize(form, text) if form in ("NFC", "NFD") else text) == spelled
    assert normaliser.normalize_str(spelled) == spelled
    assert unicodedata.is_normalized("NFC", spelled)


@pytest.mark.parametrize("learned", ["'", "’", "ʼ"])
def test_there_is_one_apostrophe(learned: str) -> None:
    text = "ng'ombe wa maji ng'oa"
    tokenizer = LanguageTokenizer.train([text.replace("'", learned)] * 3, 77)
    ids = tokenizer.ids([text])
    assert not any(tokenizer.piece(i).startswith("<0x") for i in ids[0])
    for other in APOSTROPHES:
        assert tokenizer.ids([text.replace("'", other)]) == ids
        assert tokenizer.ids([unicodedata.normalize("NFKD", text.replace("'", other))]) == ids


@pytest.mark.parametrize("language", ["tr", None])
def test_a_turkish_capital_i_has_its_own_small_letter(language: str | None) -> None:
    """Told by the code or, without one, by the text's own dotless letters; a few names do not make a text Turkish."""
    tokenizer = LanguageTokenizer.train(TEXTS["tr"] * 3, 77, language=language)
    for large, small in (("İKİ", "iki"), ("IŞIK", "ışık"), ("Iğdır", "ığdır"), ("İSTANBUL", "istanbul")):
        for form in FORMS:
            assert tokenizer.ids([unicodedata.normalize(form, large)]) == tokenizer.ids([small])
    german = LanguageTokenizer.train(["das ist die stadt diyarbakır und nichts anderes als das"] + TEXTS["de"] * 20, 77)
    assert german.ids(["DIE IST İN"]) == german.ids(["die ist in"])


def test_the_languages_code_decides_also_where_its_text_has_no_dotless_letter() -> None:
    texts = ["iki köpek parkta koşuyor", "istanbul"] * 3
    assert LanguageTokenizer.train(texts, 77, language="tr").ids(["I"]) != LanguageTokenizer.train(texts, 77).ids(["i"])
    assert LanguageTokenizer.train(texts, 77).ids(["I"]) == LanguageTokenizer.train(texts, 77).ids(["i"])


def test_a_language_is_built_by_its_own_rule(base_folder: Path) -> None:
    model = MultilingualModel(open_base(str(base_folder)))
    texts = ["iki köpek", "kedi kedi"] * 3
    for tag, small in (("tr", "ı"), ("sw", "i")):
        build_language(model, tag, native=texts, target=texts, bottleneck=4)
        tokenizer = model.language(tag).tokenizer
        assert tokenizer is not None
        assert tokenizer.ids(["I"]) == tokenizer.ids([small])
        assert not any(tokenizer.piece(i).startswith("<0x") for i in tokenizer.ids([small])[0])


def test_a_joiner_stays_where_it_is_seen_and_only_there() -> None:
    persian, sinhala = learn_normaliser(TEXTS["fa"]), learn_normaliser(["ශ්‍රී ලංකා"])
    assert persian.normalize_str("می‌خواهم") == "می خواهم"  # as it is typed without the key
    assert persian.normalize_str("کار‌ها") == "کارها"  # no letter joins the one before
    assert sinhala.normalize_str("ශ්‍රී ලං‍කා‌") == "ශ්‍රී ලංකා"
    for text in TEXTS["sw"]:
        assert not set(JOINERS) & set(sinhala.normalize_str(JOINERS.join(text)))
    # Text without any cannot have taught what one means.
    assert learn_normaliser(["ලංකා"]).normalize_str("ශ්‍රී") == "ශ්රී"


@pytest.mark.parametrize(
    ("learned", "text", "alike"),
    [
        ("สาวน้ำ แมว", "น้ำ แมว", ["นํ้า เเมว", "นำ้ แมว"]),
        ("അവൻ അവൾ", "അവൻ", ["അവന്\u200d"]),
        ("روزی سگ کوچک", "کوچکی", ["كوچكي"]),
        ("și țară", "și țară", ["şi ţară", "ŞI ŢARĂ"]),
        ("đường", "đường", ["ÐƯỜNG", "ðường"]),
        ("col·lecció", "col·lecció", ["coŀlecció", "col∙lecció"]),
        ("e-mail", "e-mail", ["e‑mail", "e‐mail", "ｅ－ｍａｉｌ"]),
        ('צה"ל', 'צה"ל', ["צה״ל"]),
        ("pápa", "pápa", ["pa\u200d\u0301pa", "pa\u200b\u0301pa"]),
        ("a b", "a b", ["a\u00a0b", "a\u3000b", " a\u2009\tb\n", "a\u2028b", "a▁b"]),
    ],
)
def test_keyboards_and_fonts_that_spell_alike(learned: str, text: str, alike: list[str]) -> None:
    tokenizer = LanguageTokenizer.train([learned] * 3, 77)
    assert tokenizer.ids(alike) == tokenizer.ids([text]) * len(alike)


def test_letters_that_a_language_tells_apart_stay_apart() -> None:
    pashto = LanguageTokenizer.train(["سړی ښځې نړي کولای شي دی"] * 3, 77)
    assert pashto.ids(["دی"]) != pashto.ids(["دي"])
    kept = LanguageTokenizer.train(TEXTS["de"] * 3, 77, lower=False)
    assert kept.ids(["Maße"]) != kept.ids(["masse"])


def test_every_form_of_the_training_text_gives_the_same_tokenizer() -> None:
    for language in ("ko", "vi", "sw", "tr"):
        texts = [unicodedata.normalize("NFD", text.replace("'", "ʼ")) + "\u200f" for text in TEXTS[language] * 3]
        assert LanguageTokenizer.train(texts, 500, language=language).content == TOKENIZERS[language].content


def test_every_character_of_much_text_is_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "MANY", 10)
    monkeypatch.setattr(pieces_module, "COVERAGE", 0.98)
    tokenizer = LanguageTokenizer.train(["paka na mbwa"] * 400 + ["ŵ ꞑ ŋ"], 77)
    assert [tokenizer.piece(i) for i in tokenizer.plain_ids(["ŵŋꞑ"])[0]] == ["▁", "ŵ", "ŋ", "ꞑ"]


def test_what_a_language_is_usually_written_with_is_a_piece() -> None:
    """Also where its text lacks it; of a language with two scripts, the characters of the one that is named."""
    tokenizer = LanguageTokenizer.train(["iki kedi"] * 3, 77, language="tr")
    assert [tokenizer.piece(i) for i in tokenizer.plain_ids(["ĞŞÇx7?"])[0]] == ["▁", "ğ", "ş", "ç", "x", "7", "?"]
    kept = LanguageTokenizer.train(["iki kedi"] * 3, 77, language="tr", lower=False)
    assert [kept.piece(i) for i in kept.plain_ids(["ĞX"])[0]] == ["▁", "Ğ", "X"]
    assert usual_letters("az-Cyrl") == usual_letters("az-Cyrl-AZ") != usual_letters("az") == usual_letters("az-AZ")
    assert "ђ" in usual_letters("sr")
    assert usual_letters(None) == usual_letters("qaa") == ""


def test_pieces_of_very_much_text_are_learned_from_the_same_sentences_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces_module, "TRAINING_SENTENCES", 40)
    texts = [f"{chr(97 + i % 26) * 3}{chr(97 + i // 26)} neno" for i in range(600)]
    assert train_pieces(texts) == train_pieces(texts)
    given: list[int] = []
    train = sentencepiece.SentencePieceTrainer.train

    def watch(**options: object) -> None:
        options["sentence_iterator"] = sentences = list(options["sentence_iterator"])  # type: ignore[call-overload]
        given.append(len(sentences))
        train(**options | {"sentence_iterator": iter(sentences)})

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", watch)
    train_pieces(texts)
    assert given == [40]


def test_all_ways_are_drawn_alike_at_alpha_0() -> None:
    """Of `aaaa` there are eight cuts into runs of `a`; that is not what an even choice at each place would give."""
    parts = json.loads(TOKENIZERS["sw"].content)
    parts["model"]["vocab"] = [*parts["model"]["vocab"][:260], *([piece, -1.0] for piece in ("▁", *RUNS))]
    count = 8000
    drawn = Counter(map(tuple, RandomCuts(json.dumps(parts))(["aaaa"] * count, 0.0, 3)))
    assert len(drawn) == 8
    assert all(abs(number / count - 1 / 8) < 0.02 for number in drawn.values())


def test_text_without_spaces_is_cut_at_random_and_not_remembered() -> None:
    tokenizer = LanguageTokenizer.train(["ガソリンスタンド", "ガソリン", "スタンド", "ドア", "犬"] * 50, 77)
    cuts = RandomCuts(tokenizer.content)
    text = "ガソリンスタンドの犬ドア" * 200
    rows = cuts([text, text], 0.1, 3)
    assert rows[0] != rows[1]
    assert Tokenizer.from_str(tokenizer.content).decode_batch(rows) == [text, text]
    assert cuts._remembered.cache_info().currsize == 0
    cuts([text[: SHORT - 1]], 0.1, 3)
    assert cuts._remembered.cache_info().currsize == 1


def test_a_tokenizer_made_before_keeps_its_own_normaliser() -> None:
    """Its `tokenizer.json` alone says how text is spelled, for its ids and for its random cuts."""
    content = Tokenizer.from_str(TOKENIZERS["sw"].content)
    content.normalizer = normalizers.Precompiled(pieces_module._rules("nmt_nfkc").precompiled_charsmap)
    old = LanguageTokenizer(content.to_str(), 77, TOKENIZERS["sw"].pieces)
    assert old.ids(["PAKA"]) != old.ids(["paka"])
    assert old.sampled_ids(["MBWA na paka"], 1e6, 0) == old.ids(["MBWA na paka"])


def test_routing_spells_text_as_the_tokenizer_does() -> None:
    tokenizer = TOKENIZERS["chr"]
    assert tokenizer.pieces is not None
    normalise = Tokenizer.from_str(tokenizer.content).normalizer.normalize_str
    small, large = Pieces(tokenizer.pieces, normalise).scores(["ꭰꭱꭲ", "ᎠᎡᎢ"])
    assert small == large > Pieces(tokenizer.pieces).scores(["ꭰꭱꭲ"])[0]
