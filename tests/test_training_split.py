"""What the stages are made of: rows that are trained on, those held out, their vectors and weights."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ImageText, ParallelText, Part
from mla_extend.errors import DataError, ImageError
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.training import stages
from mla_extend.training.recipe import Recipe, load_recipe
from mla_extend.training.split import split
from mla_extend.training.stages import (
    ExposureTask,
    Stage,
    TransferTask,
    exposure_stage,
    image_vectors,
    subword_sampling,
    transfer_stage,
)
from mla_extend.training.validation import ExposureValidation, TransferValidation
from tests.conftest import sentences

NATIVE, TARGET = sentences(30)
HELD = np.arange(30) % 5 == 0
TRAIN = np.flatnonzero(~HELD)
PARTS = (Part("x.tsv"), Part("y.tsv", weight=3.0))
PART_OF = (np.arange(30) % 3 == 0).astype(np.int64)
WEIGHTS = np.array([1.0, 3.0])[PART_OF]
PARALLEL = ParallelText(PARTS, NATIVE, TARGET, PART_OF, np.arange(30))
SHOWN = [Path(f"{i}.png") for i in range(10)]
IMAGE_OF_TEXT = [i // 3 for i in range(30)]
CAPTIONS = ImageText(PARTS, SHOWN, TARGET, IMAGE_OF_TEXT, PART_OF, np.arange(30))


class Pictures(Features):
    """Give images vectors without opening them: in the first place, their number."""

    def images(self, images: Sequence[Any], **_: Any) -> NDArray[np.float32]:
        vectors = np.ones((len(images), 16), dtype=np.float32)
        vectors[:, 0] = [int(image.stem) for image in images]
        return vectors


@pytest.fixture(scope="module")
def model(dual_folder: Path) -> MultilingualModel:
    model = MultilingualModel(open_base(str(dual_folder)))
    build_language(model, "sw", native=NATIVE, target=TARGET, bottleneck=4, seed=0)
    return model


def transfer(model: MultilingualModel, recipe: Recipe, parallel: ParallelText = PARALLEL) -> Stage:
    return transfer_stage(model, "sw", parallel, HELD, recipe, Pictures(model.base))


def test_transfer_trains_on_what_is_not_held_out(model: MultilingualModel) -> None:
    recipe = load_recipe("quick", ["transfer.batch=8", "transfer.epochs=2"])
    stage = transfer(model, recipe)
    assert (stage.name, stage.recipe, stage.steps) == ("transfer", recipe.transfer, 6)
    (term,) = stage.terms
    assert (term.weight, term.recipe, term.batch) == (1.0, recipe.transfer, 8)
    task = term.task
    assert isinstance(task, TransferTask)
    ids = model.tokenise("sw", TARGET)
    assert list(task.ids) == [ids[i] for i in TRAIN]
    assert task.weights is not None
    assert task.weights.tolist() == WEIGHTS[TRAIN].tolist()
    assert task.drawn is not None
    assert list(task.drawn.texts) == [TARGET[i] for i in TRAIN]
    task.prepare(np.array([2, 5]))
    expected = model.base.native_vectors([NATIVE[TRAIN[i]] for i in (2, 5)]).numpy()
    np.testing.assert_allclose(task.teacher[np.array([2, 5])], expected, atol=1e-5)
    for i in range(24):
        for j in range(24):
            assert (task.meaning[i] == task.meaning[j]) == (NATIVE[TRAIN[i]] == NATIVE[TRAIN[j]])


def test_held_out_pairs_look_among_all_native_sentences(
    model: MultilingualModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their own come first, then those of training, each once."""
    held = list(dict.fromkeys(NATIVE[i] for i in np.flatnonzero(HELD)))
    others = [text for text in dict.fromkeys(NATIVE[i] for i in TRAIN) if text not in held]
    for room in (len(held), len(held) + 4, 2000):
        monkeypatch.setattr(stages, "SENTENCES", room)
        validation = transfer(model, load_recipe("quick")).validation
        assert isinstance(validation, TransferValidation)
        vectors = model.base.native_vectors([*held, *others][:room]).numpy()
        expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(validation.gallery, expected, atol=1e-5)
        ids = model.tokenise("sw", TARGET)
        assert list(validation.ids) == [ids[i] for i in np.flatnonzero(HELD)]


def test_sources_of_one_weight_have_none(model: MultilingualModel) -> None:
    plain = ParallelText(PARTS[:1], NATIVE, TARGET, 0 * PART_OF, np.arange(30))
    assert transfer(model, load_recipe("quick"), plain).terms[0].task.weights is None


def test_exposure_trains_on_captions_with_their_images(model: MultilingualModel) -> None:
    settings = ["exposure.batch=8", "exposure.epochs=2", "exposure.transfer=0.5", "exposure.transfer_batch=4"]
    recipe = load_recipe("quick", settings)
    before = transfer(model, recipe)
    stage = exposure_stage(model, "sw", CAPTIONS, HELD, recipe, Pictures(model.base), before)
    assert (stage.name, stage.recipe, stage.steps) == ("exposure", recipe.exposure, 6)
    captions, pairs = stage.terms
    assert (captions.weight, captions.recipe, captions.batch) == (1.0, recipe.exposure, 8)
    assert (pairs.weight, pairs.recipe, pairs.batch) == (0.5, recipe.transfer, 4)
    assert pairs.task is before.terms[0].task
    task = captions.task
    assert isinstance(task, ExposureTask)
    ids = model.tokenise("sw", TARGET)
    assert list(task.ids) == [ids[i] for i in TRAIN]
    assert task.images[task.image_of_text][:, 0].tolist() == [IMAGE_OF_TEXT[i] for i in TRAIN]
    assert task.weights is not None
    assert task.weights.tolist() == WEIGHTS[TRAIN].tolist()
    assert task.drawn is not None
    assert list(task.drawn.texts) == [TARGET[i] for i in TRAIN]
    assert len(set(task.meaning.tolist())) == len({TARGET[i] for i in TRAIN})
    validation = stage.validation
    assert isinstance(validation, ExposureValidation)
    held = list(dict.fromkeys(TARGET[i] for i in np.flatnonzero(HELD)))
    assert validation.ids == model.tokenise("sw", held)
    assert len(validation.gallery) == 10
    wanted = sorted({IMAGE_OF_TEXT[i] for i in np.flatnonzero(HELD)})
    first = validation.gallery[: len(wanted)]
    assert (first[:, 0] / first[:, 1]).round().tolist() == wanted


def test_exposure_alone_is_the_papers(model: MultilingualModel) -> None:
    """With no weight the transfer loss is no term; sources of one weight have none."""
    recipe = load_recipe("quick", ["exposure.transfer=0"])
    plain = ImageText(PARTS[:1], SHOWN, TARGET, IMAGE_OF_TEXT, 0 * PART_OF, np.arange(30))
    stage = exposure_stage(model, "sw", plain, HELD, recipe, Pictures(model.base), transfer(model, recipe))
    assert len(stage.terms) == 1
    assert stage.terms[0].task.weights is None


def test_only_a_sentencepiece_tokenizer_draws_cuts(model: MultilingualModel, monkeypatch: pytest.MonkeyPatch) -> None:
    found = subword_sampling(model, "sw", ["paka"])
    assert found is not None
    assert (found.texts, found.tokenizer) == (["paka"], model.language("sw").tokenizer)
    for tokenizer in (SimpleNamespace(pieces=None), None):
        language = SimpleNamespace(tokenizer=tokenizer)
        monkeypatch.setattr(model, "language", lambda _, language=language: language)
        assert subword_sampling(model, "sw", ["paka"]) is None


def test_an_image_that_cannot_be_read_is_named_with_its_line(model: MultilingualModel) -> None:
    class Broken(Features):
        def images(self, images: Sequence[Any], **_: Any) -> NDArray[np.float32]:
            raise ImageError(images[2], "The image 2.png cannot be read")

    with pytest.raises(DataError, match=r"y\.tsv, line 6: The image 2\.png cannot be read"):
        image_vectors(CAPTIONS, Broken(model.base))


def test_what_is_held_out_leaves_two_rows_or_more_to_train_on() -> None:
    """Of captions only where exposure has steps."""

    def rows(count: int) -> ParallelText:
        return ParallelText(PARTS[:1], NATIVE[:count], TARGET[:count], 0 * PART_OF[:count], np.arange(count))

    def captions(count: int) -> ImageText:
        return ImageText(
            PARTS[1:], SHOWN[:count], TARGET[-count:], list(range(count)), 0 * PART_OF[:count], np.arange(count)
        )

    recipe = load_recipe("quick")
    assert split(rows(4), None, recipe).pairs.sum() == 2
    with pytest.raises(DataError, match=r"^x\.tsv leaves 1 of 3 rows to train on, .* Give more data\.$"):
        split(rows(3), None, recipe)
    found = split(rows(30), captions(5), recipe)
    assert found.captions is not None
    assert (~found.captions).sum() >= 2
    with pytest.raises(DataError, match=r"^y\.tsv leaves 1 of 3 rows to train on"):
        split(rows(30), captions(3), recipe)
    split(rows(30), captions(3), load_recipe("quick", ["exposure.max_steps=0"]))
