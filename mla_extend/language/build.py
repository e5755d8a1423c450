"""Give a model a new language: its tokenizer, the start of its embedding, identity acquirers."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from mla_extend.flat import IdRows, Texts
from mla_extend.language.alignment import ROUNDS, align, occurrence
from mla_extend.language.embedding import Start, StartInputs, aligned_start
from mla_extend.language.model import MultilingualModel
from mla_extend.language.native_words import NativeWords
from mla_extend.language.normaliser import composed_first
from mla_extend.language.peft_method import adapter_parameters
from mla_extend.language.pieces import TRAINING_SENTENCES, vocabulary_size
from mla_extend.language.pretrained import open_table
from mla_extend.language.related import Related, check_related, copy_related, evidence
from mla_extend.language.tokenizer import LanguageTokenizer

ALIGNED = 400_000
"""Pairs, evenly taken, that are aligned at most."""


@dataclass(frozen=True)
class BuildResult:
    """Say what was built: pieces of the vocabulary, how many of them found a native partner, parameters, seconds.

    `copied` is how many pieces start as those of a related language, `table` the frozen table that it reads, if any,
    `native_pieces` how many pieces beside its own stand for rows of the native table.
    """

    pieces: int
    aligned: int
    parameters: int
    seconds: float
    copied: int = 0
    table: dict[str, Any] | None = None
    native_pieces: int = 0


def build_language(
    model: MultilingualModel,
    tag: str,
    *,
    native: Sequence[str],
    target: Sequence[str],
    more_text: Sequence[str] = (),
    lexicon: Sequence[tuple[str, str]] = (),
    text: Sequence[str] = (),
    start: str | Start = "aligned",
    source: str | None = None,
    bottleneck: int = 128,
    vocabulary: int | None = None,
    lowercase: bool = True,
    native_words: bool = True,
    power: float = 2.0,
    rounds: int = ROUNDS,
    best: int = 8,
    seed: int = 0,
    related: Related | None = None,
) -> BuildResult:
    """Build a language from parallel text and load it into the model, untrained.

    Args:
        model: where it goes.
        tag: its code.
        native: native sentences of the training pairs.
        target: their translations.
        more_text: further text of the language (captions), for the tokenizer alone.
        lexicon: native words and words of the language. A word that the pieces would cut, whose translation is one
            native token, is read as that.
        text: sentences of the language that nothing translates: for the tokenizer, whose size the others decide, and
            for the start of pieces that no pair aligned; see `distributional`.
        start: `aligned`, `native` for the base's own tokenizer and table, `pretrained` for a frozen multilingual table
            and its tokenizer, with a projection; or a function that makes the table without an alignment.
        source: of that table: a model folder or a hub id.
        bottleneck: of the acquirers; 0 for none.
        vocabulary: pieces wanted; `None` lets the data decide.
        lowercase: fold case, by the rule of the language that the tag names.
        native_words: read names and native words in its text as the base does; see `add_native`.
        power: exponent of the Dice coefficient.
        rounds: of expectation maximisation, begun from it.
        best: native tokens in one mix.
        seed: of what is drawn.
        related: a language whose acquirers and shared pieces are copied over that start; see `copy_related`.

    Raises:
        DataError: the related language has acquirers of another width, or there is no such source.
    """
    started = time.monotonic()
    if related is not None:
        check_related(related, bottleneck)
    if start in ("native", "pretrained"):
        frozen = source or "" if start == "pretrained" else None
        return _build_without_table(model, tag, frozen, bottleneck, seed, related, started)
    base = model.base
    texts = _learned_from([target, more_text])
    size = vocabulary or (vocabulary_size(texts) if text else None)
    texts = _learned_from([texts, text]) if text else texts
    words: list[tuple[str, list[int]]] = []
    if lexicon:
        words = list(zip((word for _, word in lexicon), base.native_ids([word for word, _ in lexicon]), strict=True))
    tokenizer = LanguageTokenizer.train(texts, base.max_tokens, size=size, lower=lowercase, language=tag)
    added = NativeWords(tokenizer.content)
    if native_words or words:
        held = [*texts, *(word for word, _ in words)]
        tokenizer, added = tokenizer.with_native(base.tokenizer if native_words else None, held, words)
    alignment = None
    # What the pieces mean shows in a part of very many pairs.
    target, native = Texts.of(target).evenly(ALIGNED), Texts.of(native).evenly(ALIGNED)
    ids = IdRows.read(target, tokenizer.plain_ids, tokenizer.size)
    counts = occurrence(ids, tokenizer.size).sum(axis=0)
    if start == "aligned":
        rows = base.embedding.num_embeddings
        both = partial(align, target_size=tokenizer.size, native_size=rows, power=power, rounds=rounds, best=best)
        alignment = both(ids, IdRows.read(native, base.native_ids, rows))
        if words:
            listed = both(tokenizer.plain_ids([word for word, _ in words]), [row for _, row in words])
            alignment = alignment.joined(listed, counts)
    make = aligned_start if isinstance(start, str) else start
    table = make(
        StartInputs(
            native=base.embedding.weight.detach().cpu(),
            specials=base.family.special_ids(base.tokenizer),
            size=tokenizer.size,
            alignment=alignment,
            seed=seed,
            text=(tokenizer.plain_ids(texts), counts) if text else None,
        )
    )
    known = alignment.aligned if alignment is not None else np.zeros(tokenizer.size, dtype=np.bool_)
    for place, row in added.spelled.items():
        # By itself such a piece means the native word, as a part of the language's words something else.
        native_row = base.embedding.weight[row].detach().float().cpu()
        table[place] = (table[place] + native_row) / 2 if known[place] else native_row
    with _seeded(seed):
        model.add(
            tag,
            tokenizer=LanguageTokenizer(added.content, base.max_tokens, tokenizer.pieces),
            native_pieces=len(added.rows),
            bottleneck=bottleneck,
        )
    own = model.own_table(tag)
    assert own is not None
    with torch.no_grad():
        own.weight.copy_(table)
        if own.native_rows is not None:
            own.native_rows.copy_(torch.tensor(added.rows))
    copied = 0
    if related is not None:
        copied = copy_related(model, tag, related, evidence(alignment, ids) if alignment else None)
    return BuildResult(
        tokenizer.size,
        int(known.sum()),
        parameters(model, tag),
        time.monotonic() - started,
        copied,
        native_pieces=len(added.rows),
    )


def _learned_from(texts: Sequence[Sequence[str]]) -> Texts:
    """Return the different ones among texts, or as many as a tokenizer is learned from."""
    return reduce(Texts.followed_by, map(Texts.of, texts)).different().evenly(TRAINING_SENTENCES)


def _build_without_table(
    model: MultilingualModel,
    tag: str,
    source: str | None,
    bottleneck: int,
    seed: int,
    related: Related | None,
    started: float,
) -> BuildResult:
    """Build a language that reads the native table, or that of a source, projected as PyTorch draws it (the paper)."""
    tokenizer, about = None, None
    if source is not None:
        table = open_table(source)
        about = table.to_json(source)
        content = composed_first(Tokenizer.from_str(table.tokenizer)).to_str()
        tokenizer = LanguageTokenizer(content, model.base.max_tokens)
    with _seeded(seed):
        model.add(tag, tokenizer=tokenizer, bottleneck=bottleneck, pretrained=about)
    if related is not None:
        copy_related(model, tag, related)
    pieces = tokenizer.size if tokenizer else 0
    return BuildResult(pieces, 0, parameters(model, tag), time.monotonic() - started, table=about)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's own generator, which modules are drawn with, and leave it as it was."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def parameters(model: MultilingualModel, tag: str) -> int:
    """Return how many parameters a language owns."""
    return sum(one.numel() for one in adapter_parameters(model.peft, model.language(tag).adapter).values())
