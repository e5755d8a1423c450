"""Models of open_clip, as its hub folders hold them: `open_clip_config.json` and `open_clip_model.safetensors`.

open_clip needs torchvision, which the rest of this package does not; hence it is an extra.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from mla_extend.bases.family import TOKENIZER_FILES, Family, take_positions
from mla_extend.bases.source import model_type
from mla_extend.errors import BaseError
from mla_extend.extras import optional
from mla_extend.files import read_json

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
TRANSFORMERS_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
EDGES = {"first": 0, "last": -1}
"""Ways to pool that take one position of every row."""


class OpenClipTextTower(nn.Module):
    """Make one module of an open_clip model's text transformer, whose parts may lie on the model itself.

    The parts are shared, not copied, apart from the place of the token table: a language's table that stands before
    this one is not in the model's own path.

    Args:
        source: the module that holds the parts.
    """

    attn_mask: Tensor | None

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.token_embedding = source.token_embedding
        self.positional_embedding = source.positional_embedding
        self.transformer = source.transformer
        self.ln_final = source.ln_final
        self.register_buffer("attn_mask", source.attn_mask, persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> BaseModelOutput:
        """Map ids `[B, T]` to hidden states `[B, T, W]`; padding is not masked, as in open_clip itself."""
        length = input_ids.shape[1]
        kind = self.transformer.get_cast_dtype()
        mask = None if self.attn_mask is None else self.attn_mask[:length, :length]
        states = self.token_embedding(input_ids).to(kind) + self.positional_embedding[:length].to(kind)
        return BaseModelOutput(last_hidden_state=self.ln_final(self.transformer(states, attn_mask=mask)))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Run blocks again for the gradient instead of keeping their inner states, by open_clip's name for it."""
        self.transformer.grad_checkpointing = enable


class OpenClipModel(nn.Module):
    """An open_clip model beside its text tower as one module."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip
        self.text_model = OpenClipTextTower(text_of(clip))


class OpenClipTokenizer:
    """Call a tokenizer of open_clip as those of transformers are called.

    Args:
        tokenizer: open_clip's own, byte pairs or one of transformers in its wrapper.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.own = tokenizer
        self.inner = getattr(tokenizer, "tokenizer", None)

    def __call__(self, texts: list[str], *, add_special_tokens: bool = True, **_: Any) -> dict[str, list[list[int]]]:
        """Return the ids of each text, without padding: cut and with special tokens, or plain and whole."""
        if add_special_tokens:
            ids, mask = self.padded(texts)
            return {"input_ids": [row[keep].tolist() for row, keep in zip(ids, mask.bool(), strict=True)]}
        if self.inner is None:
            return {"input_ids": [self.own.encode(text) for text in texts]}
        encoded = self.inner([self.own.clean_fn(text) for text in texts], add_special_tokens=False, verbose=False)
        return {"input_ids": encoded["input_ids"]}

    def padded(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return open_clip's own ids, padded to its length, and the mask that it does not give: both `[B, T]`."""
        ids: Tensor = self.own(texts)
        if self.inner is None:
            lengths = (ids == self.own.eot_token_id).int().argmax(dim=1) + 1
            return ids, (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
        encoded = self.inner(
            [self.own.clean_fn(text) for text in texts],
            max_length=ids.shape[1],
            padding="max_length",
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return ids, encoded["attention_mask"]

    def get_vocab(self) -> dict[str, int]:
        """Return the vocabulary's entries and their ids."""
        entries: dict[str, int] = self.own.encoder if self.inner is None else self.inner.get_vocab()
        return entries

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Return the text of entries of the vocabulary."""
        if self.inner is not None:
            return str(self.inner.convert_tokens_to_string(tokens))
        return str(self.own.decode([self.own.encoder[token] for token in tokens]))


class OpenClip(Family):
    """CLIP and SigLIP as open_clip defines them, with open_clip's own text transformer."""

    name = "open-clip"
    model_types = ()
    embedding = "token_embedding"
    blocks = r"transformer\.resblocks\.\d+"

    def recognises(self, folder: Path) -> bool:
        """Say whether a folder is open_clip's alone: hub folders often hold the same model for transformers too."""
        for_transformers = model_type(folder) and any((folder / name).is_file() for name in TRANSFORMERS_WEIGHTS)
        return (folder / CONFIG).is_file() and not for_transformers

    def weight_files(self, folder: Path) -> list[Path]:
        """Return open_clip's file of weights."""
        if not (folder / WEIGHTS).is_file():
            raise BaseError(f"{folder} holds no {WEIGHTS}. Only safetensors are loaded: save the model as one.")
        return [folder / WEIGHTS]

    def load(self, folder: Path) -> nn.Module:
        """Load the model by open_clip.

        Raises:
            BaseError: open_clip is not installed, or the text tower is of a kind that languages cannot be added to.
            ValueError: a tensor is missing or has another shape.
        """
        open_clip = _open_clip()
        _refuse_unknown(folder, _config(folder))
        try:
            clip = open_clip.create_model(f"local-dir:{folder}", precision="fp32", require_pretrained=True)
        except RuntimeError as error:  # names the tensors that are wrong, each on a line of its own
            raise ValueError(" ".join(str(error).split())) from error
        return OpenClipModel(clip)

    def load_tokenizer(self, folder: Path) -> Any:
        """Load the tokenizer that the configuration names; one of transformers lies in the folder itself."""
        open_clip = _open_clip()
        named = _config(folder)["model_cfg"]["text_cfg"].get("hf_tokenizer_name")
        if named and not any(any(folder.glob(name)) for name in TOKENIZER_FILES):
            raise BaseError(
                f"There is no tokenizer in {folder} (one of {', '.join(TOKENIZER_FILES)}), although {CONFIG} names "
                f"{named!r}. Copy its files from where the model came from."
            )
        return OpenClipTokenizer(open_clip.get_tokenizer(f"local-dir:{folder}"))

    def load_processor(self, folder: Path) -> Any:
        """Return open_clip's image preprocessing for evaluation."""
        _open_clip()
        from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict  # noqa: PLC0415

        config = _config(folder)
        given = config.get("preprocess_cfg", {}) | {"size": config["model_cfg"]["vision_cfg"].get("image_size", 224)}
        return image_transform_v2(PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(), given)), is_train=False)

    def max_tokens(self, model: Any) -> int:
        """Return the size of the position table."""
        return int(model.text_model.positional_embedding.shape[0])

    def padded_length(self, model: Any) -> int:
        """Return the size of the position table, to which open_clip pads all text; SigLIP reads that padding."""
        return self.max_tokens(model)

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Take the state that open_clip would, but the end token from the language's tokenizer, and project it."""
        clip = model.clip
        edge = EDGES.get(str(clip.text.pool_type if hasattr(clip, "text") else clip.text_pool_type))
        pooled = take_positions(hidden, ends) if edge is None else hidden[:, edge]
        projection = text_of(clip).text_projection
        if projection is None:
            return pooled
        projected: Tensor = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return projected

    def native_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return `encode_text`."""
        features: Tensor = model.clip.encode_text(ids)
        return features

    def image_features(self, model: Any, pixels: Any) -> Tensor:
        """Return `encode_image`."""
        features: Tensor = model.clip.encode_image(pixels)
        return features

    def pixels(self, processor: Any, images: list[Any]) -> Any:
        """Prepare each image: `[B, 3, H, W]`."""
        return torch.stack([processor(image) for image in images])

    def image_side(self, processor: Any) -> int | None:
        """Return to how many pixels torchvision's step of resizing brings the shorter side."""
        sizes = [step.size for step in processor.transforms if type(step).__name__ == "Resize"]
        return None if not sizes else int(sizes[0]) if isinstance(sizes[0], int) else max(map(int, sizes[0]))

    def native_encoding(self, tokenizer: Any, texts: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
        """Tokenise native text, padded to the fixed length as open_clip does."""
        ids, mask = tokenizer.padded(texts)
        return ids, mask

    def special_ids(self, tokenizer: Any) -> tuple[int, int, int]:
        """Return pad, begin and end."""
        if tokenizer.inner is not None:
            return super().special_ids(tokenizer.inner)
        return 0, tokenizer.own.sot_token_id, tokenizer.own.eot_token_id

    def sigmoid_terms(self, model: Any) -> tuple[Tensor, Tensor] | None:
        """Return the learned scale and bias of a SigLIP; a CLIP has no bias."""
        bias = model.clip.logit_bias
        return None if bias is None else (model.clip.logit_scale.detach().exp(), bias.detach())


def text_of(clip: Any) -> Any:
    """Return what holds the parts of the text transformer: a module of its own, or the model itself."""
    return getattr(clip, "text", clip)


def _open_clip() -> Any:
    return optional("open_clip", "A model of open_clip")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = read_json(path)
        parts = [config["model_cfg"][name] for name in ("text_cfg", "vision_cfg")]
        wrong = not all(isinstance(part, dict) for part in (*parts, config.get("preprocess_cfg", {})))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseError(f"{path} has no model_cfg with text_cfg and vision_cfg ({error!r}). Fetch it again.") from error
    if wrong:
        raise BaseError(f"{path}: text_cfg, vision_cfg and preprocess_cfg must be objects. Fetch it again.")
    return config  # type: ignore[no-any-return]


def _refuse_unknown(folder: Path, config: dict[str, Any]) -> None:
    """Refuse what has another text tower than open_clip's plain one, before it is built."""
    model, text = config["model_cfg"], config["model_cfg"]["text_cfg"]
    found = [
        what
        for what, there in {
            f"a text tower of transformers ({text.get('hf_model_name')})": text.get("hf_model_name"),
            "a caption decoder (CoCa)": "multimodal_cfg" in model,
            "a class token after the text": text.get("embed_cls"),
            "no pooling of the text": text.get("pool_type") == "none",
            f"the tokenizer mode {text.get('tokenizer_mode')!r}": text.get("tokenizer_mode"),
            "a tokenizer that drops tokens": (text.get("tokenizer_kwargs") or {}).get("reduction_mask"),
        }.items()
        if there
    ]
    if found:
        raise BaseError(
            f"{folder / CONFIG} describes {' and '.join(found)}. Languages can be added to open_clip's own text "
            "transformer alone: use the model as transformers saves it, if there is one, or another model."
        )
