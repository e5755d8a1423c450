"""What stands in a test set: the same and nearly the same sentences and pictures, and nothing else."""

import random
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from mla_extend.data import pairs, same_pictures
from mla_extend.data.leaks import LEAST_LENGTH, SIMILARITY, LeakIndex
from tests.test_images_open import damaged_pictures

TESTS = [
    "Ein alter Fischer flickt am frühen Morgen am Strand sein großes Netz.",
    "Zwei Kinder spielen auf der Straße Fußball und lachen laut.",
    "Watoto wawili wanacheza mpira wa miguu barabarani karibu na shule ya msingi.",
    "ሽማግሌ ዓሣ አጥማጅ በባሕር ዳርቻ ጠዋት ላይ ትልቁን መረቡን ይጠግናል።",
    "年老いた漁師が早朝の浜辺で大きな網を丁寧に直しています。",
    "صياد عجوز يصلح شبكته الكبيرة على الشاطئ في الصباح الباكر.",
    "Стари рибар рано ујутру крпи велику мрежу на плажи.",
    "Hund",
    "कि",
    "👍",
]
WORDS = sorted({word.strip(".").casefold() for text in TESTS[:3] for word in text.split()} | {"mbwa", "paka", "mweusi"})


def jaccard(one, other):
    """Return the share of common trigrams, the plain way."""
    a, b = ({text[i : i + 3] for i in range(len(text) - 2)} for text in (one, other))
    return len(a & b) / len(a | b)


def picture(seed, size=224):
    """Return a picture of some twenty soft shapes."""
    rng = random.Random(seed)
    image = Image.new("RGB", (size, size), tuple(rng.choices(range(256), k=3)))
    draw = ImageDraw.Draw(image)
    for _ in range(20):
        x, y, width, height = (rng.randrange(size) for _ in range(4))
        draw.ellipse((x, y, x + width // 2, y + height // 2), fill=tuple(rng.choices(range(256), k=3)))
    return image.filter(ImageFilter.GaussianBlur(2))


@pytest.fixture
def gallery(tmp_path):
    """Write eight test pictures."""
    paths = [tmp_path / f"test{seed}.png" for seed in range(8)]
    for seed, path in enumerate(paths):
        picture(seed).save(path)
    return paths


@pytest.mark.parametrize(
    "text",
    [
        *TESTS[:-3],
        "  ein alter FISCHER flickt, am frühen Morgen am Strand, sein grosses Netz",
        "Ein alter Fischer flickt am fru\u0308hen Morgen am Strand sein großes Netz!!!",
        "Ｅｉｎ alter Fischer flickt am frühen Morgen am Strand sein großes\u00a0Netz",
        "ሽማግሌ ዓሣ አጥማጅ፣ በባሕር ዳርቻ፣ ጠዋት ላይ ትልቁን መረቡን ይጠግናል",
        "СТАРИ РИБАР РАНО УЈУТРУ КРПИ ВЕЛИКУ МРЕЖУ НА ПЛАЖИ",
    ],
)
def test_the_same_text_leaks(text):
    """Without case, punctuation, spacing and compatible forms."""
    assert LeakIndex(TESTS).texts([text]).all()


@pytest.mark.parametrize(
    "text",
    [
        "Ein alter Fischer flickt am frühen Abend am Strand sein großes Netz.",
        "Zwei Kinder spielen auf der Straße Fußball und lachen.",
        "Watoto watatu wanacheza mpira wa miguu barabarani karibu na shule ya msingi.",
        "ሽማግሌ ዓሣ አጥማጅ በባሕር ዳርቻ ጠዋት ላይ መረቡን ይጠግናል።",
        "年老いた漁師が早朝の浜辺で大きな網を丁寧に直している。",
        "صياد عجوز يصلح شبكته الكبيرة على الشاطئ في الصباح.",
        "Стари рибар рано ујутру крпи своју велику мрежу на плажи.",
    ],
)
def test_nearly_the_same_text_leaks(text):
    """A word is another one, or is missing."""
    assert LeakIndex(TESTS).texts([text]).all()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "?",
        "\u200b",
        "Hund",
        "Hunde",
        "कि",
        "का",
        "👍",
        "👎",
        "Ein junger Fischer verkauft am Abend auf dem Markt seine Fische.",
        "Zwei Hunde spielen auf der Wiese.",
        "漁師が網を直しています。",
        "Стари рибар спава на плажи поред чамца и сања.",
    ],
)
def test_other_text_does_not_leak(text):
    """Nothing at all, short texts, be they the same, and sentences that share some words."""
    assert not LeakIndex([*TESTS, "", "..."]).texts([text]).any()


def test_native_text_leaks_too():
    """Where it is given on both sides; and never as text of the language."""
    index = LeakIndex(["Ein schwarzer Hund schläft"], ["A dog sleeps under the old tree near the river."])
    rows = ["Katze", "ein schwarzer Hund schläft", "Ein Hund schläft"]
    natives = ["cat", "cat", "a dog sleeps under the old tree, near the river"]
    assert index.texts(rows).tolist() == [False, True, False]
    assert index.texts(rows, natives).tolist() == [False, True, True]
    assert not index.texts(natives).any()
    assert not LeakIndex([TESTS[0]]).texts(["Katze"], [TESTS[0]]).any()
    assert not LeakIndex([]).texts(rows, natives).any()


def test_a_short_pair_leaks_as_a_pair_and_an_entry_of_a_word_list_does_not():
    """Both sides are the test set's, and one has three words."""
    index = LeakIndex(["Nina njaa", "mbwa mweusi"], pairs=[("Nina njaa", "I am hungry"), ("mbwa mweusi", "black dog")])
    rows, natives = ["nina njaa!", "nina njaa", "mbwa mweusi", ""], ["I am hungry.", "I am thirsty", "black dog", ""]
    assert index.texts(rows, natives).tolist() == [True, False, False, False]
    assert not index.texts(rows).any()


def test_an_image_s_text_leaks_if_it_is_too_long_for_a_coincidence():
    """What is said of many images is said of two by chance."""
    index = LeakIndex(["A red cotton shirt for men.", TESTS[0], TESTS[4]])
    rows = ["a red cotton shirt for men", TESTS[4], TESTS[0].replace("Netz", "Boot")]
    assert index.captions(rows).tolist() == [False, False, True]
    assert index.texts(rows).tolist() == [True, True, True]


def test_nearness_is_that_of_a_plain_comparison(monkeypatch):
    """Of 1,000 sentences of few words, against 200, those with so many trigrams in common, in blocks or at once."""
    rng = random.Random(7)

    def changed(text):
        words = text.split()
        for _ in range(rng.randrange(3)):
            place = rng.randrange(len(words))
            words[place : place + rng.randrange(2)] = [rng.choice(WORDS)]
        return " ".join(words)

    tests = [" ".join(rng.choices(WORDS, k=rng.randrange(2, 16))) for _ in range(200)]
    rows = [changed(rng.choice(tests)) for _ in range(500)]
    rows += [" ".join(rng.choices(WORDS, k=rng.randrange(2, 16))) for _ in range(500)]
    long = [test for test in tests if len(test) >= LEAST_LENGTH]
    expected = [(len(row) >= LEAST_LENGTH and any(jaccard(row, test) >= SIMILARITY for test in long)) for row in rows]
    assert 200 < sum(expected) < 500
    assert LeakIndex(tests).texts(rows).tolist() == expected
    monkeypatch.setattr(pairs, "BLOCK_ROWS", 100)
    assert LeakIndex(tests).texts(rows).tolist() == expected


def test_odd_text_does_no_harm():
    """NUL, lone surrogates, the last code point and lines of 100 kB."""
    long = "黒い犬が古い木の下で眠っています。" * 6000
    odd = ["a\0b", "a\ud800b", "\U0010ffff", "\ud800", "a\nb", long, long[:-50]]
    assert LeakIndex(odd).texts(odd).tolist() == [False] * 5 + [True, True]
    assert not LeakIndex(TESTS).texts(odd).any()


def test_the_same_file_leaks(gallery, tmp_path):
    """Under any name, and also where it is no picture at all."""
    copy = tmp_path / "copy.bin"
    shutil.copy(gallery[3], copy)
    broken, twin, other = (tmp_path / name for name in ("broken.jpg", "twin.jpg", "other.jpg"))
    broken.write_bytes(b"\xff\xd8 no picture")
    twin.write_bytes(b"\xff\xd8 no picture")
    other.write_bytes(b"\xff\xd8 no pictura")
    index = LeakIndex([], images=[*gallery, broken])
    assert index.images([copy, twin, other]).tolist() == [True, True, False]


def test_the_same_picture_leaks(gallery, tmp_path):
    """Coded again, smaller, larger, and on a transparent ground."""
    image = picture(5)
    image.save(tmp_path / "a.jpg", quality=40)
    image.save(tmp_path / "b.webp", quality=50)
    image.resize((100, 100)).save(tmp_path / "c.png")
    image.resize((640, 640)).save(tmp_path / "d.jpg")
    image.convert("RGBA").save(tmp_path / "e.png")
    image.convert("P").save(tmp_path / "f.gif")
    copies = [tmp_path / name for name in ("a.jpg", "b.webp", "c.png", "d.jpg", "e.png", "f.gif")]
    assert LeakIndex([], images=gallery).images(copies).all()


def test_other_pictures_do_not_leak(gallery, tmp_path, monkeypatch):
    """Those of other shapes, and the same shapes in other colours."""
    others = [tmp_path / f"train{seed}.png" for seed in range(100, 140)]
    for seed, path in enumerate(others, 100):
        picture(seed).save(path)
    red, green, blue = picture(5).split()
    Image.merge("RGB", (blue, red, green)).save(tmp_path / "swapped.png")
    paths = [*others, tmp_path / "swapped.png", gallery[2]]
    index = LeakIndex([], images=gallery)
    assert index.images(paths).tolist() == [False] * 41 + [True]
    monkeypatch.setattr(same_pictures, "BLOCK_PICTURES", 7)
    assert index.images(paths).tolist() == [False] * 41 + [True]


def test_pictures_that_cannot_be_read_are_no_leak(gallery, tmp_path):
    """On either side: missing ones, folders, text, and the beginning of one."""
    (tmp_path / "text.png").write_text("paka", encoding="utf-8")
    (tmp_path / "cut.png").write_bytes(gallery[0].read_bytes()[:500])
    damaged = [tmp_path / name for name in damaged_pictures()]
    for path, content in zip(damaged, damaged_pictures().values(), strict=True):
        path.write_bytes(content)
    bad = [tmp_path / "missing.png", tmp_path, tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "nul\0.png"]
    bad += damaged
    assert not LeakIndex([], images=gallery).images(bad).any()
    assert LeakIndex([], images=[*bad, *gallery]).images([gallery[1]]).all()
    assert not LeakIndex([], images=bad[:2]).images(gallery).any()
    assert not LeakIndex(TESTS).images(gallery).any()


def test_a_warning_of_pillow_is_not_passed_on(tmp_path):
    """A palette with transparency as bytes makes Pillow advise another mode."""
    image = picture(1).convert("P")
    image.save(tmp_path / "palette.png", transparency=bytes(range(256)))
    index = LeakIndex([], images=[tmp_path / "palette.png"])
    assert index.images([tmp_path / "palette.png"]).dtype == np.bool_


def test_unchanged_pictures_are_decoded_once(gallery, tmp_path, monkeypatch):
    paths = list(gallery)
    found = LeakIndex([], images=paths[:3]).images(paths)

    def fail(image):
        raise AssertionError(image)

    monkeypatch.setattr(same_pictures, "look", fail)
    assert LeakIndex([], images=paths[:3]).images(paths).tolist() == found.tolist()
