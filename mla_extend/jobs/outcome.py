"""What the table says of a language that is done, and whether a published one is what a plan asks for."""

from typing import Any

from pydantic import ValidationError

from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import open_sentences, open_source
from mla_extend.data.specification import parse_columns
from mla_extend.demo.sources import DEMO_WEIGHTED
from mla_extend.errors import MlaExtendError
from mla_extend.jobs.plan import Job
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.training.recipe import Recipe

ROLES = {"parallel_data": "parallel", "image_text": "image_text", "lexicon": "lexicon", "text": "text"}


def outcome(card: Card) -> dict[str, Any]:
    """Return version, held-out score of the last stage, and of the first split evaluated mean recall and ratio."""
    scores = [stage["best_score"] for stage in card.stages if "best_score" in stage]
    split: dict[str, Any] = next(iter(card.metrics.get("splits", {}).values()), {})
    return {
        "version": card.version,
        "score": scores[-1] if scores else None,
        "mean_recall": split.get("mean_recall"),
        "ratio": split.get("ratio"),
        "seconds": card.cost.get("seconds"),
    }


def published(job: Job, home: BaseRegistry | None, done: dict[str, Any]) -> Card | None:
    """Return the card of the version that a job would make, if it is in the registry.

    Recipe, seed, training data (by their hashes) and the language that it starts from decide, by the card; and, of a
    version that is on record, that nothing else in the plan has changed since.

    Args:
        job: what the plan asks for.
        home: the base's registry, if there is one.
        done: `version` and `digest` of what an earlier run of the plan published, empty if it published nothing.
    """
    if home is None or job.language not in home.tags():
        return None
    try:
        version = home.current(job.language).name
        if done.get("digest") == job.digest() and done["version"] in {
            other.name for other in home.versions(job.language)
        }:
            version = done["version"]  # in use or rolled back from
        elif version == done.get("version"):
            return None
        card = home.card(job.language, version)
        return card if _made_so(card, job, home.base.native) else None
    except MlaExtendError:
        return None  # the job itself will say what is wrong


def _made_so(card: Card, job: Job, native: str) -> bool:
    start = card.stages[0].get("start_from") if card.stages else None
    try:
        recipe = Recipe.model_validate(card.recipe)  # what an older version did not know yet takes its default
    except ValidationError:
        return False
    asked = (job.recipe, job.arguments["seed"], job.arguments.get("time"))
    if (recipe, card.seed, card.cost.get("time")) != asked:
        return False
    if (start or {}).get("language") != job.start_from:
        return False
    # Images may come from parallel text; a word list or text that the job lacks makes another version.
    return all(_same_data(card, job, role, native) for role in ROLES if job.arguments[role] or role != "image_text")


def _same_data(card: Card, job: Job, role: str, native: str) -> bool:
    """Tell whether a card's sources of one role are those of the job."""
    records = [record for record in card.data if record["role"] == ROLES[role]]
    asked = job.arguments[role]
    if len(records) != len(asked):
        return False
    return all(_same_source(record, text, job, native) for record, text in zip(records, asked, strict=True))


def _same_source(record: dict[str, Any], text: str, job: Job, native: str) -> bool:
    if DEMO_WEIGHTED.fullmatch(text):
        return bool(record["path"] == text)
    arguments = job.arguments
    mapping = ColumnMapping(job.language, native, parse_columns(arguments["columns"]))
    if record["role"] == "text":
        source = open_sentences(text, mapping)
    else:
        source = open_source(text, mapping, arguments["format"])
    if (record.get("split"), record.get("weight", 1.0)) != (source.mapping.split, source.weight):
        return False
    return bool(record["sha256"] == source.digest)
