"""What the user asked for, read and checked before anything slow is opened."""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.source import DEMO
from mla_extend.data.codes import language_tag
from mla_extend.data.columns import check_captions_read
from mla_extend.data.doctor import PROBLEMS, Findings, examine
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.given import TRAINING_SPLITS, parse_columns, parse_given, parse_sentences, split_of
from mla_extend.data.leaks import LeakIndex
from mla_extend.data.pairs import ImageText, Mask, ParallelText, join_images, join_parallel
from mla_extend.data.read import has_images, read_image_text, read_parallel
from mla_extend.data.test_sets import TestSet
from mla_extend.demo.sources import Source, demo_source, read_tests
from mla_extend.errors import DataError, LanguageError
from mla_extend.progress import SILENT, Progress
from mla_extend.training.recipe import Recipe, load_recipe

DEMO_WEIGHTED = re.compile(r"demo(?:=(\d+(?:\.\d+)?))?")
COPIED = 0.5
"""Share of pairs with equal sides from which a target column counts as a copy of the native one."""


@dataclass(frozen=True)
class Asked:
    """Hold the arguments of a request as they were given.

    Attributes:
        language: a language code.
        parallel_data, image_text: data as `data/given.py` reads it, or `demo`; each may be several.
        lexicon: word lists, given alike.
        text: files of text of the language, a sentence a line.
        test_set: the same, one.
        recipe: a recipe's name or file, and `overrides` of its values.
        licence: of the files given.
        columns: `ROLE=COLUMN,...`.
        format: name of the format of all training files that have no prefix of their own.
        filter: `strict`, `default` or `off`.
        seed: decides everything that is drawn.
        start_from: code of a language that it starts from a copy of.
    """

    language: str
    parallel_data: Sequence[str | Path] = ()
    image_text: Sequence[str | Path] = ()
    test_set: str | Path | None = None
    recipe: str = "default"
    overrides: Sequence[str] = ()
    licence: str | None = None
    columns: str | None = None
    format: str | None = None
    filter: str = "default"
    seed: int = 0
    start_from: str | None = None
    lexicon: Sequence[str | Path] = ()
    text: Sequence[str | Path] = ()


@dataclass(frozen=True)
class Request:
    """Hold what is to be added: language, data, recipe, seed, and the tag of the language that it starts from.

    `data` is what the card says of each source.
    """

    tag: str
    parallel: ParallelText
    image_text: ImageText | None
    test_set: TestSet | None
    recipe: Recipe
    seed: int
    data: list[dict[str, Any]]
    filter: str = "default"
    pairs_read: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    start_from: str | None = None
    lexicon: ParallelText | None = None
    text: Sequence[str] = ()


def read_request(asked: Asked, native: str = "en", progress: Progress = SILENT) -> Request:
    """Read and check what was asked for.

    Args:
        asked: the arguments.
        native: tag of the base's own language.
        progress: told of long work.

    Raises:
        LanguageError: it is no language code, or is to start from itself.
        RecipeError: the recipe has problems.
        DataError: a source cannot be used.
    """
    tag = language_tag(asked.language)
    start_from = None if asked.start_from is None else language_tag(asked.start_from)
    if start_from == tag:
        raise LanguageError(
            f"{tag!r} cannot start from itself. Give a related language of the registry with --start-from, or leave it "
            "out."
        )
    recipe = load_recipe(asked.recipe, asked.overrides)
    columns = parse_columns(asked.columns)
    mapping = ColumnMapping(tag, native, columns)
    texts = [_source(value, "parallel", asked, mapping, progress) for value in asked.parallel_data]
    pictures = [_source(value, "image_text", asked, mapping, progress) for value in asked.image_text]
    lists = [_source(value, "lexicon", asked, mapping, progress) for value in asked.lexicon]
    if not texts:
        raise DataError("There is no parallel text. Give some with --parallel-data: a file, or demo.")
    tests = _tests(asked, mapping, progress)
    leaks = None
    if tests is not None and tests[0].given.text != DEMO:
        leaks = leak_index(tests[1], progress)
    read = [read_parallel(source.given, mapping) for source in texts]
    parallel = join_parallel(read)
    _refuse_copies(parallel)
    findings = check_pairs(parallel, mapping, asked.filter, leaks, progress)
    _refuse_nothing(parallel, findings)
    data = _records("parallel", texts, read, findings, mapping)
    words = None
    if lists:
        read = [read_parallel(source.given, mapping) for source in lists]
        words = join_parallel(read)
        _refuse_copies(words)
        entries = check_pairs(words, mapping, asked.filter, leaks, progress)
        _refuse_nothing(words, entries)
        data += _records("lexicon", lists, read, entries, mapping)
        words = words.subset(entries.kept)
    sentences: list[str] = []
    for value in asked.text:
        kept, record = _text(value, asked, mapping, leaks, progress)
        sentences += kept
        data.append(record)
    images = None
    pictures = pictures or [source for source in texts if has_images(source.given, mapping)]
    if pictures:
        shown = [read_image_text(source.given, mapping) for source in pictures]
        images = join_images(shown)
        check_captions_read(images.source, images.texts, parallel.native, mapping)
        seen = check_captions(images, mapping, asked.filter, leaks, progress)
        _refuse_nothing(images, seen)
        data += _records("image_text", pictures, shown, seen, mapping)
        images = images.subset(seen.kept)
    if tests is not None:
        data.append(tests[0].record("test_set", tests[1].rows, mapping))
        if asked.columns:
            data[-1]["columns"] = asked.columns
    return Request(
        tag=tag,
        parallel=parallel.subset(findings.kept),
        image_text=images,
        test_set=tests[1] if tests else None,
        recipe=recipe,
        seed=asked.seed,
        data=data,
        filter=asked.filter,
        pairs_read=len(parallel),
        columns={str(role): name for role, name in columns.items()},
        start_from=start_from,
        lexicon=words,
        text=list(dict.fromkeys(sentences)),
    )


def _text(
    value: str | Path, asked: Asked, mapping: ColumnMapping, leaks: LeakIndex | None, progress: Progress
) -> tuple[list[str], dict[str, Any]]:
    """Return the sentences of a file of text that pass the checks, and what the card says of it."""
    source = Source(parse_sentences(str(value)), asked.licence)
    rows = source.given.format.rows(source.given.path, mapping)
    texts = [" ".join(row.values["target"].split()) for row in rows]
    findings = examine(
        texts,
        None,
        language=mapping.language,
        native_language=mapping.native,
        level=asked.filter,
        leaked=leaks.texts(texts) if leaks is not None else None,
        progress=progress,
    )
    kept = [text for text, keep in zip(texts, findings.kept, strict=True) if keep]
    return kept, source.record("text", len(texts), mapping, **_kept(findings.codes, findings.kept))


def check_pairs(
    parallel: ParallelText, mapping: ColumnMapping, level: str, leaks: LeakIndex | None, progress: Progress
) -> Findings:
    """Return what is wrong with pairs of parallel text."""
    leaked = leaks.texts(parallel.target, parallel.native) if leaks is not None else None
    return examine(
        parallel.target,
        parallel.native,
        language=mapping.language,
        native_language=mapping.native,
        level=level,
        leaked=leaked,
        progress=progress,
    )


def check_captions(
    images: ImageText,
    mapping: ColumnMapping,
    level: str,
    leaks: LeakIndex | None,
    progress: Progress,
    unreadable: Container[Path] = (),
) -> Findings:
    """Return what is wrong with images' texts, some of whose images cannot be read."""
    leaked = None
    if leaks is not None:
        leaked = leaks.captions(images.texts) | leaks.images(images.images, progress)[np.asarray(images.image_of_text)]
    return examine(
        images.texts,
        None,
        language=mapping.language,
        native_language=mapping.native,
        level=level,
        leaked=leaked,
        owners=images.image_of_text,
        unreadable=of_images(images, unreadable),
        progress=progress,
    )


def of_images(data: ImageText, images: Container[Path]) -> Mask:
    """Say which texts `[C]` are of certain images."""
    chosen: Mask = np.array([image in images for image in data.images])[np.asarray(data.image_of_text)]
    return chosen


def leak_index(tests: TestSet, progress: Progress = SILENT) -> LeakIndex:
    """Return what tells whether training data holds something of a test set."""
    splits = list(tests.splits.values())
    pictures = [split for split in splits if isinstance(split, ImageText)]
    aligned = [split for split in splits if isinstance(split, ParallelText) or split.native_image_of is None]
    return LeakIndex(
        [text for split in splits for text in _texts(split)],
        [text for split in splits for text in split.native or ()],
        dict.fromkeys(image for split in pictures for image in split.images),
        [pair for split in aligned for pair in zip(_texts(split), split.native or (), strict=False)],
        progress,
    )


def drop_unreadable(request: Request, unreadable: Mapping[Path, str]) -> Request:
    """Return a request without the rows of images that cannot be read; its records say how many were dropped.

    Args:
        request: has images.
        unreadable: images that cannot be read, and why.

    Raises:
        DataError: nothing is left.
    """
    pictures = request.image_text
    if pictures is None or not unreadable:
        return request
    there = np.array([image not in unreadable for image in pictures.images])
    kept = ~of_images(pictures, unreadable)
    if not kept.any():
        first = next(iter(unreadable.values()))
        raise DataError(f"{pictures.source}: none of its {len(there)} images can be read. {first}")
    # Each source's rows stand together, in the order of the records.
    data, part = [], 0
    for record in request.data:
        if record["role"] == "image_text":
            rows = int((pictures.part_of[~kept] == part).sum())
            part += 1
            if rows:
                dropped = {**record["dropped"], "unreadable": rows}
                record = {**record, "kept": record["kept"] - rows, "dropped": dropped}  # noqa: PLW2901
        data.append(record)
    return replace(request, image_text=pictures.with_images(there), data=data)


def _texts(split: ImageText | ParallelText) -> list[str]:
    return split.texts if isinstance(split, ImageText) else split.target


def _refuse_nothing(data: ParallelText | ImageText, findings: Findings) -> None:
    if not findings.kept.any():
        reasons = ", ".join(f"{name} {count}" for name, count in findings.counts().items() if count)
        raise DataError(
            f"{data.source}: the checks leave nothing of {len(data)} rows ({reasons}). See mla-extend inspect, check "
            "the language code, or keep everything with --filter off."
        )


def _records(
    role: str,
    sources: Sequence[Source],
    read: Sequence[ParallelText | ImageText],
    findings: Findings,
    mapping: ColumnMapping,
) -> list[dict[str, Any]]:
    """Return the records of the sources of one role: rows read, kept and dropped of each."""
    records, start = [], 0
    for source, data in zip(sources, read, strict=True):
        mine = slice(start, start + len(data))
        start += len(data)
        records.append(source.record(role, len(data), mapping, **_kept(findings.codes[mine], findings.kept[mine])))
    return records


def _kept(codes: NDArray[np.uint8], kept: Mask) -> dict[str, Any]:
    """Return what a card says of rows that were checked."""
    counts = np.bincount(codes[~kept], minlength=len(PROBLEMS) + 1)[1:]
    dropped = {name: int(count) for name, count in zip(PROBLEMS, counts, strict=True) if count}
    return {"kept": int(kept.sum()), "dropped": dropped}


def _source(value: str | Path, role: str, asked: Asked, mapping: ColumnMapping, progress: Progress) -> Source:
    """Return a source of training data as it was given."""
    if role != "lexicon" and (demo := DEMO_WEIGHTED.fullmatch(str(value))) and not Path(str(value)).exists():
        source = demo_source(role, mapping.language, progress)
        return replace(source, given=replace(source.given, text=str(value), weight=float(demo[1] or 1)))
    given = parse_given(str(value), mapping, asked.format)
    given = replace(given, split=split_of(given, mapping, TRAINING_SPLITS))
    return Source(given, asked.licence or given.format.licence(given.path))


def _tests(asked: Asked, mapping: ColumnMapping, progress: Progress) -> tuple[Source, TestSet] | None:
    value = asked.test_set
    if value is None and any(DEMO_WEIGHTED.fullmatch(str(one)) for one in (*asked.parallel_data, *asked.image_text)):
        value = DEMO
    if value is None:
        return None
    return read_tests(value, mapping, progress)


def _refuse_copies(parallel: ParallelText) -> None:
    """Refuse parallel text that is mostly the same on both sides: most likely the wrong column was read."""
    pairs = [(native, target) for native, target in zip(parallel.native, parallel.target, strict=True) if native]
    same = [
        native for native, target in pairs if native.casefold() == target.casefold() and any(map(str.isalpha, native))
    ]
    if len(same) > COPIED * len(pairs):
        raise DataError(
            f"{parallel.source}: in {len(same)} of {len(pairs)} pairs the target is a copy of the native text, for "
            f"example {same[0][:60]!r}. Check that the second column holds the new language."
        )


def as_sources(value: str | Path | Sequence[str | Path] | None) -> tuple[str | Path, ...]:
    """Return what a function got for its data, one or several, as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str | Path) else tuple(value)
