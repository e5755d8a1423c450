"""Read a card from elsewhere: all that is read again of it is there, of its type, and within its bounds.

A registry's own cards need none of this: this package wrote them, and their digest tells of edits.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mla_extend.errors import AGAIN, DataError, LanguageError, RegistryError
from mla_extend.plain import odd_values
from mla_extend.registry import layout
from mla_extend.registry.card import Card, read_card
from mla_extend.registry.contents import NOTHING, check_contents
from mla_extend.wrong_values import shown, wrong

AHEAD = timedelta(days=1)
"""How far the clock of who made a version may be ahead of the one here."""
LARGEST_RATIO = 1_000_000
"""Of a language's figure to the base's own, which may be near nothing."""


class _Part(BaseModel):
    """A part whose keys that this version does not know are passed over."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    needs: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Of a part of one of several kinds: a key that tells the kind, and the others that such a part must have."""

    @model_validator(mode="after")
    def _check_needs(self) -> Self:
        given = self.model_fields_set
        missing = [name for key, names in self.needs.items() if key in given for name in names if name not in given]
        if missing:
            raise ValueError(f"{missing[0]!r} is missing")
        return self


def _past(name: str) -> str:
    moment = layout.moment_of(name)
    if moment is None:
        raise ValueError(f"{shown(name)} is not the name of a version")
    if moment > datetime.now(UTC) + AHEAD:
        raise ValueError(f"{name!r} is in the future")
    return name


Shown = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\[\]<>\n]+$")]
"""A name or a short text of our own: no mark-up of a terminal or a page."""
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
VersionName = Annotated[str, AfterValidator(_past)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0, le=LARGEST_RATIO)]
Shares = Annotated[list[Share], Field(min_length=2, max_length=2)]
Ratios = Annotated[list[Ratio], Field(min_length=2, max_length=2)]
Recalls = dict[str, Share] | None


class _Base(_Part):
    name: Shown
    fingerprint: Hash
    family: Shown
    native: Shown
    source: str | None = None
    licence: str | None = None


class _Recipe(_Part):
    name: str | None = None


class _Data(_Part):
    role: Shown
    path: str
    pairs: Count
    format: str | None = None
    sha256: str | None = None
    split: str | None = None
    kept: Count | None = None
    dropped: dict[str, Count] | None = None
    sampled_from: Count | None = None
    licence: str | None = None
    noncommercial: bool | None = None


class _Split(_Part):
    needs: ClassVar = {
        "gallery": (
            "mean_recall",
            "ci95",
            "native_mean_recall",
            "ratio",
            "floor_mean_recall",
            "chance_mean_recall",
            "metrics",
        ),
        "to_native_accuracy": (
            "pairs",
            "native_candidates",
            "to_native_ci95",
            "floor_to_native_accuracy",
            "from_native_accuracy",
            "cosine",
            "mse",
        ),
    }
    gallery: Count | None = None
    captions: Count | None = None
    mean_recall: Share | None = None
    ci95: Shares | None = None
    t2i_mean_recall: Share | None = None
    native_mean_recall: Share | None = None
    ratio: Ratio | None = None
    ratio_ci95: Ratios | None = None
    floor_mean_recall: Share | None = None
    chance_mean_recall: Share | None = None
    metrics: Recalls = None
    native_metrics: Recalls = None
    floor_metrics: Recalls = None
    pairs: Count | None = None
    candidates: Count | None = None
    native_candidates: Count | None = None
    english_candidates: Count | None = None
    to_native_accuracy: Share | None = None
    to_native_ci95: Shares | None = None
    from_native_accuracy: Share | None = None
    from_native_ci95: Shares | None = None
    floor_to_native_accuracy: Share | None = None
    chance_to_native_accuracy: Share | None = None
    to_english: Share | None = None
    from_english: Share | None = None
    cosine: float | None = None
    mse: float | None = None


class _Metrics(_Part):
    needs: ClassVar = {"splits": ("language", "base", "test_set")}
    language: Shown | None = None
    base: Shown | None = None
    native: str | None = None
    test_set: str | None = None
    protocol: str | None = None
    seed: int | None = None
    splits: dict[Shown, _Split] = Field(default_factory=dict)
    text_transfer: _Split | None = None


class _Table(_Part):
    source: str
    fingerprint: str


class _Start(_Part):
    language: str
    version: str


class _Stage(_Part):
    needs: ClassVar = {
        "pieces": ("aligned", "seconds"),
        "steps": ("step0_score", "best_score", "kept_step", "seconds", "stopped"),
    }
    stage: Shown
    pieces: Count | None = None
    aligned: Count | None = None
    native_pieces: Count | None = None
    steps: Count | None = None
    kept_step: Count | None = None
    step0_score: float | None = None
    best_score: float | None = None
    seconds: float | None = None
    stopped: Shown | None = None
    table: _Table | None = None
    start_from: _Start | None = None


class _Cost(_Part):
    seconds: float
    peak_memory_bytes: float
    pairs: float | None = None
    device: str | None = None


class _Unmoved(_Part):
    vectors_equal: bool | None = None
    as_recorded: bool | None = None
    files_equal: bool | None = None


class _Isolation(_Part):
    ok: bool
    seconds: float | None = None
    languages: dict[str, _Unmoved] = Field(default_factory=dict)


class _ForeignCard(_Part):
    """What of a card from elsewhere this package reads again, with the types that it reads."""

    language: Shown
    language_name: Shown
    version: VersionName
    created: Annotated[str, Field(max_length=40)]
    base: _Base
    recipe: _Recipe
    data: list[_Data]
    metrics: _Metrics
    versions: dict[str, str]
    seed: Count
    parameters: Count
    bytes: Count
    cost: _Cost
    stages: list[_Stage]
    isolation: _Isolation
    files: dict[str, Hash]


def foreign_card(folder: Path, what: str) -> Card:
    """Read a card from elsewhere.

    Args:
        folder: where it lies.
        what: where it came from, for the message.

    Raises:
        RegistryError: it is damaged or edited, or is no card.
        DataError: it holds a value that no card from elsewhere may hold.
    """
    try:
        card = read_card(folder)
    except RegistryError as error:
        raise RegistryError(as_foreign(error, folder, what)) from error
    for fault in odd_values(vars(card), "card"):
        raise DataError(f"{what}: in its {layout.CARD}, {fault}. {NOTHING}")
    try:
        _ForeignCard.model_validate(vars(card))
        layout.check_language(card.language)
        layout.check_base_name(card.base["name"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise DataError(f"{what}: in its {layout.CARD}, {where}: {wrong(first)}. {NOTHING}") from error
    except (LanguageError, RegistryError) as error:
        raise DataError(f"{what}: in its {layout.CARD}, {error} {NOTHING}") from error
    check_contents([(name, 0) for name in (layout.CARD, *card.files)], f"{what}: {layout.CARD}")
    return card


def as_foreign(error: RegistryError, folder: Path, what: str) -> str:
    """Return what the registry says of a version, as it is of one that lies elsewhere."""
    text = str(error).replace(f"{folder}{os.sep}", "")
    for remedy in (AGAIN, "Move it out of the registry."):
        text = text.replace(remedy, "Ask for it again.")
    return f"{what}: {text} {NOTHING}"
