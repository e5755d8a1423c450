"""What a family of image-text models must tell: where its text tower, embedding and blocks are, and how it pools.

A family is one file in `bases/families/`, named in `bases/families/__init__.py`. Everything else in the package asks
these questions and knows no family by name.

Shapes: `B` batch, `T` tokens, `W` width of the text tower, `D` width of the shared space.
"""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from mla_extend.bases.fingerprint import weight_files
from mla_extend.bases.source import model_type
from mla_extend.errors import BaseError

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


class Family(ABC):
    """Take one family of models apart."""

    name: ClassVar[str]
    """The family's name on cards and in errors."""
    model_types: ClassVar[tuple[str, ...]]
    """The values of `model_type` in `config.json` that belong to it."""
    embedding: ClassVar[str]
    """Path of the token embedding inside the text tower."""
    blocks: ClassVar[str]
    """Regular expression that matches, in full, the path of each text block inside the text tower and nothing else."""

    has_images: ClassVar[bool] = True
    """Whether there is an image tower; without one a language has Native Language Transfer alone."""

    def recognises(self, folder: Path) -> bool:
        """Say whether a folder holds a model of the family, by a look at its small files; never raise."""
        return model_type(folder) in self.model_types

    def weight_files(self, folder: Path) -> list[Path]:
        """Return the safetensors files that `load` reads.

        Raises:
            BaseError: there are none, or one that is named is not there.
        """
        return weight_files(folder)

    @abstractmethod
    def load(self, folder: Path) -> nn.Module:
        """Load the model from a local folder, safetensors only."""

    def load_tokenizer(self, folder: Path) -> Any:
        """Load the native tokenizer: called on texts as those of transformers are.

        Raises:
            BaseError: its files are not there. What a library raises over damaged ones is told by the caller.
        """
        from transformers import AutoTokenizer  # noqa: PLC0415 - half a second

        # Without its files, some classes of tokenizer open all the same, with an empty vocabulary.
        if not any(any(folder.glob(name)) for name in TOKENIZER_FILES):
            raise BaseError(
                f"There is no tokenizer in {folder} (one of {', '.join(TOKENIZER_FILES)}). Copy its files from where "
                "the model came from."
            )
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def load_processor(self, folder: Path) -> Any:
        """Load the image preprocessing that works on PIL images; `None` where the folder has none."""
        from transformers import AutoImageProcessor  # noqa: PLC0415

        if not self.has_images or not any((folder / name).is_file() for name in PROCESSOR_FILES):
            return None
        return AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)  # no torchvision

    def text_tower(self, model: nn.Module) -> nn.Module:
        """Return the module that maps ids `[B, T]` to hidden states `[B, T, W]` (`.last_hidden_state`)."""
        return model.get_submodule("text_model")

    def max_tokens(self, model: Any) -> int:
        """Return how many positions the text tower has, special tokens included."""
        return int(model.config.text_config.max_position_embeddings)

    def padded_length(self, model: nn.Module) -> int | None:
        """Return the length that every row of ids is padded to; `None` where the longest row of a batch decides."""
        return None

    def hidden_states(self, tower: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the text tower on ids and mask, both `[B, T]`: hidden states `[B, T, W]`, after its last norm."""
        states: Tensor = tower(input_ids=ids, attention_mask=mask).last_hidden_state
        return states

    @abstractmethod
    def pool(self, model: nn.Module, hidden: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """Pool and project hidden states `[B, T, W]` to unnormalised sentence vectors `[B, D]`.

        `mask` `[B, T]` is 1 on tokens, `ends` `[B]` the position of each row's end token.
        """

    def native_features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the family's own unnormalised vectors `[B, D]` of native text: the path that must never change."""
        return as_features(model.get_text_features(input_ids=ids, attention_mask=mask))

    def image_features(self, model: Any, pixels: Any) -> Tensor:
        """Return the family's own unnormalised vectors `[B, D]` of what `pixels` has prepared."""
        return as_features(model.get_image_features(pixel_values=pixels))

    def pixels(self, processor: Any, images: list[Any]) -> Any:
        """Prepare RGB PIL images as the processor says: a tensor `[B, 3, H, W]`.

        A family whose image tower takes more may return anything with a `to(device)` that gives itself, moved.
        """
        return processor(images=images, return_tensors="pt")["pixel_values"]

    def image_side(self, processor: Any) -> int | None:
        """Return to how many pixels the processor resizes an image's shorter side; `None` where the image decides."""
        size = getattr(processor, "size", None)
        if not getattr(processor, "do_resize", False) or size is None:
            return None
        sides = [dict(size).get(name) for name in ("shortest_edge", "height", "width")]
        return max((side for side in sides if side), default=None)

    def native_encoding(self, tokenizer: Any, texts: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
        """Tokenise native text as the family's users do: ids and mask, both `[B, T]`."""
        encoding = tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
        return encoding["input_ids"], encoding["attention_mask"]

    def special_ids(self, tokenizer: Any) -> tuple[int, int, int]:
        """Return the native ids of the pad, begin and end tokens, from which a language's own ones start.

        The end token stands for one that the tokenizer lacks.
        """
        begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
        return pad, (end if begin is None else begin), end

    def sigmoid_terms(self, model: nn.Module) -> tuple[Tensor, Tensor] | None:
        """Return the scale and the bias of the sigmoid contrast between texts and images that the model has learned.

        `None` where its contrast was a softmax over the batch.
        """
        return None


def load_pretrained(kind: Any, folder: Path) -> nn.Module:
    """Load a model of a class of transformers, safetensors only and in float32.

    One number is taken as such, however many axes of length 1 the file gives it: releases of transformers differ.

    Raises:
        ValueError: a tensor is missing or has another shape; transformers would draw it at random.
    """
    model: nn.Module
    model, info = kind.from_pretrained(
        folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
    )
    wrong = [f"{name} is missing" for name in sorted(info["missing_keys"])]
    for name, found, due in info["mismatched_keys"]:
        if math.prod(found) == math.prod(due) == 1:
            with torch.no_grad():
                model.get_parameter(name).copy_(_stored(folder, name).reshape(due))
        else:
            wrong.append(f"{name} has the shape {list(found)} and not {list(due)}")
    if wrong:
        raise ValueError("; ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""))
    return model


def _stored(folder: Path, name: str) -> Tensor:
    """Return a tensor of a folder's safetensors files by its name."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118 - it is no mapping
                found: Tensor = tensors.get_tensor(name)
                return found
    raise ValueError(f"{name} has another shape")


def as_features(output: Any) -> Tensor:
    """Return the vectors of a `get_*_features` call: a tensor in some versions, an output object in others."""
    features = output if isinstance(output, torch.Tensor) else output.pooler_output
    assert isinstance(features, torch.Tensor)
    return features


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Average hidden states `[B, T, W]` over the tokens of each row, as sentence-transformers does."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def take_positions(hidden: Tensor, positions: Tensor) -> Tensor:
    """Return one hidden state a row: `[B, T, W]` at `[B]` gives `[B, W]`."""
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), positions]
