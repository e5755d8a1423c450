"""What the two stages lose on a batch, and how a language is scored on a held-out slice, as computed by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mla_extend.processes import Processes
from mla_extend.training.forward import encode_ids, padded_tokens, run_rows
from mla_extend.training.losses import contrast_loss, sigmoid_loss
from mla_extend.training.recipe import StageRecipe
from mla_extend.training.stages import ExposureTask, SubwordSampling, TransferTask
from mla_extend.training.validation import ExposureValidation, TransferValidation
from tests.fake_training import FakeTower, loss_of

EYE = np.eye(6, dtype=np.float32)
ROWS = np.arange(4)
CONTRAST = StageRecipe(contrast=1.0, temperature=0.5)
ALONE, TWINS = math.log1p(3 * math.exp(-2)), math.log1p(2 * math.exp(-2))
"""The contrast of a row with three others at cosine 0, and with two."""


def ids(*firsts: int) -> list[list[int]]:
    """Return texts whose vectors are those of some numbers."""
    return [[first, 9] for first in firsts]


def lost(task: Any, *given: Any) -> float:
    """Return a task's loss."""
    return float(loss_of(task, *given).detach())


def tower(vectors: Any = EYE, **more: Any) -> Any:
    """Return a model that gives these vectors."""
    return FakeTower(vectors, **more)


def test_transfer_loses_the_distance_and_the_contrast_by_their_weights() -> None:
    task = TransferTask(ids(0, 1, 2, 3), EYE, ["a", "b", "c", "d"])
    away = TransferTask(ids(1, 0, 2, 3), EYE, ["a", "b", "c", "d"])  # two of four at a right angle
    assert lost(task, tower(), ROWS, StageRecipe(mse=3.0)) == pytest.approx(0, abs=1e-6)
    assert lost(away, tower(), ROWS, StageRecipe(mse=3.0)) == pytest.approx(3 * 2 * 2 / 4)
    assert lost(away, tower(2 * EYE), ROWS, StageRecipe(mse=3.0, mse_of="raw")) == pytest.approx(
        3 * (2 * 5 + 2 * 1) / 24
    )
    assert lost(task, tower(), ROWS, CONTRAST) == pytest.approx(ALONE)
    both = StageRecipe(mse=3.0, contrast=0.25, temperature=0.5)
    assert lost(task, tower(), ROWS, both) == pytest.approx(0.25 * ALONE, rel=1e-5)
    assert lost(task, tower(), ROWS, StageRecipe()) == 0


def test_transfer_takes_the_teachers_of_its_rows() -> None:
    """Row numbers go to ids and to teachers alike."""
    task = TransferTask(ids(5, 4, 3, 2, 1, 0), EYE[::-1].copy(), list("abcdef"))
    assert lost(task, tower(), np.array([4, 1, 5]), StageRecipe(mse=1.0)) == pytest.approx(0, abs=1e-6)
    assert task.lengths.tolist() == [2] * 6
    assert task.unit == "pairs"


def test_equal_native_sentences_are_no_negatives_of_each_other() -> None:
    task = TransferTask(ids(0, 1, 2, 3), EYE, ["a", "b", "a", "c"])
    assert lost(task, tower(), ROWS, CONTRAST) == pytest.approx((ALONE + TWINS) / 2)


def test_equal_captions_and_equal_images_are_no_negatives_of_each_other() -> None:
    """Captions 0 and 1 show one image; 2 and 3 say the same of two."""
    task = ExposureTask(ids(0, 1, 2, 3), EYE, np.array([3, 3, 1, 2]), ["a", "b", "c", "c"])
    found = loss_of(task, tower(), ROWS, StageRecipe(contrast=2.0, temperature=0.5))
    same = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()
    expected = contrast_loss(torch.eye(6)[:4], torch.eye(6)[[3, 3, 1, 2]], 0.5, same)
    assert float(found.detach()) == pytest.approx(2 * float(expected))
    assert task.unit == "captions"


def test_a_base_that_learned_a_sigmoid_contrast_is_trained_on_unless_a_softmax_is_wanted() -> None:
    terms = torch.tensor(2.0), torch.tensor(-3.0)
    task = ExposureTask(ids(0, 1, 2, 3), EYE, np.array([0, 0, 2, 3]), ["a", "b", "c", "d"])
    same = torch.tensor([0, 0, 2, 3]).unsqueeze(0) == torch.tensor([0, 0, 2, 3]).unsqueeze(1)
    text, images = torch.eye(6)[:4], torch.eye(6)[[0, 0, 2, 3]]
    auto = StageRecipe(contrast=2.0, temperature=0.5)
    softmax = StageRecipe(contrast=2.0, temperature=0.5, contrast_of="softmax")
    expected = 2 * float(sigmoid_loss(text, images, *terms, same))
    assert lost(task, tower(sigmoid=terms), ROWS, auto) == pytest.approx(expected)
    assert lost(task, tower(sigmoid=terms), ROWS, softmax) == pytest.approx(
        2 * float(contrast_loss(text, images, 0.5, same))
    )


def test_a_task_knows_its_rows_lengths_and_weights() -> None:
    weights = np.array([1.0, 2.0])
    for task in (
        TransferTask([[1, 2, 3], [4]], EYE, ["a", "b"], weights),
        ExposureTask([[1, 2, 3], [4]], EYE, np.array([0, 1]), ["a", "b"], weights),
    ):
        assert task.lengths.tolist() == [3, 1]
        assert task.lengths.dtype == np.int64
        assert task.weights is weights


def test_a_batch_is_cut_at_random_where_its_task_draws_it() -> None:
    """The drawn ids take the place of the likeliest, and begin as the base's text does."""

    class Other:
        """Cut a text in one way."""

        def sampled_ids(self, texts: list[str], alpha: float, seed: int) -> list[list[int]]:
            assert alpha == 0.3
            return [[8, "abcd".index(text)] for text in texts]

    model = tower()
    model.as_begun = lambda rows: [row[1:] for row in rows]
    drawn = SubwordSampling(Other(), ["a", "b", "c", "d"])  # type: ignore[arg-type]
    captions = ExposureTask(ids(1, 1, 1, 1), EYE, np.arange(4), list("abcd"), drawn=drawn)
    assert lost(captions, model, ROWS, CONTRAST.model_copy(update={"sampling": 1.0})) == pytest.approx(ALONE)
    task = TransferTask(ids(1, 1, 1, 1), EYE, list("abcd"), drawn=drawn)
    assert lost(task, model, ROWS, StageRecipe(mse=1.0, sampling=1.0)) == pytest.approx(0, abs=1e-6)
    assert lost(task, model, ROWS, StageRecipe(mse=1.0)) == pytest.approx(1.5)


def test_rows_of_like_length_go_together_on_a_cpu_and_come_out_in_order() -> None:
    """Not where the tower has one length, nor where a pass costs much."""
    vectors = np.random.default_rng(0).standard_normal((128, 4))
    rows = [[i] + [5] * (51 if i == 124 else 50 if i % 4 == 0 else 3) for i in range(128)]
    whole, parted = tower(vectors, fixed=77), tower(vectors)
    found = run_rows(parted, rows, Processes())
    assert torch.equal(found, torch.as_tensor(vectors, dtype=torch.float32))
    assert torch.equal(run_rows(whole, rows, Processes()), found)
    assert parted.passes == [(96, 4), (32, 52)]
    assert whole.passes == [(128, 52)]
    lengths = [len(row) for row in rows]
    assert padded_tokens(parted, lengths) == 96 * 4 + 32 * 52
    assert padded_tokens(whole, lengths) == 128 * 77
    assert padded_tokens(tower(vectors, device="cuda"), lengths) == 128 * 52


def test_a_process_without_a_share_runs_a_row_for_nothing() -> None:
    """So that there is a graph; its vectors are not among those that are joined."""

    class Third(Processes):
        """Stand for the second of two processes."""

        def join(self, own: Any, rows: int) -> Any:
            assert rows <= 2
            return own

    model = tower()
    assert run_rows(model, ids(3, 4), Third(0, 3)).shape == (0, 6)
    assert model.passes.pop() == (1, 2)
    assert run_rows(model, ids(3), Third(0, 2)).shape == (0, 6)
    assert model.passes == [(1, 2)]
    assert run_rows(model, ids(3), Third(1, 2)).tolist() == [EYE[3].tolist()]


def test_ids_are_encoded_in_order_however_they_are_batched() -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    model = tower(vectors)
    rows = [[i] + [3] * (i * 7 % 5) for i in range(20)]
    found = encode_ids(model, rows, size=6)
    assert found.tolist() == vectors.tolist()
    assert not found.requires_grad
    assert [count for count, _ in model.passes] == [6, 6, 6, 2]
    assert [width for _, width in model.passes] == sorted(width for _, width in model.passes)


def test_a_pair_looks_for_its_native_sentence_and_back() -> None:
    """Six native sentences, of which four are held out; one text finds the wrong one first.

    There: places 1, 1, 1, 2. Back: native 3 finds its text at place 2, as another has its vector's direction.
    """
    vectors = EYE[:4].copy()
    vectors[3] = [0, 0, 1, 0.5, 0, 0]
    validation = TransferValidation(ids(0, 1, 2, 3), list("abcd"), EYE[:4], EYE[4:])
    found = validation(tower(vectors))
    there, back = (3 / 4 + 1 + 1) / 3, 1.0
    assert found.score == pytest.approx((there + back) / 2)
    gallery, texts = (1 / 6 + 5 / 6 + 1) / 3, (1 / 4 + 1 + 1) / 3
    assert found.chance == pytest.approx((gallery + texts) / 2)
    assert found.error == pytest.approx(math.sqrt(found.score * (1 - found.score) / 4))
    assert found.mean_cosine == pytest.approx(2 * (1 / math.sqrt(1.25)) / 12)


def test_repeated_native_sentences_are_one_in_the_gallery() -> None:
    """Either of its texts is found by it, and its vector is that of where it first stands."""
    teacher = EYE[[0, 1, 5, 2]]  # the third one repeats the first, whose vector counts
    validation = TransferValidation(ids(0, 1, 0, 2), ["a", "b", "a", "c"], teacher, EYE[4:5])
    assert validation.gallery.tolist() == EYE[[0, 1, 2, 4]].tolist()
    found = validation(tower())
    assert found.score == 1
    assert found.error == pytest.approx(math.sqrt(1e-4 / 4))  # no score is without error


def test_a_caption_looks_for_its_images_and_back() -> None:
    """Equal captions of two images are one text; images that no held-out caption shows are among what it looks in."""
    captions, images = ["a", "b", "a", "c"], np.array([5, 3, 2, 3])
    validation = ExposureValidation(ids(2, 3, 2, 0), captions, images, EYE)
    assert validation.ids == ids(2, 3, 0)
    assert validation.gallery.tolist() == EYE[[2, 3, 5, 0, 1, 4]].tolist()
    found = validation(tower())
    # Text c has the vector of image 0, so that all others tie behind it: its image 3 is the last of six.
    there = (2 / 3 + 2 / 3 + 1) / 3
    # Image 5 ties with all three texts at 0, of which one is its own: place 3.
    back = (2 / 3 + 1 + 1) / 3
    assert found.score == pytest.approx((there + back) / 2)
    assert found.chance == pytest.approx(((1 / 6 + 5 / 6 + 1) / 3 + (1 / 3 + 1 + 1) / 3) / 2)


def test_the_gallery_of_images_is_bounded_but_holds_all_that_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for room, size in ((2, 3), (4, 4), (9, 6)):
        monkeypatch.setattr("mla_extend.training.validation.GALLERY", room)
        validation = ExposureValidation(ids(2, 3, 5), ["a", "b", "c"], np.array([2, 3, 5]), EYE)
        assert len(validation.gallery) == size
        assert validation(tower()).score == 1
