"""One language as it lies in its files: what a model loads, and what a new language may start from."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mla_extend.errors import RegistryError
from mla_extend.language.peft_method import AcquirerConfig
from mla_extend.language.pretrained import FrozenTable, find_table
from mla_extend.language.tokenizer import LanguageTokenizer


@dataclass(frozen=True)
class Stored:
    """Hold an adapter's settings, its tokenizer (`None`: the base's own) and its tensors by the names PEFT writes.

    `table` is the frozen one that it reads, where it has none of its own.
    """

    config: AcquirerConfig
    tokenizer: LanguageTokenizer | None
    tensors: dict[str, Tensor]
    table: FrozenTable | None = None


def read_stored(folder: Path, max_tokens: int) -> Stored:
    """Read a language from a version's folder; the caller has checked its files against their hashes.

    Args:
        folder: of the version.
        max_tokens: positions of the text tower.

    Raises:
        RegistryError: the files are not those of a language adapter, or the frozen table it reads is not to be had.
    """
    try:
        config = AcquirerConfig.from_pretrained(str(folder))
        config.inference_mode = True
        tokenizer = LanguageTokenizer.load(folder, max_tokens) if config.vocabulary else None
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise RegistryError(f"The adapter in {folder} cannot be read ({error}). Add the language again.") from error
    return Stored(config, tokenizer, tensors, find_table(config.pretrained) if config.pretrained else None)
