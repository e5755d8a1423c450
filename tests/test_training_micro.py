"""A batch that is too large for the device goes through the tower in parts, with the loss and the gradients of all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mla_extend.bases.open import open_base
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.training import forward
from mla_extend.training.forward import passes, tokens_that_fit
from mla_extend.training.optimiser import add_gradients
from mla_extend.training.precision import Autocast
from mla_extend.training.recipe import load_recipe
from mla_extend.training.stages import ExposureTask, Term, TransferTask
from tests.conftest import sentences
from tests.fake_training import FakeTower


@pytest.fixture(scope="module")
def terms(dual_folder: Path) -> tuple[MultilingualModel, list[Term]]:
    """A language, and what both stages lose on a batch of it."""
    native, target = sentences(40)
    model = MultilingualModel(open_base(str(dual_folder), device="cpu"))
    build_language(model, "sw", native=native, target=target, bottleneck=4)
    with torch.no_grad(), model.training("sw") as tensors:
        for tensor in tensors.values():
            tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    ids, teacher = model.tokenise("sw", target), model.base.native_vectors(native).numpy()
    recipe = load_recipe("default")
    images = np.random.default_rng(0).standard_normal(teacher.shape).astype(np.float32)
    captions = ExposureTask(ids, images, np.arange(40), target)
    return model, [
        Term(TransferTask(ids, teacher, native), 0.5, recipe.transfer, 40),
        Term(captions, 1.0, recipe.exposure, 40),
    ]


def test_parts_with_cached_gradients_give_those_of_the_whole_batch(terms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tasks = terms
    seen: list[int] = []
    run = model.forward
    monkeypatch.setattr(model, "forward", lambda batch: (seen.append(batch.ids.numel()), run(batch))[1])

    def gradients(term: Term, most: int | None) -> tuple[float, dict[str, Tensor]]:
        rows = np.arange(3, 35)
        with model.training("sw") as tensors:
            for tensor in tensors.values():
                tensor.grad = None
            ids = term.task.reads(model, rows, term.recipe)
            loss = float(add_gradients(model, term, rows, ids, Autocast("fp32", model), most=most))
            return loss, {name: tensor.grad for name, tensor in tensors.items() if tensor.grad is not None}

    for term in tasks:
        whole, expected = gradients(term, None)
        assert gradients(term, sum(seen))[1].keys() == expected.keys()
        assert len(set(seen)) == 1  # it fits
        seen.clear()
        loss, found = gradients(term, 60)
        assert len(seen) > 6
        assert max(seen) <= 60
        assert loss == pytest.approx(whole, rel=1e-6)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()))
        seen.clear()


def test_parts_have_as_many_tokens_as_are_allowed_and_one_row_at_least() -> None:
    tower: Any = FakeTower(np.eye(6))
    assert passes(tower, [3, 9, 3, 3, 9, 3], 9) == [[0], [2], [3], [5], [1], [4]]
    fixed: Any = FakeTower(np.eye(6), fixed=8)
    assert passes(fixed, [3, 1, 2, 5, 8], 17) == [[0, 1], [2, 3], [4]]
    assert passes(fixed, [3, 1, 2], 5) == [[0], [1], [2]]
    assert passes(fixed, [3, 1, 2], None) == [[0, 1, 2]]


def test_the_device_s_memory_says_how_many_tokens_fit(terms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bf16 twice as many; a small tower's batch on a common machine always does."""
    model, _ = terms
    assert tokens_that_fit(model, "fp32") > 1_000_000
    monkeypatch.setattr(forward, "device_memory", lambda device: {"cpu": 2**20}[device.type])
    few = tokens_that_fit(model, "fp32")
    assert few * 2 <= tokens_that_fit(model, "bf16") <= few * 2 + 1
    assert few == int(0.6 * 2**20 / (72 * 2 * model.base.width))
