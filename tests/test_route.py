"""Routing of queries: by pieces, identifier, scripts and vocabulary; unsure routes; damage; versions; no torch."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_registry_store import make_base, make_card, stage

from mla_extend.bases.open import open_base
from mla_extend.language.pieces import train_pieces
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.load import RegistryModel
from mla_extend.search import route as routing
from mla_extend.search import route_parts
from mla_extend.search.route import SURE, NativeVocabulary, Route, Router, open_router, posterior, router_of
from mla_extend.search.route_parts import Pieces, foreign_letters, latin_letters, part_of

WORDS = {
    "am": (
        ["ጥቁር ውሻ", "ነጭ ድመት", "ትንሽ ልጅ", "አሮጊት ሴት", "ረጅም ሰው", "ቀይ ወፍ"],
        ["ይሮጣል", "ይተኛል", "ይጫወታል", "ተቀምጧል", "ይራመዳል"],
        ["በሣር ላይ", "በመንገድ ላይ", "ከቤት አጠገብ", "ከዛፍ ስር", "በባህር ዳርቻ"],
    ),
    "de": (
        [
            "Ein schwarzer Hund",
            "Eine weiße Katze",
            "Ein kleines Kind",
            "Eine alte Frau",
            "Ein großer Mann",
            "Ein Vogel",
        ],
        ["rennt", "schläft", "spielt", "sitzt", "läuft"],
        ["auf dem Gras", "auf der Straße", "neben dem Haus", "unter einem Baum", "am Strand"],
    ),
    "mi": (
        ["He kurī pango", "He ngeru mā", "He tamaiti iti", "He kuia", "He tangata roa", "He manu whero"],
        ["e oma ana", "e moe ana", "e tākaro ana", "e noho ana", "e hīkoi ana"],
        ["i runga i te pātītī", "i te huarahi", "i te taha o te whare", "i raro i te rākau", "i te tāhuna"],
    ),
    "ru": (
        ["Чёрная собака", "Белая кошка", "Маленький ребёнок", "Пожилая женщина", "Высокий мужчина", "Красная птица"],
        ["бежит", "спит", "играет", "сидит", "идёт"],
        ["по траве", "на улице", "возле дома", "под деревом", "на пляже"],
    ),
    "sw": (
        ["Mbwa mweusi", "Paka mweupe", "Mtoto mdogo", "Mwanamke mzee", "Mwanaume mrefu", "Ndege mwekundu"],
        ["anakimbia", "analala", "anacheza", "ameketi", "anatembea"],
        ["kwenye nyasi", "barabarani", "karibu na nyumba", "chini ya mti", "ufukweni"],
    ),
    "zh": (
        ["一只黑狗", "一只白猫", "一个小孩", "一位老妇人", "一个高个子男人", "一只红色的鸟"],
        ["跑", "睡", "玩", "坐", "走"],
        ["在草地上", "在街上", "在房子旁边", "在树下", "在海滩上"],
    ),
}
ENGLISH = (
    ["A black dog", "A white cat", "A small child", "An old woman", "A tall man", "A red bird"],
    ["runs", "sleeps", "plays", "sits", "walks"],
    ["on the grass", "in the street", "next to the house", "under a tree", "on the beach"],
)


def captions(parts: tuple[list[str], ...], *, taught: bool) -> list[str]:
    """Return sentences of all combinations, four fifths of them taught."""
    joint = "" if parts[0][0][0] == "一" else " "
    numbered = itertools.product(*(list(enumerate(part)) for part in parts))
    return [joint.join(word for _, word in row) for row in numbered if (sum(i for i, _ in row) % 5 != 0) == taught]


PIECES = {language: train_pieces(captions(parts, taught=True)) for language, parts in WORDS.items()}


def add(base: BaseRegistry, language: str, pieces: bytes | None, *, replace: bool = False) -> Version:
    staged = stage(base, language)
    if pieces is not None:
        (staged / "sentencepiece.model").write_bytes(pieces)
    return base.publish(language, staged, make_card(language), replace=replace, prove=lambda _: {"ok": True})


@pytest.fixture
def registry(tmp_path: Path) -> BaseRegistry:
    """Give a registry of six languages with pieces of their own."""
    base = make_base(tmp_path)
    for language, pieces in PIECES.items():
        add(base, language, pieces)
    return base


def one(router: Router, text: str) -> Route:
    return router.route([text])[0]


@pytest.mark.parametrize("language", sorted(WORDS))
def test_sentences_that_were_not_taught_go_to_their_language(registry: BaseRegistry, language: str) -> None:
    routes = open_router(registry, "en").route(captions(WORDS[language], taught=False))
    assert len(routes) == 30
    assert {route.languages[0] for route in routes} == {language}
    assert np.mean([route.sure for route in routes]) > 0.9
    assert all(route.languages == (language,) for route in routes if route.sure)


def test_native_sentences_go_to_the_native_language(registry: BaseRegistry) -> None:
    routes = open_router(registry, "en").route(captions(ENGLISH, taught=False))
    assert np.mean([route.languages[0] == "en" for route in routes]) > 0.9


def test_a_language_that_no_identifier_knows_is_found_by_its_pieces() -> None:
    assert not part_of("mi").known
    router = Router(part_of("en"), [part_of("de"), part_of("mi", Pieces(PIECES["mi"]))])
    assert one(router, "he kurī pango i te huarahi").languages == ("mi",)


def test_an_unknown_language_shares_what_is_said_of_the_only_known_one_in_its_script() -> None:
    tigrinya = [
        "ጸሊም ከልቢ",
        "ጻዕዳ ድሙ",
        "ንእሽቶ ቆልዓ",
        "ዓባይ ሰበይቲ",
        "ነዊሕ ሰብኣይ",
        "ቀይሕ ዑፍ",
        "ኣብ ልዕሊ ሳዕሪ ይጎዪ ኣሎ",
        "ኣብ ጎደና ይድቅስ ኣሎ",
    ]
    parts = [part_of("am", Pieces(PIECES["am"])), part_of("ti", Pieces(train_pieces(tigrinya)))]
    np.testing.assert_array_equal(parts[0].labels, parts[1].labels)
    router = Router(part_of("en"), parts)
    assert one(router, "ጸሊም ድሙ ኣብ ጎደና").languages == ("ti",)
    assert one(router, "ጥቁር ድመት በመንገድ ላይ").languages == ("am",)


def test_one_word_in_a_script_of_its_own_is_enough(registry: BaseRegistry) -> None:
    router = open_router(registry, "en")
    for text, language in (("ድመት", "am"), ("собака", "ru"), ("黑狗", "zh")):
        route = one(router, text)
        assert route.languages == (language,)
        assert route.confidence > 0.95


def test_an_unsure_route_names_the_two_best() -> None:
    same = Pieces(PIECES["de"])
    router = Router(part_of("en"), [part_of("de", same), part_of("de-AT", same), part_of("sw", Pieces(PIECES["sw"]))])
    route = one(router, "ein kleines Kind schläft auf der Straße")
    assert not route.sure
    assert set(route.languages) == {"de", "de-AT"}
    assert 0.4 < route.confidence < SURE


def test_text_without_letters_goes_to_the_native_language_unsure(registry: BaseRegistry) -> None:
    routes = open_router(registry, "en").route(["", "  ", "🐶", "2024", "?!", "\ud800"])
    assert routes == [Route(("en",), pytest.approx(1 / 7), False)] * 6


@pytest.mark.parametrize("text", ["Czarny pies biegnie po trawie obok domu", "כלב שחור רץ על הדשא", "สุนัขสีดำวิ่งบนหญ้า"])
def test_text_in_a_language_that_is_not_there_falls_back_to_the_native_one(registry: BaseRegistry, text: str) -> None:
    route = one(open_router(registry, "en"), text)
    assert not route.sure
    assert route.languages[0] == "en"
    assert len(route.languages) == 2


def test_without_languages_everything_is_native(tmp_path: Path) -> None:
    for registry in (None, make_base(tmp_path)):
        assert open_router(registry, "en").route(["mbwa mweusi", "🐶"]) == [Route(("en",), 1.0, True)] * 2


def test_no_text_gives_no_route(registry: BaseRegistry) -> None:
    assert open_router(registry, "en").route([]) == []


def test_a_route_does_not_depend_on_what_is_routed_beside_it(registry: BaseRegistry) -> None:
    router = open_router(registry, "en")
    texts = ["mbwa mweusi", "", "ein Hund", "ጥቁር ውሻ", "red bird", "黑狗", "he manu"]
    for text, together in zip(texts, router.route(texts), strict=True):
        alone = one(router, text)
        assert alone.languages == together.languages
        assert alone.confidence == pytest.approx(together.confidence, rel=1e-4)


def test_capitals_space_and_length_do_not_change_the_language(registry: BaseRegistry) -> None:
    router = open_router(registry, "en")
    for text in ("EIN SCHWARZER HUND RENNT", "  ein schwarzer Hund rennt\n", "ein schwarzer Hund rennt " * 5000):
        assert one(router, text).languages == ("de",)


def test_half_a_surrogate_is_no_error(registry: BaseRegistry) -> None:
    assert one(open_router(registry, "en"), "mbwa mweusi \ud83d anakimbia").languages == ("sw",)


def test_a_language_without_pieces_is_told_by_the_identifier_and_its_script(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    add(base, "de", PIECES["de"])
    add(base, "ko", None)
    router = open_router(base, "en")
    assert one(router, "검은 개가 풀밭에서 뛰고 있다").languages == ("ko",)
    assert one(router, "ein schwarzer Hund rennt auf dem Gras").languages == ("de",)


def test_added_and_rolled_back_languages_are_picked_up_by_opening_again(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    add(base, "de", PIECES["de"])
    first = add(base, "sw", PIECES["mi"])
    text = "paka mweupe analala chini ya mti"
    before = open_router(base, "en")
    assert before.languages == ("en", "de", "sw")
    second = add(base, "sw", PIECES["sw"], replace=True)
    after = open_router(base, "en")
    assert (before.versions["sw"], after.versions["sw"]) == (first.name, second.name)
    assert one(after, text).confidence > one(before, text).confidence
    base.use("sw", first.name)
    again = open_router(base, "en")
    assert again.versions == before.versions
    assert one(again, text) == one(before, text)
    base.remove("de")
    assert open_router(base, "en").languages == ("en", "sw")


def test_adding_a_language_changes_nothing_that_is_known_of_others(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    for language in ("de", "mi"):
        add(base, language, PIECES[language])
    texts = ["ein Hund", "he kurī pango", "red bird", "собака"]
    before = open_router(base, "en").evidence(texts)
    add(base, "sw", PIECES["sw"])
    after = open_router(base, "en").evidence(texts)
    for name in ("own", "identified", "foreign", "latin"):
        np.testing.assert_array_equal(getattr(after, name)[:, :3], getattr(before, name))


def test_a_version_is_read_once(registry: BaseRegistry) -> None:
    first, second = open_router(registry, "en"), open_router(registry, "en")
    assert all(one is other for one, other in zip(first._parts[1:], second._parts[1:], strict=True))


def test_damaged_pieces_keep_their_language_out_and_no_other(registry: BaseRegistry) -> None:
    path = registry.current("sw").folder / "sentencepiece.model"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    router = open_router(registry, "en")
    assert router.languages == ("en", "am", "de", "mi", "ru", "zh")
    assert router.problems.keys() == {"sw"}
    assert str(path) in router.problems["sw"]
    assert "add the language again" in router.problems["sw"]
    assert "\n" not in router.problems["sw"]
    assert one(router, "ein schwarzer Hund rennt").languages == ("de",)


def test_a_missing_file_and_a_damaged_card_are_named(registry: BaseRegistry) -> None:
    pieces = registry.current("sw").folder / "sentencepiece.model"
    pieces.unlink()
    card = registry.current("de").folder / "card.json"
    card.chmod(0o644)
    card.write_text("{}")
    current = registry.folder_of("ru") / "current"
    current.write_text("2020-01-01T00-00-00Z-0000\n")
    router = open_router(registry, "en")
    assert router.languages == ("en", "am", "mi", "zh")
    assert str(pieces) in router.problems["sw"]
    assert str(card) in router.problems["de"]
    assert str(current) in router.problems["ru"]


def test_pieces_that_are_none_are_named_even_if_the_card_knows_them(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    version = add(base, "sw", b"rubbish")
    router = open_router(base, "en")
    assert str(version.folder / "sentencepiece.model") in router.problems["sw"]


def test_pieces_over_which_the_library_panics_keep_their_language_out(
    registry: BaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = route_parts.Pieces

    class Panic(BaseException):
        """As a native library raises it."""

    def pieces(model: bytes, normalise: Callable[[str], str] | None = None) -> Pieces:
        if model == PIECES["sw"]:
            raise Panic("index out of range")
        return real(model, normalise)

    route_parts._read.cache_clear()
    monkeypatch.setattr(route_parts, "Pieces", pieces)
    router = open_router(registry, "en")
    assert "sw" not in router.languages
    assert "sentencepiece.model fails (Panic: index out of range)" in router.problems["sw"]


def test_a_character_that_the_pieces_lack_is_charged_once() -> None:
    pieces = Pieces(PIECES["sw"])
    space, *rare = pieces.scores(["mbwa a", "mbwa ж", "mbwa 狗", "mbwa 🐶"])
    assert rare[0] == pytest.approx(rare[1])
    assert rare[1] == pytest.approx(rare[2])
    assert rare[0] < space


def test_probabilities_are_of_each_language_and_of_none(registry: BaseRegistry) -> None:
    router = open_router(registry, "en")
    likely = posterior(router.evidence(["mbwa mweusi", "hund", "דג"]))
    assert likely.shape == (3, len(router.languages) + 1)
    np.testing.assert_allclose(likely.sum(axis=1), 1)


def test_letters_of_other_scripts_are_counted_latin_ones_apart() -> None:
    assert foreign_letters(("Ethi",))("ውሻ DVD собака, 12") == 6
    assert latin_letters(("Ethi",))("ውሻ DVD собака") == 3
    assert foreign_letters(("Latn",))("ውሻ DVD") == 2
    assert latin_letters(("Latn",))("ውሻ DVD") == 0
    assert foreign_letters(())("ውሻ") == latin_letters(())("DVD") == 0


def test_a_vocabulary_charges_rare_and_unknown_entries_more() -> None:
    ids = {"the": [5], "mbwa": [900, 901], "ውሻ": [1]}
    vocabulary = NativeVocabulary(lambda texts: [ids[text] for text in texts], 1000, unknown=1)
    scores, entries = vocabulary.scores(list(ids))
    assert scores[0] > scores[2] > scores[1]
    assert entries.tolist() == [1, 2, 1]


def test_a_model_lends_its_vocabulary_if_that_has_a_usual_size(
    registry: BaseRegistry, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RegistryModel(open_base(str(dual_folder)), registry)
    texts = ["the red cat sleeps under the big tree", "mbwa mweusi anakimbia barabarani"]
    tiny = router_of(model)
    assert tiny.languages == ("en", *sorted(WORDS))
    assert np.isnan(tiny.evidence(texts).own[:, 0]).all()
    assert [route.languages for route in tiny.route(texts)] == [("en",), ("sw",)]
    monkeypatch.setattr(routing, "VOCABULARY", range(10, 100))
    evidence = router_of(model).evidence(texts)
    assert not np.isnan(evidence.own[:, 0]).any()
    assert evidence.entries.tolist() == [8, 4]


def test_a_vocabulary_is_lent_by_tokenizers_of_every_kind(
    registry: BaseRegistry, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain:
        """A tokenizer in Python, as open_clip's own is."""

        def __init__(self, fast: Any) -> None:
            self._fast = fast

        def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
            return {"input_ids": [self._fast.encode(text, add_special_tokens=False) for text in texts]}

    class Wrapper(Plain):
        """A wrapper around one of transformers, as open_clip has it."""

        def __init__(self, fast: Any) -> None:
            super().__init__(fast)
            self.inner = fast

    monkeypatch.setattr(routing, "VOCABULARY", range(10, 100))
    model = RegistryModel(open_base(str(dual_folder)), registry)
    texts = ["the red cat sleeps under the big tree", "a blue boat"]
    fast = model.base.tokenizer
    expected = router_of(model).evidence(texts).own[:, 0]
    for kind in (Plain, Wrapper):
        model.base.tokenizer = kind(fast)
        np.testing.assert_allclose(router_of(model).evidence(texts).own[:, 0], expected, rtol=1e-3)


def test_a_vocabulary_cuts_no_text_and_leaves_the_bases_tokenizer_alone(dual_folder: Path) -> None:
    fast = open_base(str(dual_folder)).tokenizer
    fast.backend_tokenizer.enable_truncation(4)
    vocabulary = NativeVocabulary.from_json(fast.backend_tokenizer.to_str(), fast.unk_token_id)
    assert vocabulary.scores(["a red cat sleeps under the big old tree"])[1].tolist() == [9]
    assert fast.backend_tokenizer.truncation["max_length"] == 4


def test_routing_imports_no_torch() -> None:
    code = (
        "import sys; from mla_extend.search.route import open_router; open_router(None, 'en').route(['dog']); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
