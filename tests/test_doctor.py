"""The checks of parallel text and captions: each problem in several scripts, their order, the levels, and odd input."""

from itertools import product

import numpy as np
import pytest

from mla_extend.data import doctor, pairs, speech
from mla_extend.data.doctor import PROBLEMS, examine
from mla_extend.errors import DataError

ENGLISH = [
    "A man is riding a bicycle along the river.",
    "Two children are playing football in the street.",
    "A black dog sleeps under the old tree.",
    "The woman is selling fruit at the market.",
    "A red bus stops in front of the school.",
    "An old fisherman repairs his net on the beach.",
]
TARGET = {
    "sw": [
        "Mwanamume anaendesha baiskeli kando ya mto.",
        "Watoto wawili wanacheza mpira wa miguu barabarani.",
        "Mbwa mweusi analala chini ya mti wa zamani.",
        "Mwanamke anauza matunda sokoni.",
        "Basi jekundu linasimama mbele ya shule.",
        "Mvuvi mzee anatengeneza wavu wake ufukweni.",
    ],
    "de": [
        "Ein Mann fährt mit dem Fahrrad am Fluss entlang.",
        "Zwei Kinder spielen auf der Straße Fußball.",
        "Ein schwarzer Hund schläft unter dem alten Baum.",
        "Die Frau verkauft Obst auf dem Markt.",
        "Ein roter Bus hält vor der Schule.",
        "Ein alter Fischer flickt am Strand sein Netz.",
    ],
    "am": [
        "አንድ ሰው በወንዙ ዳር ብስክሌት እየነዳ ነው።",
        "ሁለት ልጆች መንገድ ላይ እግር ኳስ እየተጫወቱ ነው።",
        "ጥቁር ውሻ ከአሮጌው ዛፍ ሥር ተኝቷል።",
        "ሴትየዋ በገበያ ውስጥ ፍራፍሬ እየሸጠች ነው።",
        "ቀይ አውቶቡስ ከትምህርት ቤቱ ፊት ለፊት ይቆማል።",
        "ሽማግሌ ዓሣ አጥማጅ በባሕር ዳርቻ መረቡን ይጠግናል።",
    ],
    "ja": [
        "男の人が川沿いを自転車で走っています。",
        "二人の子供が通りでサッカーをしています。",
        "黒い犬が古い木の下で眠っています。",
        "女の人が市場で果物を売っています。",
        "赤いバスが学校の前に止まります。",
        "年老いた漁師が浜辺で網を直しています。",
    ],
    "ar": [
        "رجل يركب دراجة على ضفة النهر.",
        "طفلان يلعبان كرة القدم في الشارع.",
        "كلب أسود ينام تحت الشجرة القديمة.",
        "المرأة تبيع الفواكه في السوق.",
        "حافلة حمراء تقف أمام المدرسة.",
        "صياد عجوز يصلح شبكته على الشاطئ.",
    ],
    "sr": [
        "Човек вози бицикл поред реке.",
        "Двоје деце игра фудбал на улици.",
        "Црни пас спава испод старог дрвета.",
        "Жена продаје воће на пијаци.",
        "Црвени аутобус стаје испред школе.",
        "Стари рибар крпи мрежу на плажи.",
    ],
    "sr-Latn": [
        "Čovek vozi bicikl pored reke.",
        "Dvoje dece igra fudbal na ulici.",
        "Crni pas spava ispod starog drveta.",
        "Žena prodaje voće na pijaci.",
        "Crveni autobus staje ispred škole.",
        "Stari ribar krpi mrežu na plaži.",
    ],
}
MAORI = [
    "Kei te eke pahikara te tangata i te taha o te awa.",
    "Kei te purei poikiri ngā tamariki tokorua i te tiriti.",
    "Kei te moe te kurī pango i raro i te rākau tawhito.",
    "Kei te hoko huarākau te wahine i te mākete.",
    "Ka tū te pahi whero i mua i te kura.",
    "Kei te whakatika te kaihao kaumātua i tana kupenga i te tāhuna.",
]


def corpus(texts):
    """Return 36 rows: each two sentences, one after the other."""
    return [f"{a} {b}" for a, b in product(texts, repeat=2)], [f"{a} {b}" for a, b in product(ENGLISH, repeat=2)]


def problem_of(text, language, native="A man is riding a bicycle along the river.", level="default", **options):
    """Return what stands against one row after 36 sound ones."""
    target, beside = corpus(TARGET.get(options.pop("among", language), MAORI))
    findings = examine([*target, text], [*beside, native], language=language, level=level, **options)
    assert not findings.codes[:-1].any()
    code = int(findings.codes[-1])
    return PROBLEMS[code - 1] if code else None


@pytest.mark.parametrize("language", TARGET)
@pytest.mark.parametrize("level", ["default", "strict"])
def test_sound_text_loses_nothing(language, level):
    """In seven ways of writing, as pairs and as captions."""
    target, native = corpus(TARGET[language])
    assert examine(target, native, language=language, level=level).kept.all()
    assert examine(target, None, language=language, level=level).kept.all()


@pytest.mark.parametrize("side", ["", "   ", "...", "?!", "\u200b\u00a0", "\u3164", "\u2800", "\0", "—"])
def test_a_side_without_anything_to_see_is_empty(side):
    """Punctuation, blanks that count as letters, and control characters say nothing."""
    assert problem_of(side, "de") == "empty"
    assert problem_of("Ein Mann fährt mit dem Fahrrad am Fluss entlang.", "de", native=side) == "empty"


@pytest.mark.parametrize("text", ["5", "½", "€", "👍", "犬"])
def test_digits_and_symbols_are_not_empty(text):
    """A single sign can be a name."""
    assert problem_of(text, "ja", native="thumbs up") is None


@pytest.mark.parametrize(
    ("language", "again"),
    [
        ("de", "  EIN MANN fährt mit dem\tFahrrad am Fluss  entlang. ein roter bus hält vor der schule."),
        ("de", "Ein Mann fa\u0308hrt mit dem Fahrrad am Fluss entlang. Ein roter Bus ha\u0308lt vor der Schule."),
        ("am", f"{TARGET['am'][0]}  {TARGET['am'][4]}"),
        ("sr", f"{TARGET['sr'][0]} {TARGET['sr'][4]}".upper()),
    ],
)
def test_the_same_pair_again_is_a_duplicate(language, again):
    """Also with other case, spacing and normal form; the first one is kept."""
    assert problem_of(again, language, native=f"{ENGLISH[0]} {ENGLISH[4]}") == "duplicate"
    assert problem_of(again, language, native="A man and a bus.") != "duplicate"


def test_captions_are_duplicates_only_of_the_same_image():
    """The same words may fit two pictures."""
    texts = ["paka mweusi", "mbwa", "Paka  mweusi", "paka mweusi"]
    assert examine(texts, None, language="sw", owners=[0, 1, 1, 0]).codes.tolist() == [0, 0, 0, 4]
    assert examine(texts, None, language="sw").codes.tolist() == [0, 0, 4, 4]


def test_a_row_whose_twin_is_leaked_is_no_duplicate():
    """One of the two must stay where one may."""
    leaked = np.array([True, False, False])
    codes = examine(["paka", "paka", "paka"], ["cat", "cat", "cat"], language="sw", leaked=leaked).codes
    assert [PROBLEMS[code - 1] if code else None for code in codes] == ["leaked", None, "duplicate"]


def test_an_untranslated_sentence_is_a_copy():
    """Also with other case and spacing."""
    english = "The woman is selling fruit at the market."
    assert problem_of(f" {english.upper()}", "sw", native=english) == "copy"
    assert problem_of("10:30 - 11:45", "sw", native="10:30 - 11:45") is None


@pytest.mark.parametrize("name", ["Zulu", "bitcoin", "New York", "DVD"])
def test_names_and_loan_words_are_no_copies(name):
    """They are equal by right, so that `default` keeps them, in every script, and `strict` does not."""
    assert problem_of(name, "sw", native=name) is None
    assert problem_of(name.upper(), "am", native=name) is None
    assert problem_of(name, "sw", native=name, level="strict") == "copy"


def test_many_equal_names_are_copies():
    """A file where a tenth of the rows is equal has not been translated."""
    target, native = corpus(TARGET["sw"])
    names = ["Zulu", "bitcoin", "pizza", "taco", "panda"]
    assert examine(target + names[:3], native + names[:3], language="sw").kept.all()
    assert examine(target + names, native + names, language="sw").counts()["copy"] == 5


@pytest.mark.parametrize("language", ["de", "am", "ja", "ar", "sr"])
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_text_read_in_the_wrong_encoding_is_mojibake(language, encoding):
    """UTF-8 taken for one of the usual suspects, on either side."""
    sentences = [text for text in TARGET[language] if not text.isascii()]
    for text in sentences:
        broken = text.encode("utf-8").decode(encoding, errors="replace")
        assert problem_of(broken, language) == "mojibake"
    assert problem_of(TARGET[language][0], language, native="A cafÃ© in the street by the river.") == "mojibake"


@pytest.mark.parametrize("text", ["Stra\ufffde mit vielen Autos", "Stra\x9fe mit vielen Autos"])
def test_replacement_and_control_characters_are_mojibake(text):
    """What a decoder puts for bytes that it cannot read."""
    assert problem_of(text, "de", native="A street with many cars") == "mojibake"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "„Größe“ – 20 °C, ½ Liter, 3 € … ‚äöüß‘ Ärzte"),
        ("fr", "L’œuvre d’art coûte 5 € à Noël, où ça ? « Là-bas »"),
        ("vi", "Hai đứa trẻ đang chơi bóng đá trên đường phố đông người."),
        ("cs", "Příliš žluťoučký kůň úpěl ďábelské ódy u řeky."),
        ("tr", "Yaşlı balıkçı sahilde ağını onarıyor, çocuklar İstanbul’da."),
        ("el", "Ένας ηλικιωμένος ψαράς επισκευάζει το δίχτυ του στην παραλία."),
    ],
)
def test_accents_and_typography_are_not_mojibake(language, text):
    """What healthy text of these languages holds."""
    assert examine([text], None, language=language, level="strict").kept.all()


def test_the_first_look_for_mojibake_misses_nothing():
    """What it lets through, ftfy's expression does not match, over all pairs of the characters that it looks at."""
    import re

    from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad

    signs = [c for c in map(chr, range(0x80, 0xFFFE)) if re.match(f"[{''.join(MOJIBAKE_CATEGORIES.values())}]", c)]
    texts = [f"a{x}{y}a" for x in signs for y in (" ", "a", "A", "b")] + [f"{x} a" for x in signs]
    assert len(signs) > 300
    assert not [text for text in texts if is_bad(text) and not doctor.SUSPICIOUS.search(text)]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sw", "Мужчина едет на велосипеде"),
        ("de", "男の人が川沿いを自転車で走っています"),
        ("am", "Mwanamume anaendesha baiskeli"),
        ("ja", "A man is on his bicycle"),
        ("ja", "남자가 자전거를 타고 있다"),
        ("ar", "Ein Mann fährt Fahrrad"),
        ("sr", "رجل يركب دراجة"),
    ],
)
def test_text_in_a_script_of_another_language(language, text):
    """Short ones too, of which the language could not be told."""
    assert problem_of(text, language) == "wrong_script"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ja", "Microsoftの本社の前に男の人が立っています"),
        ("ja", "ATM"),
        ("ja", "SOSマーク"),
        ("am", "አንድ ሰው ከ Toyota መኪና አጠገብ ቆሟል"),
        ("ar", "رجل يقف أمام مقر Google في المدينة"),
        ("sr", "Човек носи мајицу Nike"),
        ("sw", "Mtu mmoja anasoma neno Привет ukutani"),
        ("de", "Das Schild sagt 東京"),
    ],
)
def test_names_in_another_script_are_tolerated(language, text):
    """Below half of the letters; and abbreviations, which are written so everywhere."""
    assert problem_of(text, language, native="A sign" if len(text) < 8 else "A man by the sign of a maker") is None


def test_languages_of_two_scripts_may_use_both():
    """Unless the tag names one."""
    assert problem_of("Čovek vozi bicikl", "sr") is None
    assert problem_of("Човек вози бицикл", "sr-Latn") == "wrong_script"
    assert problem_of("Čovek vozi bicikl", "sr-Cyrl", among="sr") == "wrong_script"
    assert examine(
        ["دو بچے گلی میں فٹ بال کھیل رہے ہیں", "ਦੋ ਬੱਚੇ ਗਲੀ ਵਿੱਚ ਫੁੱਟਬਾਲ ਖੇਡ ਰਹੇ ਹਨ"], None, language="pa"
    ).kept.all()
    assert examine(["두 아이가 거리에서", "大韓民國", "ひらがな"], None, language="ko").codes.tolist() == [0, 0, 7]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sw", "Two children are playing football in the street."),
        ("sw", "Zwei Kinder spielen auf der Straße Fußball."),
        ("de", "Mwanamke anauza matunda sokoni karibu na shule."),
        ("ar", "دو کودک در خیابان فوتبال بازی می‌کنند و می‌خندند."),
        ("sr", "Двое детей играют в футбол на улице возле школы."),
        ("sr-Latn", "Zwei Kinder spielen auf der Straße Fußball."),
    ],
)
def test_a_sentence_in_another_language(language, text):
    """Of the same script."""
    assert problem_of(text, language) == "wrong_language"


def test_short_texts_have_no_language():
    """Names of a word or two are alike in many languages."""
    assert problem_of("football street", "sw", native="football in the street") is None


def test_a_language_that_the_model_does_not_know():
    """Its sentences stay, those in the native language are found."""
    target, native = corpus(MAORI)
    assert examine(target, native, language="mi").kept.all()
    assert problem_of("Two children are playing football in the street.", "mi") == "wrong_language"
    assert problem_of("Zwei Kinder spielen auf der Straße Fußball.", "mi") is None


def test_an_unknown_language_may_be_near_to_the_native_one():
    """If half of its file looks native, nothing is said."""
    patois = ["Di man a ride im bicycle longside di river.", *ENGLISH[1:]]
    assert examine(patois, None, language="jam").kept.all()
    assert examine(ENGLISH, None, language="sco").kept.all()


def test_what_is_said_of_a_rare_language_may_be_wrong():
    """Evenki is written in Cyrillic, whatever script the tables suppose: the file decides."""
    texts = ["Эрэвэр ичэтчэнэ, упкатту илэлду бисин", "Урумкэр балдаритно, теми нуңарңитын", "Упкат илэл балдыра"]
    assert examine([*texts, "A man"], None, language="evn").kept.all()


def test_probabilities_are_those_of_py3langid():
    """Many texts at once give what `classify` gives for each."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    texts = [text for texts in TARGET.values() for text in texts] + ENGLISH + MAORI + ["HELLO WORLD", "Fa\u0308hrt"]
    reference = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model = speech.identifier()
    for text, scores in zip(texts, model.probabilities(texts), strict=True):
        language, probability = reference.classify(text)
        assert model.labels[int(scores.argmax())] == language
        assert scores.max() == pytest.approx(probability, abs=1e-4)


@pytest.mark.parametrize("language", ["sw", "de", "am", "ja", "ar", "sr"])
def test_a_pair_of_very_different_length(language):
    """Half a word for two sentences, and two sentences for a word; what is usual is learnt from the file."""
    long = f"{ENGLISH[0]} {ENGLISH[3]}"
    assert problem_of(TARGET[language][0][:5], language, native=long) == "length_ratio"
    assert problem_of(f"{TARGET[language][0]} {TARGET[language][5]}", language, native="Rest") == "length_ratio"
    assert problem_of(TARGET[language][0][:5], language, native="Rest") is None


def test_a_few_rows_have_no_usual_length():
    """A median of a handful says nothing."""
    assert examine(["Hm", *TARGET["de"]], ["x" * 99, *ENGLISH], language="de").kept.all()


def test_a_row_stands_under_its_first_problem():
    """Each row here has all problems from one on; the earlier ones are taken away one by one."""
    target, native = corpus(TARGET["sw"])
    # Where sides are equal and foreign, the length cannot differ; so the later ones build on another text.
    copy = "Ã¤ Двоје деце игра фудбал на улици поред старе школе"
    garbled = "Ã¤ Двоје деце игра фудбал на улици поред старог дрвета"
    foreign = "Двоје деце игра фудбал на улици поред велике реке"
    english = "Two children are playing football in the street near the old school and then"
    rows = [
        ("empty", "...", "..."),
        ("unreadable", copy, copy),
        ("leaked", copy, copy),
        (None, "Mbwa analala chini ya mti", "A dog sleeps under a tree"),
        ("duplicate", "Mbwa analala chini ya mti", "A dog sleeps under a tree"),
        ("copy", copy, copy),
        ("duplicate", copy, copy),
        ("mojibake", garbled, "A"),
        ("wrong_script", foreign, "A"),
        ("wrong_language", english, "A"),
        ("length_ratio", "Mbwa analala chini ya mti mkubwa wa zamani kando ya mto na watoto wanacheza", "A"),
    ]
    leaked = np.zeros(len(target) + len(rows), dtype=bool)
    leaked[len(target) : len(target) + 3] = True
    unreadable = np.zeros_like(leaked)
    unreadable[len(target) : len(target) + 2] = True
    texts = target + [r[1] for r in rows], native + [r[2] for r in rows]
    findings = examine(*texts, language="sw", leaked=leaked, unreadable=unreadable)
    everything = examine(*texts, language="sw", level="off", leaked=leaked, unreadable=unreadable)
    assert np.flatnonzero(~everything.kept).tolist() == [len(target), len(target) + 1]
    found = [PROBLEMS[code - 1] if code else None for code in findings.codes[len(target) :]]
    assert found == [row[0] for row in rows]


def test_levels():
    """`off` finds what `default` finds and keeps all but the empty; `strict` finds at least as much."""
    target, native = corpus(TARGET["sw"])
    target += ["", "Zulu", "Мбва", "Two children are playing football in the street.", target[0]]
    native += ["nothing", "Zulu", "dog", "A man is riding a bicycle along the river.", native[0]]
    default, off, strict = (
        examine(target, native, language="sw", level=level) for level in ("default", "off", "strict")
    )
    assert default.codes.tolist() == off.codes.tolist()
    assert default.counts() == {
        **dict.fromkeys(PROBLEMS, 0),
        "empty": 1,
        "duplicate": 1,
        "wrong_script": 1,
        "wrong_language": 1,
    }
    assert np.flatnonzero(~default.kept).tolist() == [36, 38, 39, 40]
    assert np.flatnonzero(~off.kept).tolist() == [36]
    assert np.flatnonzero(~strict.kept).tolist() == [36, 37, 38, 39, 40]


def test_samples_are_spread_and_always_the_same():
    """The first and the last are among them."""
    findings = examine(["paka"] * 101 + ["mbwa"], None, language="sw")
    assert findings.counts()["duplicate"] == 100
    assert findings.samples("duplicate", 3) == [1, 51, 100]
    assert findings.samples("duplicate", 1000) == list(range(1, 101))
    assert findings.samples("copy", 3) == findings.samples("duplicate", 0) == []


def test_odd_text_does_no_harm():
    """NUL, lone surrogates, unassigned characters and lines of 100 kB are text like any other."""
    target, native = corpus(TARGET["ja"])
    odd = [
        "犬が\0眠っています",
        "犬が\ud800眠っています",
        "\U000e0fff犬\U0010ffff",
        "黒い犬が古い木の下で眠っています。" * 6000,
        "\n\r\u2028犬\x1c",
        "\ud800",
    ]
    beside = [
        "A dog sleeps",
        "A dog sleeps\udfff",
        "A dog",
        "A black dog sleeps under the old tree. " * 6000,
        "dog",
        "?",
    ]
    findings = examine(target + odd, native + beside, language="ja", level="strict")
    assert findings.codes[36:].tolist() == [0, 0, 0, 0, 0, 1]
    assert len(odd[3].encode()) > 100_000


def test_blocks_do_not_change_what_is_found(monkeypatch):
    """Rows are judged by the whole file, however it is cut."""
    target, native = corpus(TARGET["de"])
    target += ["Zulu", "...", target[0], "Hm", "Мужчина едет", "Two children are playing in the street."]
    native += ["Zulu", "x", native[0], native[0], "A man", "A man is riding"]
    whole = examine(target, native, language="de").codes.tolist()
    assert whole == examine(target, native, language="de").codes.tolist()
    assert len(set(whole)) > 4
    monkeypatch.setattr(pairs, "BLOCK_ROWS", 5)
    assert examine(target, native, language="de").codes.tolist() == whole
    monkeypatch.setattr(pairs, "BLOCK_CHARACTERS", 50)
    assert examine(target, native, language="de").codes.tolist() == whole


def test_progress_is_told_of_every_row():
    """Once each, between a start and an end."""

    class Told:
        def __init__(self):
            self.said = []

        def start(self, task, total=None, unit=""):
            self.said.append(("start", total, unit))

        def advance(self, amount=1, **figures):
            self.said.append(("advance", amount))

        def note(self, text):
            raise AssertionError(text)

        def finish(self):
            self.said.append(("finish",))

    told = Told()
    examine(["paka", "mbwa"], ["cat", "dog"], language="sw", progress=told)
    assert told.said == [("start", 2, "rows"), ("advance", 2), ("finish",)]


def test_no_rows_are_no_problem():
    """An empty file is another check's business."""
    assert examine([], [], language="sw").counts() == dict.fromkeys(PROBLEMS, 0)


def test_what_does_not_fit_is_refused():
    """An unknown level or problem, and lists of different length."""
    with pytest.raises(DataError, match=r"'lax' is not a filter level. Known: strict, default, off"):
        examine(["a"], ["b"], language="sw", level="lax")
    with pytest.raises(DataError, match="1 target texts and 2 native texts; give one for each"):
        examine(["a"], ["b", "c"], language="sw")
    with pytest.raises(DataError, match="1 target texts and 2 leaked marks"):
        examine(["a"], ["b"], language="sw", leaked=np.array([True, False]))
    with pytest.raises(DataError, match="1 target texts and 0 images"):
        examine(["a"], None, language="sw", owners=[])
    with pytest.raises(DataError, match=r"'typo' is not a fault that is checked. Known: empty, unreadable"):
        examine(["a"], ["b"], language="sw").samples("typo", 3)
