"""The types of what is read again from a card. By hand: `list` reads a card a language, and must answer at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST_RATIO = 1_000_000
"""Of a language's figure to the base's own, which may be near nothing."""


@dataclass(frozen=True)
class Value:
    """Say what one value is, for the message, and how to tell."""

    name: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Parts:
    """Say what an object holds under known names; other names are passed over.

    What is `needed` is always there; `filled` may be absent, but not `None`; `optional` may be either.
    """

    optional: Mapping[str, "Kind"] = field(default_factory=dict)
    needed: Mapping[str, "Kind"] = field(default_factory=dict)
    filled: Mapping[str, "Kind"] = field(default_factory=dict)


@dataclass(frozen=True)
class Each:
    """Say what each item of a list, or each value of an object, is."""

    holder: type[Any]
    item: "Kind"


Kind = Value | Parts | Each


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pair(value: Any, kind: Value) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(kind.fits, value))


TEXT = Value("str", lambda value: isinstance(value, str))
INT = Value("int", _is_int)
COUNT = Value("an int from 0", lambda value: _is_int(value) and value >= 0)
NUMBER = Value("a number", _is_number)
BOOL = Value("bool", lambda value: isinstance(value, bool))
SHARE = Value("a share from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
RATIO = Value(f"a ratio from 0 to {LARGEST_RATIO:,}", lambda value: _is_number(value) and 0 <= value <= LARGEST_RATIO)
SHARES = Value("two shares from 0 to 1", lambda value: _is_pair(value, SHARE))
RATIOS = Value(f"two ratios from 0 to {LARGEST_RATIO:,}", lambda value: _is_pair(value, RATIO))
RECALLS = Each(dict, SHARE)
SPLIT = Parts(
    {
        **dict.fromkeys(
            ("gallery", "captions", "pairs", "native_candidates", "english_candidates", "candidates"), COUNT
        ),
        **dict.fromkeys(("mean_recall", "t2i_mean_recall", "native_mean_recall"), SHARE),
        **dict.fromkeys(("floor_mean_recall", "chance_mean_recall", "to_native_accuracy", "to_english"), SHARE),
        **dict.fromkeys(("from_native_accuracy", "from_english", "floor_to_native_accuracy"), SHARE),
        "chance_to_native_accuracy": SHARE,
        **dict.fromkeys(("cosine", "mse"), NUMBER),
        "ratio": RATIO,
        **dict.fromkeys(("ci95", "to_native_ci95", "from_native_ci95"), SHARES),
        "ratio_ci95": RATIOS,
        **dict.fromkeys(("metrics", "native_metrics", "floor_metrics"), RECALLS),
    }
)
BASE = Parts({"source": TEXT, "licence": TEXT}, dict.fromkeys(("name", "fingerprint", "family", "native"), TEXT))
DATA = Parts(
    {
        **dict.fromkeys(("pairs", "kept"), COUNT),
        **dict.fromkeys(("format", "sha256", "split", "licence"), TEXT),
        "dropped": Each(dict, COUNT),
        "noncommercial": BOOL,
    },
    {"role": TEXT, "path": TEXT},
)
METRICS = Parts(
    {
        **dict.fromkeys(("language", "base", "native", "test_set", "protocol"), TEXT),
        "seed": INT,
        "text_transfer": SPLIT,
    },
    filled={"splits": Each(dict, SPLIT)},
)
STAGE = Parts(
    {
        **dict.fromkeys(("pieces", "aligned", "native_pieces", "steps", "kept_step"), COUNT),
        **dict.fromkeys(("step0_score", "best_score", "seconds"), NUMBER),
        "stopped": TEXT,
        "table": Parts(needed={"source": TEXT, "fingerprint": TEXT}),
        "start_from": Parts(needed={"language": TEXT, "version": TEXT}),
    },
    {"stage": TEXT},
)
ISOLATION = Parts(
    {"ok": BOOL, "seconds": NUMBER},
    filled={"languages": Each(dict, Parts({"vectors_equal": BOOL, "as_recorded": BOOL, "files_equal": BOOL}))},
)
CARD = Parts(
    needed={
        "language": TEXT,
        "language_name": TEXT,
        "base": BASE,
        "recipe": Parts({"name": TEXT}),
        "data": Each(list, DATA),
        "metrics": METRICS,
        "versions": Each(dict, TEXT),
        "seed": INT,
        "cost": Parts({**dict.fromkeys(("seconds", "peak_memory_bytes", "pairs"), NUMBER), "device": TEXT}),
        "parameters": COUNT,
        "stages": Each(list, STAGE),
        "created": TEXT,
        "version": TEXT,
        "bytes": COUNT,
        "files": Each(dict, TEXT),
        "isolation": ISOLATION,
        "schema": INT,
    }
)


def misfits(value: Any, kind: Kind, where: str = "") -> Iterator[str]:
    """Give what of JSON values has another type than it must have; `where` is the names that led to it."""
    if isinstance(kind, Value):
        if not kind.fits(value):
            shown = value if isinstance(value, int | float) else type(value).__name__
            yield f"{where!r} is {shown}, not {kind.name}"
        return
    before = f"{where}." if where else ""
    if isinstance(kind, Each):
        if not isinstance(value, kind.holder):
            yield f"{where!r} is {type(value).__name__}, not {kind.holder.__name__}"
            return
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from misfits(item, kind.item, f"{before}{name}"[:200])
    elif not isinstance(value, dict):
        yield f"{where!r} is {type(value).__name__}, not dict"
    else:
        for name in sorted(kind.needed.keys() - value.keys()):
            yield f"{before + name!r} is missing"
        for name, part in kind.optional.items():
            if value.get(name) is not None:
                yield from misfits(value[name], part, before + name)
        for name, part in {**kind.needed, **kind.filled}.items():
            if name in value:
                yield from misfits(value[name], part, before + name)
