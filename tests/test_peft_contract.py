"""What the method overrides in PEFT, and what it relies on there: that it exists, and that PEFT calls it so.

A red test here says that the upper bound of peft in pyproject.toml was moved to a version which does otherwise.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

from mla_extend.language.peft_method import (
    PEFT_TYPE,
    AcquirerBlock,
    AcquirerConfig,
    AcquirerEmbedding,
    AcquirerModel,
    adapter_tensors,
    attach,
    join,
    leave,
)


class Tower(nn.Module):
    """The least that can be wrapped: a token embedding and two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(10, 4)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


def config() -> AcquirerConfig:
    return AcquirerConfig(
        target_modules=r"(tokens|blocks\.\d+)", embedding="tokens", width=4, bottleneck=2, vocabulary=10
    )


def written(model: PeftModel) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name="lang_sw")
    return tensors


def refused(model: PeftModel) -> None:
    with pytest.raises(NotImplementedError, match="not linear"):
        model.merge_adapter()


@pytest.fixture
def model() -> PeftModel:
    torch.manual_seed(0)
    return attach(Tower(), "lang_sw", config())


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [
        (AcquirerModel, BaseTuner, "_create_and_replace"),
        (AcquirerModel, BaseTuner, "_replace_module"),
        (AcquirerModel, BaseTuner, "_remove_adapter_name_from_key"),
        (AcquirerModel, PeftModel, "_enable_peft_forward_hooks"),
        (AcquirerBlock, BaseTunerLayer, "merge"),
        (AcquirerBlock, BaseTunerLayer, "unmerge"),
        (AcquirerEmbedding, BaseTunerLayer, "merge"),
    ],
)
def test_what_is_overridden_exists_and_takes_what_is_passed(ours: type, theirs: type, name: str) -> None:
    """Every parameter of PEFT's own method has a place in ours, by position and by name."""
    assert inspect.getattr_static(ours, name) is not inspect.getattr_static(theirs, name)
    taken = inspect.signature(getattr(ours, name)).parameters
    given = inspect.signature(getattr(theirs, name)).parameters
    kinds = {parameter.kind for parameter in taken.values()}
    named = [name for name, each in given.items() if each.kind is each.POSITIONAL_OR_KEYWORD]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        assert list(taken)[: len(named)] == named
    assert all(
        parameter.default is not parameter.empty
        for name, parameter in taken.items()
        if name not in named and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    )


@pytest.mark.parametrize(
    ("kind", "name", "act", "times"),
    [
        (AcquirerModel, "_create_and_replace", lambda model: model.add_adapter("lang_de", config()), 3),
        (AcquirerModel, "_replace_module", lambda model: model.base_model.unload(), 3),
        (
            AcquirerModel,
            "_remove_adapter_name_from_key",
            lambda model: get_peft_model_state_dict(model, adapter_name="lang_sw"),
            9,
        ),
        (
            AcquirerModel,
            "_enable_peft_forward_hooks",
            lambda model: model(torch.ones(1, 2, dtype=torch.long), adapter_names=["lang_sw"]),
            1,
        ),
        (AcquirerEmbedding, "merge", refused, 1),
        (AcquirerBlock, "unmerge", lambda model: model.unmerge_adapter(), 2),
    ],
)
def test_peft_calls_what_is_overridden(
    kind: type,
    name: str,
    act: Callable[[PeftModel], Any],
    times: int,
    model: PeftModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = inspect.getattr_static(kind, name)
    function = own.__func__ if isinstance(own, classmethod) else own
    called = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return function(*args, **kwargs)

    monkeypatch.setattr(kind, name, classmethod(noted) if isinstance(own, classmethod) else noted)
    act(model)
    assert len(called) == times


def test_the_tables_that_know_the_method_take_a_plain_string(model: PeftModel) -> None:
    assert PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] is AcquirerConfig
    assert PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] is AcquirerModel
    assert PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] == "acquirer_"
    assert isinstance(model.base_model, AcquirerModel)


def test_switching_reaches_every_wrapper_and_trains_the_active_language_alone(model: PeftModel) -> None:
    """`set_adapter`, `disable_adapter` and `requires_grad` are PEFT's own, over the names of our containers."""
    model.add_adapter("lang_de", config())
    for active, other in (("lang_de", "lang_sw"), ("lang_sw", "lang_de")):
        model.set_adapter(active)
        assert model.base_model.active_adapters == [active]
        assert all(layer.active_adapters == [active] for layer in model.base_model.layers().values())
        assert all(tensor.requires_grad for tensor in adapter_tensors(model, active).values())
        assert not any(tensor.requires_grad for tensor in adapter_tensors(model, other).values())
    with model.disable_adapter():
        assert all(layer.disable_adapters for layer in model.base_model.layers().values())
    assert not any(layer.disable_adapters for layer in model.base_model.layers().values())


def test_joining_and_leaving_do_what_peft_does(model: PeftModel) -> None:
    """The quick ways leave a model as PEFT's own ways leave it: modules, states of gradients, and what is active."""

    def state(found: PeftModel) -> Any:
        tensors = {name: (tuple(t.shape), t.requires_grad) for name, t in found.named_parameters()}
        return tensors, sorted(found.peft_config), found.base_model.active_adapters, found.training

    torch.manual_seed(0)
    other = attach(Tower(), "lang_sw", config())
    join(model, "lang_de", config())
    other.add_adapter("lang_de", config())
    assert state(model) == state(other)
    leave(model, "lang_de")
    other.delete_adapter("lang_de")
    assert state(model) == state(other)


def test_files_hold_the_names_that_peft_writes(model: PeftModel) -> None:
    files = written(model)
    own = adapter_tensors(model, "lang_sw")
    assert files.keys() == own.keys()
    assert all(torch.equal(files[name], own[name]) for name in own)
