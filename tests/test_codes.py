"""Language codes are checked, normalised and suggested, and adapters' names never meet."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mla_extend.data.codes import (
    adapter_name,
    closest,
    fit,
    language_name,
    language_tag,
    others_meant,
    wider_tag,
)
from mla_extend.errors import LanguageError

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SUBTAG = st.text(LETTERS + "0123456789", min_size=1, max_size=8)
TAGS = st.builds(
    lambda first, rest: "-".join([first, *rest]), st.text(LETTERS, min_size=1, max_size=8), st.lists(SUBTAG)
)


@pytest.mark.parametrize(
    ("given_code", "tag"),
    [
        ("sw", "sw"),
        ("swa", "sw"),
        ("swh", "swh"),
        ("quz", "quz"),
        ("jp", "ja"),
        ("jp-JP", "ja-JP"),
        ("tl", "fil"),
        ("iw", "he"),
        ("pt_br", "pt-BR"),
        ("zh-hant", "zh-Hant"),
        ("sw-Latn", "sw"),
        (" sw ", "sw"),
        ("x-klingon", "x-klingon"),
        ("swh_Latn", "swh"),
        ("zho_Hans", "zh-Hans"),
        ("ace_Latn", "ace"),
        ("ace_Arab", "ace-Arab"),
        ("eng_Latn", "en"),
    ],
)
def test_a_code_is_normalised(given_code: str, tag: str) -> None:
    assert language_tag(given_code) == tag
    assert language_tag(tag) == tag


def test_macrolanguages_are_taken_only_when_asked() -> None:
    assert language_tag("swh", macro=True) == "sw"
    assert language_tag("quz", macro=True) == "qu"
    assert language_tag("swh_Latn", macro=True) == "sw"
    assert wider_tag("swh") == "sw"
    assert wider_tag("sw") is None


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("swahili", "'sw' (Swahili)"),
        ("Kiswahili", "'sw' (Swahili)"),
        ("Qechua", "'qu' (Quechua)"),
        ("greek", "'el' (Greek)"),
        ("cn", "'zh' (Chinese)"),
        ("sw-Latnx", "'sw' (Swahili)"),
    ],
)
def test_a_wrong_code_gets_a_suggestion(wrong: str, meant: str) -> None:
    with pytest.raises(LanguageError) as caught:
        language_tag(wrong)
    assert repr(wrong) in str(caught.value)
    assert f"Did you mean {meant}" in str(caught.value)


@pytest.mark.parametrize("wrong", ["", " ", "../sw", "sw/..", "sw\n-", "a" * 100, "x-", "swé", "sw.", "-sw", "qx"])
def test_what_is_no_code_is_refused(wrong: str) -> None:
    with pytest.raises(LanguageError, match="is not a language code"):
        language_tag(wrong)


@pytest.mark.parametrize("code", ["und", "mul", "zxx"])
def test_a_code_of_no_one_language_is_refused(code: str) -> None:
    with pytest.raises(LanguageError, match="a single language"):
        language_tag(code)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("sw", "Swahili"),
        ("zh-Hant", "Chinese (Traditional)"),
        ("pt-BR", "Portuguese (Brazil)"),
        ("sr-Latn", "Serbian (Latin)"),
        ("el", "Greek"),
        ("fil", "Filipino"),
        ("x-foo", "x-foo"),
        ("sw-x-mine", "Swahili (x-mine)"),
    ],
)
def test_names_are_english(tag: str, name: str) -> None:
    assert language_name(tag) == name


@pytest.mark.parametrize(("tag", "name"), [("sw", "lang_sw"), ("pt-BR", "lang_pt_br")])
def test_an_adapter_is_named_after_its_language(tag: str, name: str) -> None:
    assert adapter_name(tag) == name


@pytest.mark.parametrize("wrong", ["", "pt_BR", "sw.", "../sw", "sw-", "ſw"])
def test_an_adapter_has_no_name_without_a_tag(wrong: str) -> None:
    with pytest.raises(LanguageError, match="form of a language tag"):
        adapter_name(wrong)


@given(TAGS, TAGS)
def test_adapter_names_differ_where_tags_do(one: str, other: str) -> None:
    assert (adapter_name(one) == adapter_name(other)) == (one.lower() == other.lower())
    assert set(adapter_name(one)) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


@settings(deadline=None, max_examples=50)
@given(TAGS)
def test_normalising_twice_changes_nothing(text: str) -> None:
    for macro in (False, True):
        try:
            tag = language_tag(text, macro=macro)
        except LanguageError:
            continue
        assert language_tag(tag, macro=macro) == tag
        assert language_tag(tag) == tag


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=20))
def test_any_text_is_a_tag_or_a_language_error(text: str) -> None:
    try:
        assert language_name(language_tag(text))
    except LanguageError:
        return


def test_importing_codes_loads_nothing_heavy() -> None:
    script = "import sys, mla_extend.data.codes; print(sorted({'torch', 'langcodes', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("code", "tag", "how"),
    [
        ("sw", "sw", 4),
        ("SW", "sw", 4),
        ("swa", "sw", 4),
        ("jp", "ja", 4),
        ("mao", "mi", 4),
        ("eng_Latn", "en", 4),
        ("zho_Hant", "zh-Hant", 4),
        ("swh", "sw", 3),
        ("swh_Latn", "sw", 3),
        ("sw", "swh", 3),
        ("zsm", "ms", 3),
        ("arb_Arab", "ar", 3),
        ("khk", "mn", 3),
        ("nob", "no", 3),
        ("pbt_Arab", "ps", 3),
        ("zh-CN", "zh-Hans", 3),
        ("zh-Hans", "zh-CN", 3),
        ("zh-TW", "zh-Hant", 3),
        ("zh_hant", "zh-TW", 3),
        ("zh-Hans-CN", "zh", 3),
        ("cmn-Hans", "zh-CN", 3),
        ("zh-HK", "zh-Hant", 2),
        ("zh-TW", "zh", 1),
        ("sr-Latn", "sr", 1),
        ("sr-Cyrl", "sr", 3),
        ("sh", "sr-Latn", 4),
        ("sw_KE", "sw", 2),
        ("en-US", "en", 3),
        ("en-GB", "en", 2),
        ("pt", "pt-BR", 3),
        ("ca-valencia", "ca", 2),
        ("zh-Hant", "zh-Hans", 0),
        ("zh-TW", "zh-Hans", 0),
        ("zh-HK", "zh-CN", 0),
        ("sr-Latn", "sr-Cyrl", 0),
        ("pt-PT", "pt-BR", 0),
        ("swc", "sw", 2),
        ("arz", "ar", 0),
        ("yue", "zh", 0),
        ("nno", "no", 0),
        ("bs", "hr", 0),
        ("gsw", "de", 0),
        ("sv", "sw", 0),
        ("txt", "sw", 0),
        ("", "sw", 0),
        ("corpus", "sw", 0),
    ],
)
def test_codes_mean_a_language_as_likely_subtags_and_macrolanguages_have_it(code: str, tag: str, how: int) -> None:
    """The very tag before what says the same, and that before what leaves something open."""
    assert fit(code, tag) == how


def test_the_closest_of_several_codes_is_taken():
    assert closest(["zh-TW", "zh-CN", "yue"], "zh") == ["zh-CN"]
    assert closest(["en-GB", "eng", "en-US"], "en") == ["eng"]
    assert closest(["fr", "arz"], "ar") == []


def test_another_language_of_the_macrolanguage_is_pointed_at():
    assert others_meant(["eng", "arz"], "ar") == " For that of 'arz' give --language arz."
    assert others_meant(["eng", "corpus", "fr"], "sw") == ""
