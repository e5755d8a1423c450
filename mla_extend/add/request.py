"""What the user asks for, read and checked before anything slow is opened."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.source import DEMO
from mla_extend.data.codes import language_tag
from mla_extend.data.columns import check_captions_read
from mla_extend.data.doctor import PROBLEMS, Findings, examine
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.leaks import LeakIndex
from mla_extend.data.pairs import (
    ImageText,
    Mask,
    MonolingualText,
    ParallelText,
    Sample,
    join_images,
    join_parallel,
    join_texts,
)
from mla_extend.data.source import Source
from mla_extend.data.specification import parse_columns
from mla_extend.data.test_sets import TestSet
from mla_extend.demo.sources import DEMO_WEIGHTED, open_training_source, read_tests
from mla_extend.errors import DataError, LanguageError
from mla_extend.flat import Texts
from mla_extend.progress import SILENT, Progress
from mla_extend.training.recipe import Recipe, load_recipe
from mla_extend.training.schedule import seconds_of

COPIED = 0.5
"""Share of pairs with equal sides from which a target column counts as a copy of the native one."""

Data = str | Path | Sequence[str | Path]
Checked = TypeVar("Checked", ParallelText, ImageText, MonolingualText)


@dataclass(frozen=True)
class Request:
    """Hold what is to be added: language, data, recipe, seed, and the tag of the language that it starts from.

    `data` is what the card says of each source, `time` the seconds that the whole run may take.
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
    text: Texts = field(default_factory=lambda: Texts.of([]))
    time: float | None = None


def read_request(
    language: str,
    *,
    parallel_data: Data,
    image_text: Data = (),
    lexicon: Data = (),
    text: Data = (),
    recipe: str = "default",
    overrides: Sequence[str] = (),
    test_set: str | Path | None = None,
    licence: str | None = None,
    columns: str | None = None,
    format: str | None = None,  # noqa: A002 - named as the option is
    filter: str = "default",  # noqa: A002
    max_pairs: int | None = None,
    seed: int = 0,
    start_from: str | None = None,
    time: str | float | None = None,
    native: str = "en",
    progress: Progress = SILENT,
) -> Request:
    """Read and check what `add_language` is given, whose arguments these are.

    Args:
        native: tag of the base's own language.
        progress: told of long work.

    Raises:
        LanguageError: it is no language code, or is to start from itself.
        RecipeError: the recipe has problems, or the time is none.
        DataError: a source cannot be used.
    """
    tag = language_tag(language)
    related = None if start_from is None else language_tag(start_from)
    if related == tag:
        raise LanguageError(
            f"{tag!r} cannot start from itself. Give a related language of the registry with --start-from, or leave it "
            "out."
        )
    values = load_recipe(recipe, overrides)
    seconds = None if time is None else seconds_of(time)
    mapping = ColumnMapping(tag, native, parse_columns(columns))
    given = {"parallel": parallel_data, "image_text": image_text, "lexicon": lexicon, "text": text}
    sources = {
        role: [
            open_training_source(one, role, mapping, progress, format_name=format, licence=licence)
            for one in _several(data)
        ]
        for role, data in given.items()
    }
    if not sources["parallel"]:
        raise DataError("There is no parallel text. Give some with --parallel-data: a file, or demo.")
    if test_set is None and any(
        DEMO_WEIGHTED.fullmatch(one.text) for one in (*sources["parallel"], *sources["image_text"])
    ):
        test_set = DEMO
    tests = None if test_set is None else read_tests(test_set, mapping, progress)
    leaks = leak_index(tests[1], progress) if tests is not None and tests[0].text != DEMO else None
    reading = _Reading(mapping, filter, leaks, progress)
    sample, seen = Sample(max_pairs, seed), [0]

    def read_some(source: Source) -> ParallelText:
        pairs = source.parallel(sample)
        seen.append(sample.seen)
        return pairs

    def join_sampled(parts: Sequence[ParallelText]) -> ParallelText:
        return sample.of(join_parallel(parts))

    parallel = reading.read("parallel", sources["parallel"], read_some, join_sampled, _refuse_copies)
    assert parallel is not None
    for record, rows in zip(reading.records, np.diff(seen).tolist(), strict=True):
        if record["pairs"] < rows:
            record["sampled_from"] = rows
    natives = parallel.native
    words = reading.read("lexicon", sources["lexicon"], Source.parallel, join_parallel, _refuse_copies)
    sentences = reading.read("text", sources["text"], Source.sentences, join_texts)
    images = reading.read(
        "image_text",
        sources["image_text"] or [source for source in sources["parallel"] if source.has_images],
        Source.captions,
        join_images,
        lambda images: check_captions_read(images.source, images.texts, natives, mapping),
    )
    if tests is not None:
        named = {"columns": columns} if columns else {}
        reading.records.append({**tests[0].record("test_set", tests[1].rows), **named})
    return Request(
        tag=tag,
        parallel=parallel,
        image_text=images,
        test_set=tests[1] if tests else None,
        recipe=values,
        seed=seed,
        data=reading.records,
        filter=filter,
        pairs_read=sum(record["pairs"] for record in reading.records if record["role"] == "parallel"),
        columns={str(role): name for role, name in mapping.columns.items()},
        start_from=related,
        lexicon=words,
        text=sentences.texts.different() if sentences else Texts.of([]),
        time=seconds,
    )


@dataclass
class _Reading:
    """Read the sources of one role after another, all in one way, and gather what the card says of them."""

    mapping: ColumnMapping
    level: str
    leaks: LeakIndex | None
    progress: Progress
    records: list[dict[str, Any]] = field(default_factory=list)

    def read(
        self,
        role: str,
        sources: Sequence[Source],
        read: Callable[[Source], Checked],
        join: Callable[[Sequence[Checked]], Checked],
        refuse: Callable[[Checked], None] = lambda _: None,
    ) -> Checked | None:
        """Return the rows of the sources that pass the checks, or `None` where there is no source.

        Raises:
            DataError: a source cannot be used, or the checks leave nothing.
        """
        if not sources:
            return None
        data = join([read(source) for source in sources])
        refuse(data)
        findings = check(data, self.mapping, self.level, self.leaks, self.progress)
        _refuse_nothing(data, findings)
        for number, source in enumerate(sources):
            mine = data.part_of == number
            kept = _kept(findings.codes[mine], findings.kept[mine])
            self.records.append(source.record(role, int(mine.sum()), **kept))
        return data.subset(findings.kept)


def check(
    data: ParallelText | ImageText | MonolingualText,
    mapping: ColumnMapping,
    level: str,
    leaks: LeakIndex | None,
    progress: Progress,
    unreadable: Container[Path] = (),
) -> Findings:
    """Return what is wrong with each row of data, some of whose images may be unreadable."""
    native = data.native if isinstance(data, ParallelText) else None
    images = data if isinstance(data, ImageText) else None
    leaked = None
    if leaks is not None and images is not None:
        shown = leaks.images(images.images, progress)[np.asarray(images.image_of_text)]
        leaked = leaks.captions(images.texts) | shown
    elif leaks is not None:
        leaked = leaks.texts(data.texts, native)
    return examine(
        data.texts,
        native,
        language=mapping.language,
        native_language=mapping.native,
        level=level,
        leaked=leaked,
        owners=images.image_of_text if images is not None else None,
        unreadable=of_images(images, unreadable) if images is not None else None,
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
        [text for split in splits for text in split.texts],
        [text for split in splits for text in split.native or ()],
        dict.fromkeys(image for split in pictures for image in split.images),
        [pair for split in aligned for pair in zip(split.texts, split.native or (), strict=False)],
        progress,
    )


def drop_unreadable(request: Request, unreadable: Mapping[Path, object]) -> Request:
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


def _refuse_nothing(data: ParallelText | ImageText | MonolingualText, findings: Findings) -> None:
    if not findings.kept.any():
        reasons = ", ".join(f"{name} {count}" for name, count in findings.counts().items() if count)
        raise DataError(
            f"{data.source}: the checks leave nothing of {len(data)} rows ({reasons}). See mla-extend inspect, check "
            "the language code, or keep everything with --filter off."
        )


def _kept(codes: NDArray[np.uint8], kept: Mask) -> dict[str, Any]:
    """Return what a card says of rows that were checked."""
    counts = np.bincount(codes[~kept], minlength=len(PROBLEMS) + 1)[1:]
    dropped = {name: int(count) for name, count in zip(PROBLEMS, counts, strict=True) if count}
    return {"kept": int(kept.sum()), "dropped": dropped}


def _refuse_copies(parallel: ParallelText) -> None:
    """Refuse parallel text that is mostly the same on both sides: most likely the wrong column was read."""
    pairs = same = 0
    first = ""
    for native, target in zip(parallel.native, parallel.target, strict=True):
        pairs += bool(native)
        if native.casefold() == target.casefold() and any(map(str.isalpha, native)):
            same += 1
            first = first or native
    if same > COPIED * pairs:
        raise DataError(
            f"{parallel.source}: in {same} of {pairs} pairs the target is a copy of the native text, for example "
            f"{first[:60]!r}. Check that the second column holds the new language."
        )


def _several(value: Data | None) -> tuple[str | Path, ...]:
    """Return data, of which there may be one or several, as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str | Path) else tuple(value)
