"""The tuner: the one module that overrides PEFT's own steps, or does them in PEFT's place.

tests/test_peft_contract.py holds, a method at a time, what it relies on there.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from peft import PeftModel
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from mla_extend.language.peft_method.config import PEFT_TYPE, AcquirerConfig
from mla_extend.language.peft_method.layer import AcquirerBlock, AcquirerEmbedding
from mla_extend.language.peft_method.routing import BASE_PATH, Routing, plan_of


class AcquirerModel(BaseTuner):  # type: ignore[misc]
    """Hold several languages in one text tower."""

    prefix = "acquirer_"
    tuner_layer_cls = (AcquirerBlock, AcquirerEmbedding)
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        # BaseTuner's constructor already injects the first adapter, which needs the routing; nn.Module's has not run
        # yet, hence the plain attribute.
        object.__setattr__(self, "routing", Routing())
        object.__setattr__(self, "_layers", {})
        super().__init__(model, *args, **kwargs)

    def _create_and_replace(
        self,
        peft_config: AcquirerConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        del parameter_name  # blocks and embeddings are modules; parameters are never targeted
        layer: Any = target
        if not isinstance(target, self.tuner_layer_cls):
            if current_key == peft_config.embedding:
                if not isinstance(target, nn.Embedding):
                    raise TypeError(f"{current_key} is {type(target).__name__}, not a token embedding.")
                layer = AcquirerEmbedding(target, self.routing)
            else:
                layer = AcquirerBlock(target, self.routing)
            setattr(parent, target_name, layer)
        self.equip(layer, adapter_name, peft_config)

    def equip(self, layer: Any, adapter: str, config: AcquirerConfig) -> None:
        """Give a wrapper what one language owns there, on the base's device and without gradients unless active."""
        if isinstance(layer, AcquirerEmbedding) or config.bottleneck:
            layer.update_layer(adapter, config)
        device = next(layer.get_base_layer().parameters()).device
        for name in layer.adapter_layer_names:
            held = getattr(layer, name)
            if adapter in held:
                held[adapter].to(device=device).eval()
        if adapter not in self.active_adapters:
            layer.set_requires_grad(adapter, False)

    def layers(self) -> dict[str, Any]:
        """Return the wrappers by their path in the text tower."""
        known: dict[str, Any] = self._layers
        if not known:
            modules = self.model.named_modules()
            known.update((path, module) for path, module in modules if isinstance(module, self.tuner_layer_cls))
        return known

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        """Put a base module back in its place (`unload`); blocks have no `.weight` to move."""
        if isinstance(child, AcquirerBlock):
            child.release()
        setattr(parent, child_name, new_module)

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        """Return a tensor's name in files: PEFT's own rule expects the adapter's name at the end of a module's path."""
        for layer in cls.tuner_layer_cls:
            for held in layer.adapter_layer_names:
                key = key.replace(f".{held}.{adapter_name}.", f".{held}.")
        return key

    @contextmanager
    def route(self, names: Sequence[str]) -> Iterator[None]:
        """Send each row of a batch through its adapter while the context lasts, in this thread only.

        Raises:
            KeyError: a name is not loaded.
        """
        unknown = sorted(set(names) - set(self.peft_config) - {BASE_PATH})
        if unknown:
            raise KeyError(f"not loaded: {', '.join(unknown)}")
        before = self.routing.plan
        self.routing.plan = plan_of(names)
        try:
            yield
        finally:
            self.routing.plan = before

    def matrices(self) -> list[nn.Linear]:
        """Return the blocks' own linear layers, which nothing trains."""
        blocks = [layer.base_layer for layer in self.layers().values() if isinstance(layer, AcquirerBlock)]
        return [module for block in blocks for module in block.modules() if isinstance(module, nn.Linear)]

    @contextmanager
    def blocks_in(self, dtype: torch.dtype) -> Iterator[None]:
        """Give each block its hidden states in a dtype while the context lasts."""

        def cast(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            return (given[0].to(dtype), *given[1:]) if given else given

        blocks = [layer for layer in self.layers().values() if isinstance(layer, AcquirerBlock)]
        hooks = [block.register_forward_pre_hook(cast) for block in blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        names = kwargs.pop("adapter_names", None)
        if names is None:
            yield
            return
        with self.route(names):
            yield


def register() -> None:
    """Make PEFT know the method. Its enum is closed, but its tables take a plain string (peft >= 0.21)."""
    PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] = AcquirerConfig
    PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] = AcquirerModel
    PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] = AcquirerModel.prefix


def attach(tower: nn.Module, adapter: str, config: AcquirerConfig) -> PeftModel:
    """Wrap a text tower with its first language."""
    with warnings.catch_warnings():
        # PEFT reads an attribute of transformers by its old name.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        return PeftModel(tower, config, adapter_name=adapter)


def join(model: PeftModel, adapter: str, config: AcquirerConfig) -> None:
    """Add a language to a text tower that is wrapped already, as PEFT's `add_adapter` would.

    The wrappers are known, so that nothing is searched for: PEFT walks every module of every language each time, which
    makes the hundredth language a hundred times as slow to load as the first.
    """
    tuner: AcquirerModel = model.base_model
    tuner.peft_config[adapter] = config
    for layer in tuner.layers().values():
        tuner.equip(layer, adapter, config)


def leave(model: PeftModel, adapter: str) -> None:
    """Take one of several languages out of a text tower, as PEFT's `delete_adapter` would, without its walks."""
    tuner: AcquirerModel = model.base_model
    del tuner.peft_config[adapter]
    if adapter in tuner.active_adapters:
        model.set_adapter(next(iter(tuner.peft_config)))
        tuner.disable_adapter_layers()
    for layer in tuner.layers().values():
        for name in layer.adapter_layer_names:
            held = getattr(layer, name)
            if adapter in held:
                del held[adapter]
