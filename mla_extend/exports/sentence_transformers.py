"""The export to sentence-transformers: a folder that `SentenceTransformer(PATH)` opens without this package.

Shapes: `B` batch, `T` tokens, `W` width of the text tower, `D` width of the shared space.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend.bases.families.sentence_transformer import Normalise, SentenceModel
from mla_extend.bases.families.vision_text import position_offset
from mla_extend.bases.family import mean_pool, take_positions
from mla_extend.bases.open import no_progress_bars
from mla_extend.errors import DataError
from mla_extend.exports.folder import finish, keep_card
from mla_extend.exports.hub_tokenizer import HubTokenizer, model_ids, probes
from mla_extend.exports.onnx_towers import check_record, compare
from mla_extend.exports.readmes import sentence_transformers_readme
from mla_extend.exports.subject import Subject
from mla_extend.exports.xmod import ACTIVATIONS, xmod
from mla_extend.files import write_json
from mla_extend.language.acquirer import Acquirer
from mla_extend.language.peft_method import OwnTable
from mla_extend.language.tokenizer import pad

TOLERANCE = 3e-6
"""How far a number of a vector of length 1 may lie from the model's own: more than rounding alone ever makes."""
UNKNOWN_POSITIONS = frozenset({"mpnet"})
"""Types of tower that count positions from a fixed number on, whatever the padding token is."""


@dataclass(frozen=True)
class Layers:
    """Hold a model in sentence-transformers' parts.

    Attributes:
        tower: the text tower, a model of transformers.
        pooling: how its states `[B, T, W]` become one: `mean`, `cls` or `lasttoken`.
        head: what follows, each a linear map with an activation, or `None` for a normalisation.
    """

    tower: Any
    pooling: str
    head: list[tuple[nn.Linear, nn.Module] | None]


def write(subject: Subject, folder: Path, int8: bool) -> dict[str, Any]:
    """Write a model to an empty folder; return what `export.json` says.

    Raises:
        DataError: the base's text tower cannot be held by a model of transformers together with the language, or what
            was written gives other vectors than the model.
    """
    del int8  # refused by the caller
    layers = _layers(subject)
    tokenizer = subject.tokenizer()
    if _needs_xmod(subject):
        tower, readout = _xmod(subject, layers.tower, tokenizer)
        linear = nn.Linear(readout.shape[1], readout.shape[0], bias=False)
        linear.weight = nn.Parameter(readout, requires_grad=False)
        layers = Layers(tower, layers.pooling, [(linear, nn.Identity()), *layers.head])
    else:
        layers = Layers(_plain(subject, layers.tower, tokenizer), layers.pooling, layers.head)
    if not layers.head or layers.head[-1] is not None:
        layers.head.append(None)
    dimension = _write_modules(layers, folder)
    with no_progress_bars():
        layers.tower.save_pretrained(folder)
    own = not subject.native and subject.model.language(subject.tag).tokenizer is not None
    _write_tokenizer(tokenizer, folder, own=own)
    keep_card(folder, subject.version_folder)
    texts = probes(tokenizer.max_tokens)
    _check_tokenizer(subject, folder, texts)
    found = _vectors(layers, model_ids(subject.model, subject.tag, texts), tokenizer.pad_id).numpy()
    error = compare(subject, found, subject.model.encode_text(texts, subject.tag).numpy(), TOLERANCE)
    about = subject.about(
        "sentence-transformers",
        dimension=dimension,
        max_tokens=tokenizer.max_tokens,
        architecture=type(layers.tower).__name__,
        check=check_record(subject, len(texts), error, TOLERANCE),
    )
    return finish(folder, about, sentence_transformers_readme(about))


def _layers(subject: Subject) -> Layers:
    base = subject.model.base
    model: Any = base.model
    family = base.family.name
    if isinstance(model, SentenceModel):
        parts: Any = model.head
        head = [None if isinstance(part, Normalise) else (part[0], part[1]) for part in parts]
        return Layers(model.text_model, model.pooling, head)
    if family == "dual-encoder":
        return Layers(model.text_model, "mean", [])
    if family == "chinese-clip":
        return Layers(model.text_model, "cls", [(model.text_projection, nn.Identity())])
    if family == "vision-text-dual-encoder":
        pooler = (model.text_model.pooler.dense, nn.Tanh())
        return Layers(model.text_model, "cls", [pooler, (model.text_projection, nn.Identity())])
    raise _refusal(subject, f"a text tower of the family {family!r}")


def _needs_xmod(subject: Subject) -> bool:
    """Say whether the tower's own class cannot hold the language, or cannot be opened by sentence-transformers."""
    tower: Any = subject.model.base.text_tower
    kind = tower.config.model_type
    model = subject.model
    acquirers = not subject.native and model.peft.peft_config[model.language(subject.tag).adapter].bottleneck > 0
    if not acquirers and kind != "chinese_clip_text_model":
        return False
    act = getattr(tower.config, "hidden_act", None)
    if not _is_like_bert(tower) or act not in ACTIVATIONS:
        raise _refusal(subject, f"acquirers in a text tower of the type {kind!r} (activation {act!r})")
    return True


def _refusal(subject: Subject, what: str) -> DataError:
    return DataError(
        f"No transformers model can hold {what}, which {subject.tag!r} over the base "
        f"{subject.model.base.identity.name!r} needs, so sentence-transformers cannot open it. Export it with "
        "--to onnx."
    )


def _is_like_bert(tower: Any) -> bool:
    """Say whether a tower has BERT's embeddings, with absolute positions, and BERT's blocks, each by itself."""
    embeddings, encoder = getattr(tower, "embeddings", None), getattr(tower, "encoder", None)
    layers = getattr(encoder, "layer", None)
    return (
        all(hasattr(embeddings, name) for name in ("position_embeddings", "token_type_embeddings", "LayerNorm"))
        and not hasattr(encoder, "relative_attention_bias")
        and isinstance(layers, nn.ModuleList)
        and all(hasattr(layer, "intermediate") and hasattr(layer.attention, "self") for layer in layers)
        and getattr(tower.config, "position_embedding_type", None) in (None, "absolute")
    )


def _table(subject: Subject) -> Tensor:
    """Return a language's token vectors `[S, W]`, projected already where it reads a frozen table."""
    base = subject.model.base
    if subject.native:
        return base.embedding.weight.detach()
    layer: Any = subject.model.tuner.layers()[base.family.embedding]
    adapter = subject.model.language(subject.tag).adapter
    if adapter not in layer.acquirer_embedding:
        return base.embedding.weight.detach()
    own = layer.acquirer_embedding[adapter]
    if isinstance(own, OwnTable):
        return own.table()
    with torch.no_grad():
        vectors: Tensor = own(torch.arange(len(own.table.weight)).unsqueeze(0))[0]
    return vectors


def _positions(tower: Any, length: int) -> Tensor:
    """Return the position vectors of a text's tokens `[T, W]`."""
    offset = position_offset(tower)
    first = 0 if offset is None else offset + 1
    table: Tensor = tower.embeddings.position_embeddings.weight.detach()
    return table[first : first + length]


def _xmod(subject: Subject, tower: Any, tokenizer: HubTokenizer) -> tuple[nn.Module, Tensor]:
    wrappers: dict[str, Any] = {} if subject.native else subject.model.tuner.layers()
    adapter = None if subject.native else subject.model.language(subject.tag).adapter
    acquirers: list[Acquirer | None] = []
    for i in range(tower.config.num_hidden_layers):
        held = getattr(wrappers.get(f"encoder.layer.{i}"), "acquirer_block", None)
        acquirers.append(held[adapter] if held is not None and adapter in held else None)
    positions = _positions(tower, tokenizer.max_tokens)
    return xmod(tower, _table(subject), acquirers, positions=positions, pad_id=tokenizer.pad_id, tag=subject.tag)


def _plain(subject: Subject, tower: Any, tokenizer: HubTokenizer) -> nn.Module:
    """Return a tower of the same class with the language's token table and padding, and nothing of this package."""
    from transformers import AutoModel  # noqa: PLC0415 - slow to import

    table = _table(subject)
    config = copy.deepcopy(tower.config)
    config.vocab_size = len(table)
    config.pad_token_id = tokenizer.pad_id
    offset = position_offset(tower)
    moved = offset is not None and config.model_type not in UNKNOWN_POSITIONS
    if moved:
        config.max_position_embeddings = tokenizer.max_tokens + tokenizer.pad_id + 1
    made: Any = AutoModel.from_config(config).eval()
    tensors = {
        name.replace(".base_layer.", "."): tensor.detach()
        for name, tensor in tower.state_dict().items()
        if ".acquirer_" not in name
    }
    tensors[f"{subject.model.base.family.embedding}.weight"] = table
    if moved:
        places = torch.zeros(config.max_position_embeddings, table.shape[1])
        places[tokenizer.pad_id + 1 :] = _positions(tower, tokenizer.max_tokens)
        tensors["embeddings.position_embeddings.weight"] = places
    missing, unexpected = made.load_state_dict(tensors, strict=False)
    if unexpected or any(not name.startswith("pooler.") for name in missing):
        raise _refusal(subject, f"a text tower of the type {config.model_type!r}")
    with torch.no_grad():
        for name in missing:  # a pooler that nothing asks
            made.get_parameter(name).zero_()
    result: nn.Module = made
    return result


def _write_modules(layers: Layers, folder: Path) -> int:
    """Write everything but the tower and its tokenizer; return the width of the vectors."""
    width = int(layers.tower.config.hidden_size)
    listed = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    chosen = {"cls": "cls_token", "mean": "mean_tokens"}.get(layers.pooling, layers.pooling)
    pooling = {f"pooling_mode_{mode}": mode == chosen for mode in modes}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **pooling})
    for part in layers.head:
        place = f"{len(listed)}_{'Normalize' if part is None else 'Dense'}"
        listed.append(("Normalize" if part is None else "Dense", place))
        if part is None:
            write_json(folder / place / "config.json", {})
            continue
        linear, activation = part
        width = linear.out_features
        kind = type(activation)
        config = {
            "in_features": linear.in_features,
            "out_features": linear.out_features,
            "bias": linear.bias is not None,
            "activation_function": f"{kind.__module__}.{kind.__name__}",
        }
        write_json(folder / place / "config.json", config)
        tensors = {f"linear.{name}": tensor.detach().contiguous() for name, tensor in linear.state_dict().items()}
        save_file(tensors, folder / place / "model.safetensors")
    modules = [
        {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, place) in enumerate(listed)
    ]
    write_json(folder / "modules.json", modules)
    return width


def _write_tokenizer(tokenizer: HubTokenizer, folder: Path, *, own: bool) -> None:
    (folder / "tokenizer.json").write_text(tokenizer.json(), encoding="utf-8")
    begin = tokenizer.begin_token
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokenizer.max_tokens,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": own,  # in a language's own tokenizer text never spells one
        "pad_token": tokenizer.pad_token,
        "sep_token": tokenizer.end_token,
        "eos_token": tokenizer.end_token,
        **({"cls_token": begin, "bos_token": begin} if begin is not None else {}),
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": tokenizer.max_tokens, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": "cosine"})


def _check_tokenizer(subject: Subject, folder: Path, texts: list[str]) -> None:
    """Refuse a model of a type for which transformers puts a tokenizer of its own in this one's place."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - slow to import

    read = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if read(texts, truncation=True)["input_ids"] != model_ids(subject.model, subject.tag, texts):
        kind = subject.model.base.text_tower.config.model_type  # type: ignore[union-attr]
        raise _refusal(
            subject, f"a tokenizer of its own in a model of the type {kind!r} (it takes {type(read).__name__})"
        )


@torch.no_grad()
def _vectors(layers: Layers, rows: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """Run what was written on ids, as sentence-transformers does."""
    batch = pad(rows, pad_id)
    states = layers.tower(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    if layers.pooling == "mean":
        vectors = mean_pool(states, batch.mask)
    else:
        vectors = states[:, 0] if layers.pooling == "cls" else take_positions(states, batch.ends)
    for part in layers.head:
        vectors = F.normalize(vectors, dim=-1) if part is None else part[1](part[0](vectors))
    return vectors
