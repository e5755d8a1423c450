"""The wrappers of a text tower's blocks and token embedding, each with one part a language."""

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend.language.acquirer import Acquirer
from mla_extend.language.peft_method.config import AcquirerConfig
from mla_extend.language.peft_method.routing import Plan, Routing, Run
from mla_extend.language.pretrained import FrozenTable, find_table


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
        self._hook = base_layer.register_forward_hook(self._acquire, prepend=True)

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
        self.acquirer_block[adapter] = Acquirer(config.width, config.bottleneck)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block; the acquirers run in its hook."""
        return self.base_layer(*args, **kwargs)

    def release(self) -> None:
        """Take the hook off the block."""
        self._hook.remove()

    def _acquire(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        """Apply the acquirers to a block's output: a tensor in some versions and families, a tuple in others."""
        if isinstance(output, tuple):
            return (self._apply_runs(output[0]), *output[1:])
        return self._apply_runs(output)

    def _apply_runs(self, hidden: Tensor) -> Tensor:
        runs = self.runs(hidden.shape[0])
        held = self.acquirer_block
        steps = [held[run.adapter] if run.adapter is not None and run.adapter in held else None for run in runs]
        if not any(steps):
            return hidden
        parts = [hidden] if len(runs) == 1 else [hidden[run.start : run.stop] for run in runs]
        changed = [step(part) if step else part for step, part in zip(steps, parts, strict=True)]
        return changed[0] if len(runs) == 1 else torch.cat(changed)


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


class OwnTable(nn.Module):
    """Look ids up in a language's own table, and those after it in the frozen native one.

    The native rows are no parameters and in no adapter's file: which rows they are, is.

    Args:
        native: the base's token embedding.
        vocabulary: `S`, rows of the own table, at zero until an embedding start fills it.
        native_pieces: `R`, how many ids from `S` on stand for native rows.
        width: `W`.
    """

    native: nn.Embedding
    native_rows: Tensor | None
    lent: tuple[Tensor, Tensor] | None = None
    """In training, rows of the own table that stand for it, and each id's place among them."""

    def __init__(self, native: nn.Embedding, vocabulary: int, native_pieces: int, width: int) -> None:
        super().__init__()
        object.__setattr__(self, "native", native)  # not a part of this module
        self.weight = nn.Parameter(torch.zeros(vocabulary, width))
        self.register_buffer("native_rows", torch.zeros(native_pieces, dtype=torch.int32) if native_pieces else None)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids `[B, T]` to vectors `[B, T, W]`."""
        if self.native_rows is None:
            return self._own(ids)
        size = len(self.weight)
        own = self._own(ids.clamp(max=size - 1))
        rows = self.native_rows[(ids - size).clamp(min=0)]
        native: Tensor = self.native(rows)
        return torch.where((ids < size).unsqueeze(-1), own, native.to(own.dtype))

    def _own(self, ids: Tensor) -> Tensor:
        if self.lent is None:
            return F.embedding(ids, self.weight)
        rows, places = self.lent
        return F.embedding(places[ids], rows)

    def table(self) -> Tensor:
        """Return the vectors of all ids, `[S + R, W]`."""
        with torch.no_grad():
            rows = len(self.weight) + (0 if self.native_rows is None else len(self.native_rows))
            vectors: Tensor = self(torch.arange(rows, device=self.weight.device))
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
        """Give one language its table, or its projection of a frozen one."""
        if config.pretrained:
            self.acquirer_embedding[adapter] = ProjectedTable(find_table(config.pretrained), config.width)
        elif config.vocabulary:
            sizes = (config.vocabulary, config.native_pieces, config.width)
            self.acquirer_embedding[adapter] = OwnTable(self.base_layer, *sizes)

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
