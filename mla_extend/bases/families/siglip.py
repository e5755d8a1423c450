"""Hugging Face `SiglipModel` and `Siglip2Model`: no mask, rows of a fixed length, pooled at the last position."""

from pathlib import Path
from typing import Any

import transformers
from tokenizers import normalizers
from torch import Tensor, nn

from mla_extend.bases.family import Family, as_features, load_pretrained
from mla_extend.bases.source import model_type


class Siglip(Family):
    """SigLIP and SigLIP 2 (Zhai et al. 2023, Tschannen et al. 2025).

    SigLIP 2 at a fixed resolution is saved as SigLIP; `siglip2` is the kind that keeps an image's proportions (NaFlex).
    """

    name = "siglip"
    model_types = ("siglip", "siglip2")
    embedding = "embeddings.token_embedding"
    blocks = r"encoder\.layers\.\d+"

    def load(self, folder: Path) -> nn.Module:
        """Load a `SiglipModel` or a `Siglip2Model`."""
        second = model_type(folder) == "siglip2"
        return load_pretrained(transformers.Siglip2Model if second else transformers.SiglipModel, folder)

    def load_tokenizer(self, folder: Path) -> Any:
        """Load the tokenizer, lower-casing where its folder asks for it: SigLIP 2's class of tokenizer ignores that."""
        tokenizer = super().load_tokenizer(folder)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None and tokenizer.init_kwargs.get("do_lower_case"):
            rest = [] if backend.normalizer is None else [backend.normalizer]
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])
        return tokenizer

    def padded_length(self, model: Any) -> int:
        """Return the size of the position table: all rows have its length, as in the model's own training."""
        return self.max_tokens(model)

    def hidden_states(self, tower: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the text tower without a mask: every position sees the padding, as in the model's own training."""
        states: Tensor = tower(input_ids=ids).last_hidden_state
        return states

    def pool(self, model: Any, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Take the state of the last position, which is padding in most rows, and project it."""
        projected: Tensor = model.text_model.head(hidden[:, -1])
        return projected

    def native_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return `get_text_features`, without a mask as the model's users call it."""
        return as_features(model.get_text_features(input_ids=ids))

    def image_features(self, model: Any, pixels: Any) -> Tensor:
        """Return `get_image_features`."""
        return as_features(model.get_image_features(**pixels))

    def pixels(self, processor: Any, images: list[Any]) -> Any:
        """Prepare images: pixel values, and for NaFlex also which patches there are and how they lie."""
        return processor(images=images, return_tensors="pt")

    def native_encoding(self, tokenizer: Any, texts: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
        """Tokenise native text, padded on the right to the fixed length."""
        encoding = tokenizer(
            texts,
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=max_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return encoding["input_ids"], encoding["attention_mask"]

    def special_ids(self, tokenizer: Any) -> tuple[int, int, int]:
        """Return pad, begin and end; there is no begin token, so that the end stands for it where one is asked for."""
        pad, _, end = super().special_ids(tokenizer)
        return pad, end, end

    def sigmoid_terms(self, model: Any) -> tuple[Tensor, Tensor]:
        """Return the learned scale and bias."""
        return model.logit_scale.detach().exp(), model.logit_bias.detach()
