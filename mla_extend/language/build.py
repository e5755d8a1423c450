"""Give a model a new language: its tokenizer, the start of its embedding, identity acquirers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mla_extend.language.alignment import align
from mla_extend.language.embedding import STARTS, StartInputs
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.language.tokenizer import LanguageTokenizer


@dataclass(frozen=True)
class Built:
    """Say what was built: pieces of the vocabulary, how many of them found a native partner, parameters, seconds."""

    pieces: int
    aligned: int
    parameters: int
    seconds: float


def build_language(
    model: MultilingualModel,
    tag: str,
    *,
    native: Sequence[str],
    target: Sequence[str],
    more_text: Sequence[str] = (),
    start: str = "aligned",
    bottleneck: int = 128,
    vocabulary: int | None = None,
    lowercase: bool = True,
    power: float = 2.0,
    best: int = 8,
    seed: int = 0,
) -> Built:
    """Build a language from parallel text and load it into the model, untrained.

    Args:
        model: where it goes.
        tag: its code.
        native: native sentences of the training pairs.
        target: their translations.
        more_text: further text of the language (captions), for the tokenizer alone.
        start: a name from `STARTS`, or `native` for the base's own tokenizer and table.
        bottleneck: of the acquirers.
        vocabulary: pieces wanted; `None` lets the data decide.
        lowercase: fold case.
        power: exponent of the Dice coefficient.
        best: native tokens in one mix.
        seed: of what is drawn.
    """
    started = time.monotonic()
    if start == "native":
        model.add(tag, tokenizer=None, bottleneck=bottleneck)
        return Built(0, 0, parameters(model, tag), time.monotonic() - started)
    base = model.base
    tokenizer = LanguageTokenizer.train(
        list(dict.fromkeys([*target, *more_text])), base.max_tokens, size=vocabulary, lower=lowercase
    )
    alignment = None
    if start == "aligned":
        alignment = align(
            tokenizer.plain_ids(target),
            base.native_ids(native),
            tokenizer.size,
            base.embedding.num_embeddings,
            power=power,
            best=best,
        )
    table = STARTS[start](
        StartInputs(
            native=base.embedding.weight.detach().cpu(),
            specials=base.family.special_ids(base.tokenizer),
            size=tokenizer.size,
            alignment=alignment,
            seed=seed,
        )
    )
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)  # the acquirers' first halves are drawn by PyTorch's own generator
    try:
        language = model.add(tag, tokenizer=tokenizer, bottleneck=bottleneck)
    finally:
        torch.set_rng_state(generator_state)
    with torch.no_grad():
        for name, tensor in adapter_tensors(model.peft, language.adapter).items():
            if ".acquirer_embedding." in name:
                tensor.copy_(table)
    aligned = int(alignment.aligned.sum()) if alignment else 0
    return Built(tokenizer.size, aligned, parameters(model, tag), time.monotonic() - started)


def parameters(model: MultilingualModel, tag: str) -> int:
    """Return how many parameters a language owns."""
    return sum(tensor.numel() for tensor in adapter_tensors(model.peft, model.language(tag).adapter).values())
