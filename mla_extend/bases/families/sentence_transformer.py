"""Sentence-embedding models as sentence-transformers saves them: text alone, so Native Language Transfer alone.

A folder has a `modules.json`: a transformer, a pooling, then any dense layers and normalisations. It is read here, so
that sentence-transformers itself is not needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from safetensors.torch import load_file
from tokenizers import normalizers
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend.bases.families.vision_text import run_encoder, usable_positions
from mla_extend.bases.family import Family, load_pretrained, mean_pool, take_positions
from mla_extend.bases.fingerprint import weight_files
from mla_extend.bases.source import model_type
from mla_extend.errors import BaseError
from mla_extend.files import read_json

MODULES = "modules.json"
SETTINGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_xlm-roberta_config.json",
)
"""The names under which a transformer's length and case are kept; older models have the name of their kind."""
POOLINGS = ("mean", "cls", "lasttoken")
OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    f"torch.nn.modules.{name}": kind
    for name, kind in {
        "linear.Identity": nn.Identity,
        "activation.Tanh": nn.Tanh,
        "activation.ReLU": nn.ReLU,
        "activation.GELU": nn.GELU,
        "activation.SiLU": nn.SiLU,
        "activation.Sigmoid": nn.Sigmoid,
    }.items()
}


@dataclass(frozen=True)
class Module:
    """One line of `modules.json`: the kind of module and its folder."""

    kind: str
    folder: Path


class Normalise(nn.Module):
    """Divide vectors `[B, D]` by their length."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Return vectors of length 1."""
        return F.normalize(vectors, dim=-1)


class SentenceModel(nn.Module):
    """A text tower, how it is pooled (a name from `POOLINGS`), and what follows.

    Args:
        tower: the text tower.
        pooling: a name from `POOLINGS`.
        head: maps pooled states `[B, W]` to sentence vectors `[B, D]`.
        max_tokens: tokens of a text at most, special ones included.
    """

    def __init__(self, tower: nn.Module, pooling: str, head: nn.Module, max_tokens: int) -> None:
        super().__init__()
        self.text_model = tower
        self.pooling = pooling
        self.head = head
        self.max_tokens = max_tokens

    def sentence_vectors(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map hidden states `[B, T, W]` with their mask `[B, T]`, padded on either side, to vectors `[B, D]`."""
        if self.pooling == "mean":
            pooled = mean_pool(hidden, mask)
        elif self.pooling == "cls":
            pooled = take_positions(hidden, mask.int().argmax(dim=1))
        else:
            pooled = take_positions(hidden, mask.shape[1] - 1 - mask.int().flip(1).argmax(dim=1))
        vectors: Tensor = self.head(pooled)
        return vectors


class SentenceTransformerFamily(Family):
    """A sentence-embedding model over an encoder like BERT, RoBERTa, MPNet or DistilBERT."""

    name = "sentence-transformer"
    model_types = ()
    embedding = "embeddings.word_embeddings"
    blocks = r"(?:encoder|transformer)\.layer\.\d+"
    has_images = False
    tower_types: ClassVar[tuple[str, ...]] = ("bert", "camembert", "distilbert", "mpnet", "roberta", "xlm-roberta")
    """Types of text tower whose table and blocks are where the class says."""

    def recognises(self, folder: Path) -> bool:
        """Say whether a folder has a `modules.json`, and a text tower that is not one of the other classes'."""
        return (folder / MODULES).is_file() and _tower_type(folder) not in OTHER_TOWERS

    def weight_files(self, folder: Path) -> list[Path]:
        """Return the files of the text tower and of each dense layer."""
        transformer, _, *rest = _modules(folder)
        dense = [module.folder for module in rest if module.kind == "Dense"]
        return [file for place in (transformer.folder, *dense) for file in weight_files(place)]

    def load(self, folder: Path) -> nn.Module:
        """Load the modules.

        Raises:
            BaseError: a module, a setting of one or the text tower is of a kind that languages cannot be added to.
        """
        _refuse_default_prompt(folder)
        transformer, pooling, *rest = _modules(folder)
        kind = _tower_type(folder)
        if kind not in self.tower_types:
            known = sorted({*SentenceTransformerFamily.tower_types, *OTHER_TOWERS})
            raise BaseError(
                f"The text tower in {transformer.folder} is of type {kind!r}, which languages cannot be added to. Use "
                f"a model over one of {', '.join(known)}."
            )
        tower: Any = load_pretrained(_WithoutPooler, transformer.folder)
        tower.config.use_cache = False
        head = nn.Sequential(*(Normalise() if module.kind == "Normalize" else _dense(module) for module in rest))
        return SentenceModel(tower, _pooling(pooling), head, _max_tokens(transformer.folder, tower))

    def load_tokenizer(self, folder: Path) -> Any:
        """Load the text tower's tokenizer, which lower-cases first where the module says so.

        Raises:
            BaseError: its files are not there, or name no padding token.
        """
        place = _modules(folder)[0].folder
        tokenizer = super().load_tokenizer(place)
        if tokenizer.pad_token_id is None:
            raise BaseError(
                f"The tokenizer in {place} has no padding token. Add one to its tokenizer_config.json, for example "
                f'"pad_token": "{tokenizer.eos_token}".'
            )
        if _settings(place).get("do_lower_case"):
            backend = tokenizer.backend_tokenizer
            rest = [] if backend.normalizer is None else [backend.normalizer]
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])
        return tokenizer

    def max_tokens(self, model: Any) -> int:
        """Return the length that the model's folder sets, at most what the position table has room for."""
        return int(model.max_tokens)

    def hidden_states(self, tower: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the text tower with positions that come from the mask."""
        return run_encoder(tower, ids, mask)

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Pool as the model's folder says."""
        vectors: Tensor = model.sentence_vectors(hidden, mask)
        return vectors

    def native_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return what sentence-transformers' `encode` gives, of length 1 where the model's own modules make it so."""
        hidden = model.text_model(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors: Tensor = model.sentence_vectors(hidden, mask)
        return vectors

    def image_features(self, model: Any, pixels: Any) -> Tensor:
        """Refuse: there is no image tower.

        Raises:
            BaseError: always.
        """
        raise BaseError("A sentence-embedding model has no image tower. Use parallel text.")

    def special_ids(self, tokenizer: Any) -> tuple[int, int, int]:
        """Return pad, begin and end as the tokenizer puts them around a text, whatever it calls them.

        Where it puts none, its end-of-text token stands for it.
        """
        text = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        start = next((i for i in range(len(whole)) if whole[i : i + len(text)] == text), 0)
        after = whole[start + len(text) :]
        end = after[-1] if after else tokenizer.eos_token_id
        return tokenizer.pad_token_id, (whole[start - 1] if start else end), end


class SentenceModernBert(SentenceTransformerFamily):
    """A sentence-embedding model over ModernBERT."""

    embedding = "embeddings.tok_embeddings"
    blocks = r"layers\.\d+"
    tower_types = ("modernbert",)

    def recognises(self, folder: Path) -> bool:
        return _tower_type(folder) in self.tower_types


class SentenceDecoder(SentenceTransformerFamily):
    """A sentence-embedding model over a causal language model."""

    embedding = "embed_tokens"
    blocks = r"layers\.\d+"
    tower_types = ("llama", "mistral", "qwen2", "qwen3")

    def recognises(self, folder: Path) -> bool:
        return _tower_type(folder) in self.tower_types


OTHER_TOWERS = (*SentenceModernBert.tower_types, *SentenceDecoder.tower_types)


class _WithoutPooler:
    """Load a text tower without the pooler that sentence vectors do not come from, and that some folders lack."""

    @staticmethod
    def from_pretrained(folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
        model, info = transformers.AutoModel.from_pretrained(folder, trust_remote_code=False, **options)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None
        info["missing_keys"] = [name for name in info["missing_keys"] if not name.startswith("pooler.")]
        return model, info


def _modules(folder: Path) -> list[Module]:
    """Return what `modules.json` lists: a transformer, a pooling, then dense layers and normalisations."""
    path = folder / MODULES
    try:
        listed = [(str(entry["type"]), str(entry["path"])) for entry in read_json(path)]
        if any(Path(place).is_absolute() or ".." in Path(place).parts for _, place in listed):
            raise ValueError("a module outside the folder")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseError(f"{path} lists no modules that are here ({error!r}). Fetch the model again.") from error
    modules = [Module(kind.rpartition(".")[2], folder / place) for kind, place in listed]
    kinds = [module.kind for module in modules]
    foreign = [kind for kind, _ in listed if not kind.startswith("sentence_transformers.")]
    if "CLIPModel" in kinds:
        raise BaseError(
            f"{path} wraps a CLIP. Give the folder of the CLIP inside: {modules[kinds.index('CLIPModel')].folder}."
        )
    if foreign or kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= {"Dense", "Normalize"}:
        raise BaseError(
            f"{path} lists {', '.join(foreign or kinds) or 'nothing'}. Languages can be added to a Transformer and a "
            "Pooling, followed by Dense and Normalize alone. Use another model."
        )
    return modules


def _tower_type(folder: Path) -> str | None:
    """Return the type of a folder's text tower; `None` where it cannot be told, which `_modules` explains."""
    try:
        return model_type(_modules(folder)[0].folder)
    except BaseError:
        return None


def _settings(place: Path) -> dict[str, Any]:
    """Return the transformer's own settings, empty where it has none."""
    for name in SETTINGS:
        if (place / name).is_file():
            return _object(place / name)
    return {}


def _object(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise BaseError(f"{path} cannot be read ({error}). Fetch the model again.") from error
    if not isinstance(found, dict):
        raise BaseError(f"{path} holds {type(found).__name__}, not an object. Fetch the model again.")
    return found


def _max_tokens(place: Path, tower: Any) -> int:
    path = place / "tokenizer_config.json"
    limits = [_settings(place).get("max_seq_length"), usable_positions(tower)]
    if limits[0] is None and path.is_file():
        limits.append(_object(path).get("model_max_length"))
    return int(min(limit for limit in limits if limit is not None))


def _refuse_default_prompt(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    about = _object(path) if path.is_file() else {}
    name = about.get("default_prompt_name")
    if name and about.get("prompts", {}).get(name):
        raise BaseError(
            f"{path} puts the prompt {about['prompts'][name]!r} before every text, which has no place in another "
            "language. Correct default_prompt_name to null, and write the prompt into your own texts."
        )


def _pooling(module: Module) -> str:
    path = module.folder / "config.json"
    config = _object(path)
    given = config.get("pooling_mode") or [mode for key, mode in OLD_POOLINGS.items() if config.get(key)] or "mean"
    modes = [given] if isinstance(given, str) else given
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise BaseError(
            f"{path} pools by {' and '.join(map(str, modes))}. Known poolings, one at a time: {', '.join(POOLINGS)}. "
            "Use another model."
        )
    return str(modes[0])


def _dense(module: Module) -> nn.Module:
    path = module.folder / "config.json"
    config = _object(path)
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    names = {config.get(name) or "sentence_embedding" for name in ("module_input_name", "module_output_name")}
    if activation not in ACTIVATIONS or config.get("use_residual") or names != {"sentence_embedding"}:
        raise BaseError(
            f"{path} describes a dense layer with the activation {activation!r}, use_residual "
            f"{config.get('use_residual', False)} and the names {sorted(names)}. Known are the activations "
            f"{', '.join(name.rpartition('.')[2] for name in ACTIVATIONS)}, no residual, and sentence_embedding. "
            "Use another model."
        )
    layer = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    tensors: dict[str, Tensor] = {}
    for file in weight_files(module.folder):
        tensors.update(load_file(file))
    try:
        layer.load_state_dict({name.removeprefix("linear."): tensor for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise BaseError(
            f"{path} does not describe the weights beside it ({' '.join(str(error).split())}). Fetch the model again."
        ) from error
    return nn.Sequential(layer.to(torch.float32), ACTIVATIONS[activation]())
