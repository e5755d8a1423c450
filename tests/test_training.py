"""Random cuts, parts of like length, checkpoints, the teacher, what a training command asks of the system."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.errors import TrainingError
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.training.checkpoint import Checkpoint, CheckpointFile
from mla_extend.training.forward import PART_ROWS, split_by_length
from mla_extend.training.precision import Autocast
from mla_extend.training.recipe import StageRecipe
from mla_extend.training.stages import SubwordSampling
from mla_extend.training.teacher import Teacher
from tests.conftest import sentences


def test_which_batches_are_cut_at_random_depends_on_their_rows_alone() -> None:
    texts = [f"paka {word} mbwa" for word in "abcdefgh"] * 40
    drawn = SubwordSampling(LanguageTokenizer.train(texts, 16), texts)
    batches = [np.arange(start, start + 8) for start in range(0, 312, 3)]

    def split_by_length(share: float) -> list[Any]:
        return [drawn.ids(rows, StageRecipe(sampling=share)) for rows in batches]

    assert split_by_length(0.0) == [None] * len(batches)
    assert None not in split_by_length(1.0)
    assert split_by_length(0.6) == split_by_length(0.6)
    assert 0.4 < np.mean([ids is not None for ids in split_by_length(0.6)]) < 0.8
    assert all(ids is None or len(ids) == 8 for ids in split_by_length(0.6))


def test_a_text_that_is_too_long_as_drawn_is_cut_the_likeliest_way() -> None:
    texts = [f"paka {word} mbwa" for word in "abcdefgh"] * 40
    tokenizer = LanguageTokenizer.train(texts, 64)
    whole = tokenizer.sampled_ids(texts[:8], 0.0, 7)
    limit = min(map(len, whole))
    long = [len(row) > limit for row in whole]
    assert any(long)
    short = LanguageTokenizer(tokenizer.content, limit, tokenizer.pieces)
    best = short.ids(texts[:8])
    assert short.sampled_ids(texts[:8], 0.0, 7) == [best[i] if long[i] else whole[i] for i in range(8)]


def test_rows_are_parted_by_length_where_that_saves_enough() -> None:
    assert ends([5] * 128) == [128]
    assert ends([3]) == [1]
    assert ends([4] * 96 + [54] * 32) == [96, 128]
    assert ends([4] * 100 + [54] * 28) == [96, 128]
    assert ends([4] * 64 + [20] * 32 + [60] * 32) == [64, 96, 128]
    assert ends([4] * 30 + [54] * 2) == [32]
    assert ends([4] * 32 + [50] * 64) == [32, 96]
    assert ends([4] * 32 + [20] * 32) == [32, 64]  # 512 tokens are enough, fewer are not
    assert ends([4] * 32 + [19] * 32) == [64]
    assert ends([4] * 32 + [19] * 31 + [100]) == [32, 64]
    assert ends([4] * 31 + [19] + [20] * 32) == [64]
    assert ends([4] * 30 + [54] * 3) == [33]
    lengths = sorted([3, 9, 20, 61, 2, 40, 33] * 18)
    assert [row for part in split_by_length(lengths) for row in part] == list(range(len(lengths)))
    assert ends(lengths) == sorted(set(ends(lengths)))
    assert len(split_by_length(lengths)) > 1
    assert not any(end % PART_ROWS for end in ends(lengths)[:-1])


def ends(lengths: Sequence[int]) -> list[int]:
    return [part.stop for part in split_by_length(lengths)]


def test_a_checkpoint_round_trips_and_damage_is_said(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint.safetensors")
    assert file.load() is None
    assert file.carried == {}
    file.carried = {"stages": [1], "log": []}
    file.save(Checkpoint({"a": torch.arange(3.0)}, {"stage": "transfer", "step": 3}))
    other = CheckpointFile(file.path)
    loaded = other.load()
    assert loaded is not None
    assert loaded.state == {"stage": "transfer", "step": 3}
    assert torch.equal(loaded.tensors["a"], torch.arange(3.0))
    assert other.carried == file.carried
    file.path.write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match="without --resume"):
        other.load()


@pytest.mark.parametrize(("limit", "encoded"), [(40, [40]), (39, [40, 10])])
def test_the_teacher_is_the_bases_own_path_whatever_is_in_training(
    limit: int, encoded: list[int], dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors that are encoded while a language trains are those of the base; of few pairs each is encoded once."""
    monkeypatch.setattr("mla_extend.training.teacher.CACHED", limit)
    native, target = sentences(40)
    base = open_base(str(dual_folder))
    expected = base.native_vectors(native).numpy()
    model = MultilingualModel(base)
    build_language(model, "sw", native=native, target=target, seed=0)
    calls: list[int] = []

    def counted(texts: Sequence[str]) -> torch.Tensor:
        calls.append(len(texts))
        return type(base).native_vectors(base, texts)

    monkeypatch.setattr(base, "native_vectors", counted)
    teacher = Teacher(model, Features(base), [*native[:-1], native[0]])
    with model.training("sw"):
        teacher.prepare(np.arange(40))
        assert np.allclose(teacher[np.arange(39)], expected[:39], atol=1e-6)
        assert np.array_equal(teacher[np.array([39])], teacher[np.array([0])])
        teacher.prepare(np.array([5, 3, 3, 2, 1, 4, 6, 7, 8, 9, 10]))
    assert np.allclose(teacher[np.array([4, 4, 10])], expected[[4, 4, 10]], atol=1e-6)
    assert teacher[np.arange(2) + 1].dtype == np.float32
    assert calls == [encoded[0] - 1, *encoded[1:]]
    with pytest.raises(AssertionError):
        teacher[np.array([0])]


def test_plain_attention_keeps_to_bf16_in_a_step_on_a_cpu_and_nowhere_else(dual_folder: Path) -> None:
    native, target = sentences(40)
    model = MultilingualModel(open_base(str(dual_folder)))
    build_language(model, "sw", native=native, target=target, seed=0)
    allowed = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed
    before = allowed()
    with Autocast("fp32", model)():
        assert allowed() == before
    with Autocast("bf16", model)():
        assert allowed()
    assert allowed() == before
