"""What the page about a registry says, taken from the cards: JSON values alone, every key always there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mla_extend.data.codes import language_name
from mla_extend.data.licences import is_noncommercial
from mla_extend.errors import DataError, LanguageError
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry, Entry
from mla_extend.registry.store import Registry
from mla_extend.registry.summary import find_version, open_homes

RETRIEVAL = (
    "gallery", "captions", "mean_recall", "ci95", "t2i_mean_recall", "native_mean_recall", "ratio", "ratio_ci95",
    "floor_mean_recall", "chance_mean_recall", "metrics",
)  # fmt: skip
TEXT = (
    "pairs", "to_native_accuracy", "to_native_ci95", "from_native_accuracy", "from_native_ci95", "cosine", "mse",
    "native_candidates", "candidates", "floor_to_native_accuracy", "chance_to_native_accuracy",
)  # fmt: skip
EARLIER = {"to_native_accuracy": "to_english", "from_native_accuracy": "from_english"}
"""Names that cards of version 0.1.0 have in `text_transfer`."""
EARLIER_CANDIDATES = "english_candidates"
COST = ("seconds", "peak_memory_bytes", "pairs", "device", "precision")
RECORD = ("role", "path", "format", "split", "weight", "sha256", "pairs", "kept", "dropped", "licence")


Part = tuple[BaseRegistry, list[Entry]]
"""A base's registry, and those of its languages that the page is about."""


def gather(parts: list[Part]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what is known of each base and its languages, and what is wrong with those that cannot be read."""
    bases: list[dict[str, Any]] = []
    problems: list[str] = []
    for home, entries in parts:
        languages = []
        for entry in entries:
            if entry.card is None:
                problems.append(f"{entry.language} ({home.base.name}): {entry.problem}")
            else:
                languages.append(_language(entry.card))
        bases.append(
            {
                "name": home.base.name,
                "source": home.base.source,
                "family": home.base.family,
                "fingerprint": home.base.fingerprint,
                "native": home.base.native,
                "native_name": _name(home.base.native),
                "licence": home.base.licence,
                "noncommercial": is_noncommercial(home.base.licence),
                "languages": languages,
                "retrieval": _by_split(languages, "retrieval"),
                "text": _by_split(languages, "text"),
            }
        )
    return bases, problems


def find_parts(root: Path, base: str | None = None, languages: Sequence[str] = ()) -> list[Part]:
    """Return the languages that are named, each as `find_version` takes it; where none is, all of a registry or base.

    Raises:
        DataError: a language is named twice.
        LanguageError, RegistryError: what is named is not there.
    """
    if not languages:
        for name in Registry(root).bases():
            Registry(root).open(name)  # one that cannot be read is told, not left out
        return [(home, home.languages()) for home in open_homes(base, root)]
    parts: dict[Path, Part] = {}
    for text in languages:
        home, version = find_version(text, base, root)
        entries = parts.setdefault(home.folder, (home, []))[1]
        if any(entry.language == version.language for entry in entries):
            raise DataError(
                f"{text!r} names {version.language} a second time. A report shows one version of each language; use "
                "mla-extend compare for two."
            )
        entries.append(home.entry(version))
    return list(parts.values())


def _language(card: Card) -> dict[str, Any]:
    metrics = card.metrics
    splits = metrics.get("splits", {})
    text = {name: _text(split) for name, split in splits.items() if split.get("to_native_accuracy") is not None}
    if metrics.get("text_transfer"):
        text.setdefault("held-out", _text(metrics["text_transfer"]))
    about = {
        "test_set": metrics.get("test_set"),
        "protocol": metrics.get("protocol") or "standard",
        "seed": metrics.get("seed", card.seed),
    }
    pictures = {name: _take(split, RETRIEVAL) for name, split in splits.items() if split.get("mean_recall") is not None}
    return {
        "language": card.language,
        "name": card.language_name,
        "version": card.version,
        "created": card.created,
        "recipe": card.recipe.get("name"),
        "seed": card.seed,
        "parameters": card.parameters,
        "bytes": card.bytes,
        "training_pairs": _rows(card, "parallel"),
        "training_captions": _rows(card, "image_text"),
        **{key: value for key, value in about.items() if key != "seed"},
        "retrieval": {name: {**about, **split} for name, split in pictures.items()},
        "text": {name: {**about, **split} for name, split in text.items()},
        "cost": _take(card.cost, COST),
        "data": [_record(record) for record in card.data],
        "isolation": _isolation(card.isolation),
    }


def _take(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values.get(key) for key in keys}


def _text(split: Mapping[str, Any]) -> dict[str, Any]:
    result = _take({**{new: split.get(old) for new, old in EARLIER.items()}, **split}, TEXT)
    result["native_candidates"] = result["native_candidates"] or split.get(EARLIER_CANDIDATES)
    if result["chance_to_native_accuracy"] is None and result["native_candidates"]:
        result["chance_to_native_accuracy"] = 1 / result["native_candidates"]
    return result


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_take(record, RECORD),
        "noncommercial": bool(record.get("noncommercial")) or is_noncommercial(record.get("licence")),
    }


def _rows(card: Card, role: str) -> int | None:
    """Return how many rows of one role a language was trained on: those kept, where they were counted."""
    counts = [record.get("kept", record.get("pairs")) for record in card.data if record.get("role") == role]
    return sum(count for count in counts if count is not None) if counts else None


def _isolation(proof: Mapping[str, Any]) -> dict[str, Any]:
    languages = proof.get("languages", {})
    return {
        "ok": proof.get("ok"),
        "compared": [tag for tag, line in languages.items() if line.get("vectors_equal")],
        "not_compared": [tag for tag, line in languages.items() if line.get("vectors_equal") is None],
        "not_as_recorded": [tag for tag, line in languages.items() if line.get("as_recorded") is False],
        "seconds": proof.get("seconds"),
    }


def _by_split(languages: list[dict[str, Any]], kind: str) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of all languages by split, each row naming its language."""
    splits: dict[str, list[dict[str, Any]]] = {}
    for language in languages:
        about = {key: language[key] for key in ("language", "name", "training_pairs")}
        for name, split in language[kind].items():
            splits.setdefault(name, []).append({**about, **split})
    return splits


def _name(tag: str) -> str:
    try:
        return language_name(tag)
    except LanguageError:
        return tag
