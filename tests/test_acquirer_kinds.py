"""Acquirers of every kind keep the promises of the paper's: identity at the start, native untouched, rows routed."""

import copy
from pathlib import Path

import peft
import pytest
import torch
from peft.tuners.lora import Linear as PeftLinear
from torch import Tensor, nn

from mla_extend.bases.open import open_base
from mla_extend.errors import BaseError, DataError
from mla_extend.language.acquirer import LowRank
from mla_extend.language.build import build_language, parameters
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.language.related import Related
from mla_extend.language.stored import read_stored
from mla_extend.training.recipe import load_recipe
from mla_extend.training.tasks import TransferTask
from tests.conftest import assert_close, sentences

NATIVE, TARGET = sentences(200)
KINDS = ("bottleneck", "lora")


def two(folder: Path, kind: str) -> MultilingualModel:
    """Return a model with `sw` of a kind, made unlike the identity, and `de` of the paper's kind."""
    model = MultilingualModel(open_base(str(folder), device="cpu"))
    for tag, of in (("sw", kind), ("de", "bottleneck")):
        build_language(model, tag, native=NATIVE, target=TARGET, bottleneck=4, kind=of)
        stir(model, tag)
    return model


def stir(model: MultilingualModel, tag: str) -> None:
    """Give a language's acquirers weights that change something."""
    generator = torch.Generator().manual_seed(sum(map(ord, tag)))
    with torch.no_grad():
        for name, tensor in adapter_tensors(model.peft, model.language(tag).adapter).items():
            if ".acquirer_block." in name:
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_acquirer_is_the_identity(base_folder: Path, kind: str) -> None:
    model = MultilingualModel(open_base(str(base_folder), device="cpu"))
    expected = model.text_vectors(NATIVE[:8], "en")
    model.add("sw", tokenizer=None, bottleneck=4, kind=kind)
    assert_close(model.text_vectors(NATIVE[:8], "sw"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_native_path_and_the_other_language_keep_every_bit(base_folder: Path, kind: str) -> None:
    alone = MultilingualModel(open_base(str(base_folder), device="cpu"))
    build_language(alone, "de", native=NATIVE, target=TARGET, bottleneck=4)
    stir(alone, "de")
    before = {tag: alone.text_vectors(TARGET[:8], tag) for tag in ("en", "de")}
    model = two(base_folder, kind)
    for tag, vectors in before.items():
        assert torch.equal(model.text_vectors(TARGET[:8], tag), vectors)
    assert not torch.allclose(model.text_vectors(TARGET[:8], "sw"), before["de"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_three_languages_equals_its_rows(base_folder: Path, kind: str) -> None:
    model = two(base_folder, kind)
    tags = ["sw", "en", "de", "sw", "de", "en"]
    mixed = model.text_vectors(TARGET[:6], tags)
    assert_close(mixed, torch.cat([model.text_vectors([TARGET[i]], tag) for i, tag in enumerate(tags)]))
    # The hooks of one batch, and not only of languages apart.
    names = [model.language(tag).adapter if tag != "en" else "__base__" for tag in tags]
    hidden = torch.randn(6, 5, model.base.width)
    block = next(layer for path, layer in model.tuner.layers().items() if path != model.base.family.embedding)
    with model.tuner.route(names), torch.no_grad():
        together = block(hidden, attention_mask=None)
    apart = []
    for row, name in enumerate(names):
        with model.tuner.route([name]), torch.no_grad():
            apart.append(first(block(hidden[[row]], attention_mask=None)))
    assert_close(first(together), torch.cat(apart))


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return a block's hidden states."""
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_comes_back_from_its_files(base_folder: Path, tmp_path: Path, kind: str) -> None:
    model = two(base_folder, kind)
    expected = model.text_vectors(TARGET[:8], "sw")
    model.save("sw", tmp_path)
    again = MultilingualModel(open_base(str(base_folder), device="cpu"))
    again.load("sw", tmp_path)
    assert again.peft.peft_config["lang_sw"].kind == kind
    assert torch.equal(again.text_vectors(TARGET[:8], "sw"), expected)
    again.remove("sw")
    assert torch.equal(again.text_vectors(NATIVE[:4], "en"), model.text_vectors(NATIVE[:4], "en"))


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_language_in_training_gets_gradients(base_folder: Path, kind: str) -> None:
    model = two(base_folder, kind)
    teacher = model.base.native_vectors(NATIVE[:8]).numpy()
    task = TransferTask(model.tokenise("sw", TARGET[:8]), teacher, NATIVE[:8])
    with model.training("sw") as tensors:
        task.loss(model, task.meaning[:8] * 0 + range(8), load_recipe("default").transfer).backward()
        assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in tensors.values())
    others = adapter_tensors(model.peft, "lang_de").values()
    assert all(
        tensor.grad is None for tensor in [*others, *model.base.model.parameters()] if not is_of(tensor, tensors)
    )


def is_of(tensor: Tensor, tensors: dict[str, Tensor]) -> bool:
    """Say whether a tensor is one of them."""
    return any(tensor is other for other in tensors.values())


def test_low_rank_changes_compute_what_peft_s_own_do() -> None:
    """PEFT's LoRA layer with the same two matrices, and `lora_alpha` equal to the rank."""
    linear = nn.Linear(12, 20)
    theirs = PeftLinear(linear, "one", peft.LoraConfig(r=3, lora_alpha=3), r=3, lora_alpha=3)
    ours = LowRank(12, 20, 3)
    hidden = torch.randn(4, 5, 12)
    assert torch.equal(ours(linear(hidden), hidden), linear(hidden))
    with torch.no_grad():
        ours.lora_B.weight.normal_()
        theirs.lora_A["one"].weight.copy_(ours.lora_A.weight)
        theirs.lora_B["one"].weight.copy_(ours.lora_B.weight)
        torch.testing.assert_close(ours(linear(hidden), hidden), theirs(hidden))


def test_lora_has_the_parameters_of_every_linear_layer_in_every_block(dual_folder: Path) -> None:
    model = MultilingualModel(open_base(str(dual_folder), device="cpu"))
    model.add("sw", tokenizer=None, bottleneck=3, kind="lora")
    tower = model.peft.get_base_model()
    linears = [
        module
        for path, layer in model.tuner.layers().items()
        if path != model.base.family.embedding
        for module in layer.get_base_layer().modules()
        if type(module) is nn.Linear
    ]
    assert tower is not None
    assert parameters(model, "sw") == sum(3 * (one.in_features + one.out_features) for one in linears)


def test_a_copied_model_runs_its_own_lora(dual_folder: Path) -> None:
    model = two(dual_folder, "lora")
    expected = model.text_vectors(TARGET[:4], "sw")
    twin = copy.deepcopy(model.peft)
    with torch.no_grad():
        for tensor in adapter_tensors(twin, "lang_sw").values():
            tensor.zero_()
    assert torch.equal(model.text_vectors(TARGET[:4], "sw"), expected)


def test_a_related_language_of_another_kind_is_refused(dual_folder: Path, tmp_path: Path) -> None:
    model = two(dual_folder, "lora")
    model.save("sw", tmp_path)
    related = Related("sw", "v1", read_stored(tmp_path, model.base.max_tokens))
    with pytest.raises(DataError, match=r"lora acquirers of width 4.*bottleneck acquirers.*acquirer\.kind=lora"):
        build_language(model, "zu", native=NATIVE, target=TARGET, bottleneck=4, related=related)
    build_language(model, "zu", native=NATIVE, target=TARGET, bottleneck=4, kind="lora", related=related)


def test_a_base_whose_blocks_have_no_linear_layers_is_refused_before_anything_is_attached(dual_folder: Path) -> None:
    base = open_base(str(dual_folder), device="cpu")

    class Own(nn.Linear):
        """A linear layer that a block may read without calling."""

    for module in base.text_tower.modules():
        if type(module) is nn.Linear:
            module.__class__ = Own
    model = MultilingualModel(base)
    with pytest.raises(BaseError, match=r"no linear layers.*acquirer\.kind=bottleneck"):
        model.add("sw", tokenizer=None, bottleneck=4, kind="lora")
    model.add("sw", tokenizer=None, bottleneck=4)
