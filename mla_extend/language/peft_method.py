"""Language acquirers as a PEFT method: the one file that knows PEFT.

A text tower is wrapped once and holds any number of languages. Each wrapped block keeps one acquirer a language, the
wrapped token embedding one table a language. Which rows of a batch belong to which language is resolved once a batch
into a `Plan` of contiguous rows; a language's ids are looked up in its own table alone.

Importing this module registers the method, which PEFT needs before it can load an adapter of this type.
"""

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from peft import PeftConfig, PeftModel
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from mla_extend.language.acquirer import Acquirer, LoraAcquirer
from mla_extend.language.pretrained import FrozenTable, find_table
from mla_extend.platform import WINDOWS

PEFT_TYPE = "LANGUAGE_ACQUIRER"
TOLD = 3
"""Problems of an adapter's tensors that are told."""
BASE_PATH = "__base__"
"""PEFT's name for the path without an adapter; here the native language."""


@dataclass(frozen=True)
class Run:
    """Say that the rows from `start` to `stop` go through one adapter (`None`: the native path)."""

    adapter: str | None
    start: int
    stop: int


Plan = tuple[Run, ...]


def plan_of(names: Sequence[str]) -> Plan:
    """Return the runs of equal names; `__base__` is the native path."""
    runs: list[Run] = []
    for row, name in enumerate(names):
        adapter = None if name == BASE_PATH else name
        if runs and runs[-1].adapter == adapter:
            runs[-1] = Run(adapter, runs[-1].start, row + 1)
        else:
            runs.append(Run(adapter, row, row + 1))
    return tuple(runs)


class Routing(threading.local):
    """Hold the plan of the batch that this thread is encoding; `None` leaves the choice to PEFT's active adapter."""

    plan: Plan | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Routing":
        """Let a model be copied: the copy routes for itself."""
        return Routing()


@dataclass
class AcquirerConfig(PeftConfig):  # type: ignore[misc]
    """Describe one language's adapter.

    Args:
        target_modules: regular expression over the text tower's module paths that matches its blocks and its token
            embedding in full. Anchored, so that nothing else of the base can match.
        embedding: path of the token embedding.
        width: `W`, the width of the text tower.
        bottleneck: `K` of every acquirer, or the rank of `lora`; 0 for none.
        kind: `bottleneck`, as in the paper, after each block; or `lora`, on the linear layers inside each block.
        vocabulary: size of the language's own vocabulary; 0 where it reads the native table.
        pretrained: `source`, `fingerprint` and `width` of the frozen table that the language reads through a projection
            of its own; `None` where it has a table of its own.
        language: BCP-47 code.
        base_name: the base's name.
        base_fingerprint: the base's fingerprint.
    """

    target_modules: str | None = field(default=None)
    embedding: str = field(default="")
    width: int = field(default=0)
    bottleneck: int = field(default=128)
    kind: str = field(default="bottleneck")
    vocabulary: int = field(default=0)
    pretrained: dict[str, Any] | None = field(default=None)
    language: str = field(default="")
    base_name: str = field(default="")
    base_fingerprint: str = field(default="")

    def __post_init__(self) -> None:
        """Set the type."""
        super().__post_init__()
        self.peft_type = PEFT_TYPE


class _RoutedLayer(BaseTunerLayer):  # type: ignore[misc]
    """What both wrappers share: the base module, the routing, and which adapters run."""

    base_layer: nn.Module
    routing: Routing

    def runs(self, rows: int) -> Plan:
        if self.routing.plan is not None:
            return self.routing.plan
        if self.disable_adapters or not self.active_adapters:
            return (Run(None, 0, rows),)
        (active,) = self.active_adapters  # languages never stack
        return (Run(active, 0, rows),)

    def merge(self, *_: Any, **__: Any) -> None:
        """Refuse: an acquirer has a nonlinearity, so that no weight can hold it."""
        raise NotImplementedError("A language acquirer cannot be merged into its base: it is not linear.")

    def unmerge(self) -> None:
        """Do nothing: nothing is ever merged."""


def linear_layers(block: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers inside a block by path; not their subclasses, which may be read without being called."""
    return {path: module for path, module in block.named_modules() if type(module) is nn.Linear}


class AcquirerBlock(nn.Module, _RoutedLayer):
    """Wrap one transformer block and run the rows' acquirers on its output."""

    adapter_layer_names = ("acquirer_block",)

    def __init__(self, base_layer: nn.Module, routing: Routing) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.routing = routing
        self.acquirer_block = nn.ModuleDict()
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        # On the block itself and before other hooks: what records hidden states then sees them with the acquirer,
        # and gradient checkpointing runs it again together with its block.
        self._hooks = [base_layer.register_forward_hook(self._acquire, prepend=True)]
        self._linears: dict[str, nn.Linear] = {}

    def __getattr__(self, name: str) -> Any:
        """Fall through to the block: callers read its attributes."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(self.base_layer, name)

    def update_layer(self, adapter: str, config: AcquirerConfig) -> None:
        """Give one language its acquirer."""
        if config.kind == "lora":
            self.acquirer_block[adapter] = LoraAcquirer(self._watched(), config.bottleneck)
        else:
            self.acquirer_block[adapter] = Acquirer(config.width, config.bottleneck)

    def _watched(self) -> dict[str, nn.Linear]:
        """Return the block's linear layers, whose outputs LoRA changes from now on."""
        if not self._linears:
            self._linears = {path.replace(".", "__"): layer for path, layer in linear_layers(self.base_layer).items()}
            self._hooks += [m.register_forward_hook(partial(self._adapt, name)) for name, m in self._linears.items()]
        return self._linears

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block; the acquirers run in its hook."""
        return self.base_layer(*args, **kwargs)

    def release(self) -> None:
        """Take the hooks off the block."""
        for hook in self._hooks:
            hook.remove()

    def _acquire(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        """Apply the acquirers to a block's output: a tensor in some versions and families, a tuple in others."""
        if isinstance(output, tuple):
            return (self._apply_runs(output[0]), *output[1:])
        return self._apply_runs(output)

    def _adapt(self, layer: str, _module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """Apply LoRA to the output of a linear layer inside the block."""
        return self._apply_runs(output, inputs[0], layer)

    def _apply_runs(self, hidden: Tensor, entered: Tensor | None = None, layer: str | None = None) -> Tensor:
        """Apply each run's acquirer to what left the block, or to what left one of its layers and had entered there."""
        runs = self.runs(hidden.shape[0])
        steps = [self._step(run.adapter, layer) for run in runs]
        if not any(steps):
            return hidden
        changed = []
        for run, step in zip(runs, steps, strict=True):
            whole = len(runs) == 1
            given = [t if whole else t[run.start : run.stop] for t in (hidden, entered) if t is not None]
            changed.append(step(*given) if step else given[0])
        return changed[0] if len(runs) == 1 else torch.cat(changed)

    def _step(self, adapter: str | None, layer: str | None) -> nn.Module | None:
        """Return what an adapter does to what leaves the block, or one of its layers."""
        if adapter is None or adapter not in self.acquirer_block:
            return None
        acquirer = self.acquirer_block[adapter]
        if isinstance(acquirer, LoraAcquirer):
            return None if layer is None else acquirer[layer]
        return acquirer if layer is None else None


class ProjectedTable(nn.Module):
    """Read a frozen table through a trained projection to the text tower's width (paper, section 3.1).

    The table is no parameter and no buffer: it is in no adapter's file, and one copy of it serves all languages.

    Args:
        table: the frozen one, `F` wide.
        width: `W`.
    """

    def __init__(self, table: FrozenTable, width: int) -> None:
        super().__init__()
        self.table = table
        self.projection = nn.Linear(table.width, width)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids `[B, T]` to vectors `[B, T, W]`."""
        vectors: Tensor = self.projection(self.table.look_up(ids))
        return vectors


class AcquirerEmbedding(nn.Module, _RoutedLayer):
    """Wrap the token embedding and look each row up in its language's own table."""

    adapter_layer_names = ("acquirer_embedding",)
    base_layer: nn.Embedding

    def __init__(self, base_layer: nn.Embedding, routing: Routing) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.routing = routing
        self.acquirer_embedding = nn.ModuleDict()
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def update_layer(self, adapter: str, config: AcquirerConfig) -> None:
        """Give one language its table, at zero until an embedding start fills it, or its projection of a frozen one."""
        if config.pretrained:
            self.acquirer_embedding[adapter] = ProjectedTable(find_table(config.pretrained), config.width)
        elif config.vocabulary:
            size = (config.vocabulary, config.width)
            self.acquirer_embedding[adapter] = nn.Embedding(*size, _weight=torch.zeros(size))

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids `[B, T]` to vectors `[B, T, W]` in the base's dtype."""
        runs = self.runs(ids.shape[0])
        if len(runs) == 1:
            return self._look_up(ids, runs[0].adapter)
        return torch.cat([self._look_up(ids[run.start : run.stop], run.adapter) for run in runs])

    def _look_up(self, ids: Tensor, adapter: str | None) -> Tensor:
        table: nn.Module = self.base_layer
        if adapter is not None and adapter in self.acquirer_embedding:
            table = self.acquirer_embedding[adapter]
        vectors: Tensor = table(ids)
        return vectors.to(self.base_layer.weight.dtype)


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


register()


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


def adapter_tensors(model: PeftModel, adapter: str) -> dict[str, Tensor]:
    """Return one language's tensors under the names that PEFT writes, without other languages'."""
    tensors: dict[str, Tensor] = {}
    for path, layer in model.base_model.layers().items():
        for held_name in layer.adapter_layer_names:
            held = getattr(layer, held_name)
            if adapter in held:
                for name, tensor in held[adapter].state_dict(keep_vars=True).items():
                    tensors[f"base_model.model.{path}.{held_name}.{name}"] = tensor
    return tensors


def load_tensors(model: PeftModel, adapter: str, tensors: Mapping[str, Tensor], *, take: bool = False) -> None:
    """Copy one language's tensors in; every name and shape must match.

    With `take` they are taken as they are where they lie on the base's device: those of a file stay mapped to it, so
    that a process holds no copy of rows that nobody asks for. Not on Windows, where a mapped file cannot be deleted.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape; the message lists the first three.
    """
    own = adapter_tensors(model, adapter)
    problems = [f"{name} is missing" for name in sorted(own.keys() - tensors.keys())]
    problems += [f"{name} is unknown" for name in sorted(tensors.keys() - own.keys())]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if tensors[name].shape != own[name].shape
    ]
    if problems:
        more = [f"and {len(problems) - TOLD} more"] if len(problems) > TOLD else []
        raise ValueError("; ".join([*problems[:TOLD], *more]))
    with torch.no_grad():
        for name, tensor in own.items():
            given = tensors[name]
            if take and not WINDOWS and (given.device, given.dtype) == (tensor.device, tensor.dtype):
                tensor.data = given
            else:
                tensor.copy_(given)
