"""Read a card from elsewhere: beyond what any card must be, all that is shown of it is there and of its type."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mla_extend.errors import DataError, LanguageError, RegistryError
from mla_extend.registry import layout
from mla_extend.registry.card import AGAIN, Card, read_card
from mla_extend.registry.contents import NOTHING, check_contents
from mla_extend.wrong_values import shown, wrong

_HASH = r"^[0-9a-f]{64}$"


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


Shown = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\[\]<>\n]+$")]
"""A name or a short text of our own: no mark-up of a terminal or a page."""
Count = Annotated[int, Field(ge=0)]
AHEAD = timedelta(days=1)
"""How far the clock of who made a version may be ahead of the one here."""


def _past(name: str) -> str:
    moment = layout.moment_of(name)
    if moment is None:
        raise ValueError(f"{shown(name)} is not the name of a version")
    if moment > datetime.now(UTC) + AHEAD:
        raise ValueError(f"{name!r} is in the future")
    return name


Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Base(_Part):
    name: Shown
    fingerprint: Annotated[str, Field(pattern=_HASH)]
    family: Shown
    native: Shown
    source: str | None = None
    licence: str | None = None


class _Data(_Part):
    role: Shown
    path: str
    pairs: Count
    format: str | None = None
    sha256: str | None = None
    kept: Count | None = None
    dropped: dict[str, Count] | None = None
    licence: str | None = None
    noncommercial: bool | None = None


class _Parted(_Part):
    """A part of one of several kinds, each known by a key and needing others."""

    needed: ClassVar[dict[str, tuple[str, ...]]] = {}

    @model_validator(mode="after")
    def _check_needed(self) -> Self:
        held = self.model_fields_set | set(self.model_extra or {})
        missing = [name for key, names in self.needed.items() if key in held for name in names if name not in held]
        if missing:
            raise ValueError(f"{missing[0]!r} is missing")
        return self


class _Split(_Parted):
    needed: ClassVar = {
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
    gallery: Count = 0
    captions: Count = 0
    mean_recall: float = 0
    ci95: Interval | None = None
    native_mean_recall: float | None = None
    ratio: float | None = None
    floor_mean_recall: float | None = None
    chance_mean_recall: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    pairs: Count = 0
    native_candidates: Count = 0
    to_native_accuracy: float | None = None
    to_native_ci95: Interval | None = None
    floor_to_native_accuracy: float | None = None
    from_native_accuracy: float | None = None
    cosine: float = 0
    mse: float = 0


class _Metrics(_Parted):
    needed: ClassVar = {"splits": ("language", "base", "test_set")}
    language: Shown | None = None
    base: Shown | None = None
    test_set: str | None = None
    splits: dict[Shown, _Split] = Field(default_factory=dict)


class _Stage(_Parted):
    needed: ClassVar = {
        "pieces": ("aligned", "seconds"),
        "steps": ("step0_score", "best_score", "kept_step", "seconds", "stopped"),
    }
    stage: Shown
    pieces: Count = 0
    aligned: Count = 0
    native_pieces: Count = 0
    steps: Count = 0
    kept_step: Count = 0
    step0_score: float | None = None
    best_score: float | None = None
    seconds: float = 0
    stopped: Shown | None = None


class _Cost(_Part):
    seconds: float
    peak_memory_bytes: float


class _Isolation(_Part):
    ok: bool
    seconds: float = 0.0
    languages: dict[str, dict[str, Any]] = Field(default_factory=dict)


class _ForeignCard(_Part):
    """What of a card from elsewhere this package reads again, with the types that it reads."""

    language: Shown
    language_name: Shown
    version: Annotated[str, AfterValidator(_past)]
    created: Annotated[str, Field(max_length=40)]
    base: _Base
    data: list[_Data]
    metrics: _Metrics
    versions: dict[str, str]
    seed: Count
    parameters: Count
    bytes: Count
    cost: _Cost
    stages: list[_Stage]
    isolation: _Isolation
    files: dict[str, Annotated[str, Field(pattern=_HASH)]]


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
    try:
        _ForeignCard.model_validate(card.to_json())
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
