"""What is held out of training: sentences in whatever form they are written, and images with all their captions."""

import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mla_extend.data.hold_out import HeldOut, hold_out, normalised
from mla_extend.data.pairs import ImageText, Part


def chosen(targets: Sequence[str], fraction: float = 0.05, largest: int = 1000) -> set[str]:
    found = hold_out(targets, [], [], fraction=fraction, largest=largest)
    return {text for text, held in zip(targets, found.pairs, strict=True) if held}


def captioned(images: int, captions: int, text: str = "picha {image} hivi {number}") -> tuple[list[str], list[int]]:
    owners = [image for image in range(images) for _ in range(captions)]
    return [text.format(image=image, number=i % captions) for i, image in enumerate(owners)], owners


def check(
    found: HeldOut, targets: Sequence[str], texts: Sequence[str], owners: Sequence[int], shared: bool = False
) -> None:
    """Assert what must hold of every choice; captions that are `shared` by all images may stand on both sides."""
    owner = np.array(owners)
    trained = ~found.captions & ~found.dropped
    assert not set(owner[found.captions]) & set(owner[trained])
    held_texts = {normalised(text) for text, held in zip(texts, found.captions, strict=True) if held}
    held_texts |= {normalised(text) for text, held in zip(targets, found.pairs, strict=True) if held}
    assert shared or not held_texts & {normalised(text) for text, it in zip(texts, trained, strict=True) if it}
    assert shared or not held_texts & {
        normalised(text) for text, held in zip(targets, found.pairs, strict=True) if not held
    }
    assert not (found.captions & found.dropped).any()


def test_the_choice_depends_on_the_texts_alone() -> None:
    texts = [f"sentensi {i}" for i in range(1000)]
    found = chosen(texts)
    assert len(found) == 50
    assert chosen(list(reversed(texts)) + texts) == found
    assert len(chosen(texts, 0.5, 10)) == 10
    assert len(chosen(texts[:3])) == 2
    assert found & set(texts[:500]) <= chosen(texts[:500]) | found


def test_a_trivial_variant_stands_on_the_same_side() -> None:
    plain = [f"mti número {i} wa ng'ombe" for i in range(200)]
    variants = [
        plain,
        [text.upper() for text in plain],
        [f"  {text}!" for text in plain],
        [text.replace(" ", "  ") for text in plain],
        [text.replace("'", "’") for text in plain],
        [unicodedata.normalize("NFD", text) for text in plain],
        [f"\u200e{text}." for text in plain],
    ]
    found = hold_out([text for texts in variants for text in texts], [], [], fraction=0.1, largest=100)
    sides = found.pairs.reshape(len(variants), -1)
    assert (sides == sides[0]).all()
    assert sides[0].sum() == 20


def test_texts_of_symbols_alone_are_not_all_one() -> None:
    assert len({normalised(text) for text in ("❤", "☂", "...", "हिन्दी", "हन्द")}) == 5


def test_images_are_held_out_with_all_their_captions() -> None:
    texts, owners = captioned(400, 5)
    targets = ["neno"] * 3 + [f"neno {i}" for i in range(100)]
    found = hold_out(targets, texts, owners, fraction=0.04, largest=1000)
    check(found, targets, texts, owners)
    held = set(np.array(owners)[found.captions])
    assert len(held) == 16
    assert found.captions.sum() == 80
    assert not found.dropped.any()


def test_a_sentence_is_on_one_side_in_both_files() -> None:
    texts, owners = captioned(300, 1)
    targets = [text.upper() for text in texts] + [f"mengine {i}" for i in range(300)]
    found = hold_out(targets, texts, owners, fraction=0.05, largest=1000)
    check(found, targets, texts, owners)
    assert np.array_equal(found.pairs[:300], found.captions)
    assert 20 <= found.pairs.sum() <= 40


def test_the_pictures_of_one_caption_are_held_out_together() -> None:
    """Three drawings of each thing under one name, as in the demo."""
    texts = [f"kitu {i}" for i in range(500) for _ in range(3)]
    owners = list(range(1500))
    found = hold_out([f"kitu {i}" for i in range(500)], texts, owners, fraction=0.04, largest=1000)
    check(found, [f"kitu {i}" for i in range(500)], texts, owners)
    assert found.captions.sum() == 60
    assert found.pairs.sum() == 20
    assert not found.dropped.any()


def test_captions_that_tie_all_images_together_hold_out_single_ones() -> None:
    owners = [image for image in range(200) for _ in range(2)]
    texts = [["mbwa", "paka"][image % 2] if i % 2 else f"picha {image}" for i, image in enumerate(owners)]
    found = hold_out(["mbwa", "paka", "nyumba", "gari"], texts, owners, fraction=0.05, largest=1000)
    check(found, ["mbwa", "paka", "nyumba", "gari"], texts, owners)
    assert 5 <= found.captions.sum() <= 30
    assert found.captions.sum() == found.dropped.sum()


def test_captions_of_few_kinds_hold_out_images_all_the_same() -> None:
    texts, owners = [["mbwa", "paka"][i % 2] for i in range(100)], list(range(100))
    found = hold_out([f"neno {i}" for i in range(50)], texts, owners, fraction=0.04, largest=1000)
    assert 2 <= found.captions.sum() <= 4
    assert not found.dropped.any()


@pytest.mark.parametrize("images", [1, 2, 3, 5])
def test_few_images_leave_one_to_learn_from(images: int) -> None:
    texts, owners = captioned(images, 2)
    targets = [f"neno {i}" for i in range(9)]
    found = hold_out(targets, texts, owners, fraction=0.04, largest=1000)
    check(found, targets, texts, owners)
    assert (~found.captions).any()
    assert found.pairs.sum() == 2


@given(
    st.lists(st.integers(0, 12), max_size=40),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), max_size=40),
    st.sampled_from([0.04, 0.3, 0.5]),
)
def test_nothing_stands_on_both_sides(targets: list[int], captions: list[tuple[int, int]], fraction: float) -> None:
    pairs = [f"neno {i}" for i in targets]
    texts, owners = [f"Neno {i}." for i, _ in captions], [owner for _, owner in captions]
    found = hold_out(pairs, texts, owners, fraction=fraction, largest=1000)
    check(found, pairs, texts, owners, shared=len(set(texts)) < len(texts))


def test_pictures_of_the_same_content_become_one() -> None:
    from pathlib import Path

    data = ImageText(
        parts=(Part("a.jsonl"),),
        images=[Path("a"), Path("b"), Path("c")],
        texts=["moja", "mbili", "tatu", "nne"],
        image_of_text=[0, 1, 2, 1],
        part_of=np.zeros(4, dtype=np.int64),
        rows=np.arange(4),
        native=["one", "three"],
        native_image_of=[0, 2],
    )
    joined = data.joined([b"x", b"y", b"x"])
    assert joined.images == [Path("a"), Path("b")]
    assert joined.image_of_text == [0, 1, 0, 1]
    assert joined.native_image_of == [0, 0]
