"""A text tower like BERT with a language's acquirers, as the X-MOD model of transformers, exactly but for rounding.

X-MOD (Pfeiffer et al. 2022) has a bottleneck adapter in every block, but a LayerNorm after it and not before it alone,
and no ReLU. Both are bridged by numbers alone, so that nothing but transformers is needed to run the result.

- A LayerNorm of an input that is tiny beside its epsilon only takes away the mean and multiplies: it is linear. Every
  norm sees its input at a scale of our choice, since what comes before it is linear; a real norm at its own scale
  (`epsilon` counts as it did), the one after the adapter at the scale `s`, at which it changes nothing.
- The mean that a linear norm takes away is carried beside: the hidden states get dimensions of their own for it (`+tm`
  and `-tm`, so that they have no mean themselves, and so small that a norm does not feel them), which the next block's
  queries, keys and values read. Two units of the feed-forward part, and two of the adapter, compute a mean:
  `f(v) - f(-v) = v` for every activation of the kind of GELU.
- `ReLU(v)` is `f(kv) / k` for a large `k`.

One block before the first does what the norm of the embeddings did. The scales are far outside half precision: the
result is for float32.

Shapes: `W` width of the tower, `X` of the X-MOD model, `K` bottleneck, `H` heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mla_extend.language.acquirer import Acquirer

SHARP = 2.0**24
"""`k`: above it `f(kv) / k` is ReLU but for 1e-8."""
BESIDE = 2.0**-12
"""`t`: the scale at which a mean is carried."""
ACTIVATIONS = frozenset({"gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "silu", "swish"})
"""Activations with `f(v) - f(-v) = v` that are ReLU from afar."""


@dataclass(frozen=True)
class Sizes:
    """Hold the sizes and scales that everything is written with."""

    width: int
    heads: int
    wide: int
    epsilon: float
    tiny: float

    @classmethod
    def of(cls, config: Any, units: int) -> "Sizes":
        """Return those for a tower's configuration: all heads get wider, by two dimensions together at least.

        An adapter is at most as wide as the hidden states.
        """
        width, heads = int(config.hidden_size), int(config.num_attention_heads)
        wide = width + heads * -(-max(2, units - width) // heads)
        epsilon = float(config.layer_norm_eps) * width / wide
        return cls(width, heads, wide, epsilon, 2.0 ** int(torch.tensor(epsilon).log2().div(2).sub(15).floor()))


def xmod(
    tower: Any, table: Tensor, acquirers: Sequence[Acquirer | None], *, positions: Tensor, pad_id: int, tag: str
) -> tuple[nn.Module, Tensor]:
    """Return an `XmodModel`, and the matrix `[W, X]` that makes of its hidden states those of a tower with acquirers.

    Args:
        tower: laid out like BERT.
        table: token vectors `[S, W]`.
        acquirers: of each block; `None` for none.
        positions: position vectors `[P, W]`, the first token's first.
        pad_id: of the tokenizer; positions are counted from the next number on.
        tag: the language.
    """
    from transformers import XmodConfig, XmodModel  # noqa: PLC0415 - slow to import

    old = tower.config
    units = 2 + max((one.down.out_features for one in acquirers if one is not None), default=0)
    sizes = Sizes.of(old, units)
    model: Any = XmodModel(
        XmodConfig(
            vocab_size=len(table),
            hidden_size=sizes.wide,
            num_hidden_layers=old.num_hidden_layers + 1,
            num_attention_heads=sizes.heads,
            intermediate_size=old.intermediate_size + 2,
            hidden_act=old.hidden_act,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=len(positions) + pad_id + 1,
            type_vocab_size=1,
            layer_norm_eps=sizes.epsilon,
            pad_token_id=pad_id,
            bos_token_id=None,
            eos_token_id=None,
            adapter_reduction_factor=sizes.wide // units,
            adapter_layer_norm=True,
            adapter_reuse_layer_norm=False,
            languages=[tag],
            default_language=tag,
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        embeddings = model.embeddings
        types = tower.embeddings.token_type_embeddings.weight[0]
        _put(embeddings.word_embeddings.weight, _centred(table) * sizes.tiny)
        _put(embeddings.position_embeddings.weight[pad_id + 1 :], _centred(positions + types) * sizes.tiny)
        _linear_norm(embeddings.LayerNorm, sizes)
        first, *blocks = model.encoder.layer
        _write_norm_block(first, tower.embeddings.LayerNorm, sizes)
        layers = [getattr(layer, "base_layer", layer) for layer in tower.encoder.layer]
        for block, layer, acquirer in zip(blocks, layers, acquirers, strict=True):
            _write_attention(block.attention, layer.attention, sizes)
            _write_feed_forward(block, layer, sizes)
            _write_adapter(block.output.adapter_modules[tag], acquirer, sizes)
            _linear_norm(block.output.LayerNorm, sizes)
    return model, _reading(torch.eye(sizes.width, dtype=torch.float64), sizes).float()


def _write_norm_block(block: Any, norm: nn.LayerNorm, sizes: Sizes) -> None:
    """Make a block that is a LayerNorm: its attention adds nothing."""
    _real_norm(block.attention.output.LayerNorm, norm, sizes, sizes.tiny)
    _write_mean(block.intermediate.dense, block.output.dense, 0, sizes, SHARP / sizes.tiny, beside=True)
    _linear_norm(block.output.adapter_layer_norm, sizes, sizes.tiny)
    _linear_norm(block.output.LayerNorm, sizes)


def _write_attention(own: Any, layer: Any, sizes: Sizes) -> None:
    size = sizes.width // sizes.heads
    wide = sizes.wide // sizes.heads
    for name in ("query", "key", "value"):
        source, target = getattr(layer.self, name), getattr(own.self, name)
        factor = (wide / size) ** 0.5 if name == "query" else 1.0  # scores are divided by the root of a head's size
        weight = _reading(source.weight.double(), sizes) * factor
        _put(target.weight.view(sizes.heads, wide, -1), weight.view(sizes.heads, size, -1))
        _put(target.bias.view(sizes.heads, wide), source.bias.double().view(sizes.heads, size) * factor)
    dense = layer.output.dense
    columns = _centred(dense.weight.double().T).T.reshape(sizes.width, sizes.heads, size)
    _put(own.output.dense.weight.view(sizes.wide, sizes.heads, wide), columns)
    _put(own.output.dense.bias, _centred(dense.bias))
    _real_norm(own.output.LayerNorm, layer.output.LayerNorm, sizes)


def _write_feed_forward(block: Any, layer: Any, sizes: Sizes) -> None:
    inner, outer = layer.intermediate.dense, layer.output.dense
    _put(block.intermediate.dense.weight, inner.weight)
    _put(block.intermediate.dense.bias, inner.bias)
    _put(block.output.dense.weight, _centred(outer.weight.double().T).T)
    _put(block.output.dense.bias, _centred(outer.bias))
    _write_mean(block.intermediate.dense, block.output.dense, inner.out_features, sizes, SHARP, beside=False)
    _real_norm(block.output.adapter_layer_norm, layer.output.LayerNorm, sizes, sizes.tiny)


def _write_adapter(own: Any, acquirer: Acquirer | None, sizes: Sizes) -> None:
    """Write an acquirer, with the mean of what it gives, and of what it is given, put beside."""
    down, up = own.dense1, own.dense2
    units = 0
    if acquirer is not None:
        units = acquirer.down.out_features
        _put(down.weight, acquirer.down.weight.double() * (SHARP / sizes.tiny))
        _put(down.bias, acquirer.down.bias.double() * SHARP)
        _put(up.weight, _beside(acquirer.up.weight.double(), sizes) * (sizes.tiny / SHARP))
        _put(up.bias, _beside(acquirer.up.bias.double().unsqueeze(1), sizes).squeeze(1) * sizes.tiny)
    _write_mean(down, up, units, sizes, SHARP / sizes.tiny, beside=True)


def _write_mean(inner: nn.Linear, outer: nn.Linear, unit: int, sizes: Sizes, factor: float, *, beside: bool) -> None:
    """Let two units take the mean of the input from it, and put it beside or drop it."""
    column = torch.zeros(sizes.wide, dtype=torch.float64)
    column[: sizes.width] = -1
    if beside:
        column[sizes.width], column[sizes.width + 1] = BESIDE, -BESIDE
    for i, sign in enumerate((1, -1)):
        inner.weight[unit + i, : sizes.width] = sign * factor / sizes.width
        _put(outer.weight[:, unit + i], column * (sign / factor))


def _beside(weight: Tensor, sizes: Sizes) -> Tensor:
    """Return a map `[X, K]` that gives what `[W, K]` gives without its mean, and the mean beside."""
    mean = weight.mean(dim=0, keepdim=True)
    rest = torch.zeros(sizes.wide - sizes.width, weight.shape[1], dtype=torch.float64)
    rest[0], rest[1] = BESIDE * mean[0], -BESIDE * mean[0]
    return torch.cat([weight - mean, rest])


def _reading(weight: Tensor, sizes: Sizes) -> Tensor:
    """Return a map `[N, X]` that reads the states, mean included, as `[N, W]` reads those of the tower."""
    rest = torch.zeros(len(weight), sizes.wide - sizes.width, dtype=torch.float64)
    rest[:, 0], rest[:, 1] = weight.sum(dim=1) / (2 * BESIDE), -weight.sum(dim=1) / (2 * BESIDE)
    return torch.cat([weight, rest], dim=1)


def _real_norm(own: nn.LayerNorm, norm: nn.LayerNorm, sizes: Sizes, scale: float = 1.0) -> None:
    """Write a norm whose input has no mean, in more dimensions; its output is multiplied by `scale`."""
    _put(own.weight, norm.weight.double() * (scale * (sizes.width / sizes.wide) ** 0.5))
    _put(own.bias, norm.bias.double() * scale)


def _linear_norm(own: nn.LayerNorm, sizes: Sizes, scale: float = 1.0) -> None:
    """Write a norm that multiplies a tiny input so that it has the scale 1, or another."""
    own.weight.fill_(scale * sizes.epsilon**0.5 / sizes.tiny)


def _centred(vectors: Tensor) -> Tensor:
    """Take its mean from each vector along the last dimension."""
    exact = vectors.double()
    return exact - exact.mean(dim=-1, keepdim=True)


def _put(target: Tensor, values: Tensor) -> None:
    """Write values into the first places of a larger tensor."""
    target[tuple(slice(size) for size in values.shape)] = values.to(target.dtype)
