"""The hub's model card of a version: metadata that the hub reads, and how to take the language."""

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mla_extend.bases.source import HUB_ID
from mla_extend.registry.card import Card
from mla_extend.registry.model_card import metadata

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

FIGURES = {
    "mean_recall": "mean recall",
    "to_native_accuracy": "finds its native sentence first",
    "from_native_accuracy": "found first by its native sentence",
}
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def hub_card(card: Card, repo: str, readme: str) -> str:
    """Return the hub's model card: metadata that the hub reads, how to take the language, and the version's own card.

    Args:
        card: of the version.
        repo: where it will lie.
        readme: the version's README.md, whose metadata is replaced.
    """
    from huggingface_hub import ModelCardData  # noqa: PLC0415 - slow to import

    about = ModelCardData(
        **metadata(card),
        datasets=_data_sets(card) or None,
        model_name=repo.partition("/")[2],
        eval_results=_results(card),
    )
    body = _FRONT_MATTER.sub("", readme).lstrip("\n")
    title, _, rest = body.partition("\n")
    take = (
        f"```sh\npip install mla-extend\nmla-extend pull {repo}\n```\n\n"
        f"It is taken only for the base `{card.base['name']}`, by its fingerprint, after every file was checked."
    )
    return f"---\n{about.to_yaml()}\n---\n\n{title}\n\n{take}\n{rest}"


def _data_sets(card: Card) -> list[str]:
    """Return the hub's names of the data sets that it was trained on."""
    paths = (record["path"] for record in card.data if record.get("format") == "hf" and record["role"] != "test_set")
    named = ("/".join(path.split("/")[:2]) for path in paths if not Path(path).exists())
    return sorted({name for name in named if HUB_ID.fullmatch(name)})


def _results(card: Card) -> list["EvalResult"] | None:
    """Return the measured figures in the hub's form, fractions from 0 to 1; `None` if there are none."""
    from huggingface_hub import EvalResult  # noqa: PLC0415 - slow to import

    test_set = PurePosixPath(str(card.metrics.get("test_set") or "held out")).name
    found = []
    for name, split in card.metrics.get("splits", {}).items():
        figures = {key: split[key] for key in FIGURES if isinstance(split.get(key), float)}
        for metric, value in {**figures, **(split.get("metrics") or {})}.items():
            result = EvalResult(
                task_type="retrieval",
                dataset_type=re.sub(r"[^\w.-]+", "-", test_set).strip("-") or "test",
                dataset_name=test_set,
                dataset_split=name,
                metric_type=metric,
                metric_value=round(value, 4),
                metric_name=FIGURES.get(metric, metric.replace("_", " ")),
            )
            found.append(result)
    return found or None
