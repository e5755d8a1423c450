"""The data doctor: what is wrong with data before anything is trained on it. Imports no torch."""

from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from mla_extend.add.request import check, leak_index, of_images
from mla_extend.bases.source import DEMO, text_positions
from mla_extend.data.codes import language_name, language_tag
from mla_extend.data.doctor import PROBLEMS, Findings, marked
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.pairs import ImageText, ParallelText, join_images, join_parallel
from mla_extend.data.source import open_source
from mla_extend.data.specification import parse_columns
from mla_extend.data.suggest import suggest_from_files
from mla_extend.demo.sources import read_tests
from mla_extend.errors import DataError
from mla_extend.flat import Texts
from mla_extend.images.check import unreadable_images
from mla_extend.language.normaliser import learn_normaliser
from mla_extend.language.pieces import tokenizer_json, train_pieces, usual_letters, vocabulary_size
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.store import Registry

SAMPLES = 8
"""Rows shown of each problem."""
LEARNED = 50_000
"""Sentences, evenly taken, that the tokenizer is built from here; its vocabulary has the size that all would give."""
COUNTED = 20_000
"""Sentences, evenly taken, over which tokens a word are averaged."""
TRUNCATED = "truncated"


def inspect_data(
    paths: Sequence[str | Path],
    language: str,
    *,
    native: str = "en",
    test_set: str | Path | None = None,
    columns: str | None = None,
    format: str | None = None,  # noqa: A002 - named as the option is
    filter: str = "default",  # noqa: A002
    base: str | None = None,
    registry: str | Path | None = None,
    suggest: int | None = None,
    needed: Path | None = None,
    pool: Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Return what is wrong with data, and how much the checks of `add_language` would keep.

    Args:
        paths: parallel text and images with text, each as `[FORMAT:]PATH[#SPLIT]`.
        language: code of the language.
        native: code of the base's own language.
        test_set: data whose sentences and images must not stand in the rest.
        columns: `ROLE=COLUMN,...`.
        format: name of the data's format, where it is not recognised.
        filter: `strict`, `default` or `off`: the level whose `kept` is told.
        base: where the base would come from, which decides where text is cut.
        registry: the registry's folder, for the base that it holds.
        suggest: how many native sentences to name that are most worth translating next.
        needed, pool: native text whose words are needed, and sentences to choose among, as `suggest_from_files` has it.
        progress: told of long work.

    Images are looked at too: each is decoded. Where parallel text has images, its pairs are kept without those that
    cannot be read.

    Returns:
        `{"pairs", "kept", "problems": {NAME: count}, "samples": {NAME: [...]}, "tokens": {...}, ...}`. Each row counts
        under its first problem, but `truncated` is counted over the rows kept. `tokens` is `None` if none are.
        `suggested`, where it was asked for, is what `suggest` returns.

    Raises:
        LanguageError: it is no language code.
        DataError: a source cannot be used.
    """
    mapping = ColumnMapping(language_tag(language), native, parse_columns(columns))
    tests = read_tests(test_set, mapping, progress)[1] if test_set is not None else None
    leaks = leak_index(tests, progress) if tests is not None else None
    sources = [open_source(path, mapping, format) for path in paths]
    if not sources:
        raise DataError("There is nothing to inspect. Give a file of parallel text or of images with text.")
    progress.start("Reading")
    texts: list[ParallelText] = []
    pictures: list[ImageText] = []
    both: list[ImageText] = []  # of parallel text with images
    for source in sources:
        if not source.has_images or source.has_native:
            texts.append(source.parallel())
        if source.has_images:
            (both if source.has_native else pictures).append(source.captions())
    progress.finish()
    found: list[tuple[ParallelText | ImageText, Findings]] = []
    unreadable: dict[Path, str] = {}
    if texts:
        parallel = join_parallel(texts)
        found.append((parallel, check(parallel, mapping, filter, leaks, progress)))
    if pictures:
        images = join_images(pictures)
        unreadable |= unreadable_images(images.images, progress)
        found.append((images, check(images, mapping, filter, leaks, progress, unreadable)))
    told = [*found]
    if both:
        images = join_images(both)
        unreadable |= unreadable_images(images.images, progress)
        told.append((images, marked("unreadable", of_images(images, unreadable))))
    kept = Texts.of(text for data, findings in found for text in compress(data.texts, findings.kept))
    suggested = {}
    if suggest is not None:
        progress.start("Choosing sentences")
        known = parallel.subset(found[0][1].kept).native if texts else []
        suggested["suggested"] = suggest_from_files(suggest, known, needed=needed, pool=pool, tests=tests, leaks=leaks)
        progress.finish()
    tokens = None
    positions, positions_of = text_positions(base or Registry(registry).base_source() or DEMO)
    if kept:
        tokens = {
            **_tokens(kept, mapping.language, positions, progress),
            "positions": positions,
            "positions_of": positions_of,
        }
    problems = {name: sum(findings.counts()[name] for _, findings in told) for name in PROBLEMS}
    return {
        "paths": [str(path) for path in paths],
        "language": mapping.language,
        "language_name": language_name(mapping.language),
        "native": native,
        "level": filter,
        "pairs": sum(len(data) for data, _ in found),
        "kept": len(kept),
        "problems": {**problems, TRUNCATED: tokens[TRUNCATED] if tokens else 0},
        "samples": {name: _samples(name, told, unreadable) for name in PROBLEMS if problems[name]},
        "tokens": tokens,
        "licence": next((source.licence for source in sources if source.licence), None),
        **suggested,
    }


def _samples(
    name: str, found: Sequence[tuple[ParallelText | ImageText, Findings]], unreadable: Mapping[Path, str]
) -> list[dict[str, Any]]:
    return [
        {
            "where": data.where(row),
            "native": data.native[row] if isinstance(data, ParallelText) else None,
            "target": data.texts[row],
            "note": None if isinstance(data, ParallelText) else _note(data.images[data.image_of_text[row]], unreadable),
        }
        for data, findings in found
        for row in findings.samples(name, SAMPLES)
    ][:SAMPLES]


def _note(image: Path, unreadable: Mapping[Path, str]) -> str:
    return unreadable.get(image, image.name)


def _tokens(texts: Texts, language: str, positions: int, progress: Progress) -> dict[str, Any]:
    """Return what the tokenizer that would be built makes of the texts: its size, tokens a word, texts cut."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - after the checks, which need none

    progress.start("Building a tokenizer")
    different = texts.different()
    learned = different.evenly(LEARNED)
    normaliser = learn_normaliser(learned, language=language)
    size, letters = vocabulary_size(different), usual_letters(language)
    pieces = train_pieces(learned, size=size, normaliser=normaliser, letters=letters)
    tokenizer = Tokenizer.from_str(tokenizer_json(pieces, normaliser))
    sample = texts.evenly(COUNTED)
    words = sum(len(text.split()) for text in sample)
    counted = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(list(sample), add_special_tokens=False))
    # A text has at most as many tokens as bytes, one for the leading space, and two special ones.
    long = [text for text in texts if len(text.encode("utf-8", "surrogatepass")) + 3 > positions]
    cut = 0
    for start in range(0, len(long), 1024):
        batch = tokenizer.encode_batch(long[start : start + 1024])
        cut += sum(len(encoding.ids) > positions for encoding in batch)
    progress.finish()
    return {
        "vocabulary": tokenizer.get_vocab_size(),
        "per_word": round(counted / max(1, words), 3),
        TRUNCATED: cut,
        "truncated_share": round(cut / max(1, len(texts)), 6),
    }


def summary(found: Mapping[str, Any]) -> str:
    """Return the outcome in one sentence."""
    lost = found["pairs"] - found["kept"]
    share = lost / found["pairs"] if found["pairs"] else 0
    return f"{found['kept']:,} of {found['pairs']:,} rows are kept at --filter {found['level']} ({share:.1%} dropped)."
