"""The model card of a version: its card, written for people, in the form that model hubs read."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mla_extend.bases.source import HUB_ID
from mla_extend.registry.card import PACKAGE, Card

UNKNOWN = "unknown"
LICENCES = re.compile(
    r"apache-2\.0|mit|bsd-[23]-clause|l?gpl-3\.0|cc0-1\.0|cc-by(-sa)?-[34]\.0|cc-by-(nc|nc-sa|nd|nc-nd)-4\.0|odc-by|odbl"
)
"""Those that hubs know under the names that data sets give them."""


def model_card(card: Card) -> str:
    """Return the README.md of a version: front matter, figures, data, cost, and how to load it."""
    import yaml  # noqa: PLC0415 - 40 ms that reading cards need not wait for

    parts = [
        f"---\n{yaml.safe_dump(metadata(card), allow_unicode=True, sort_keys=False)}---",
        f"# {card.language_name} for {card.base['name']}",
        f"An adapter that lets the image-text model `{card.base['name']}` read {card.language_name} "
        f"(`{card.language}`). Its vectors lie in the base's own space: stored image and text vectors stay valid, and "
        f"the base's own language (`{card.base['native']}`) is computed as without it, bit for bit.",
        _usage(card),
        _evaluation(card.metrics),
        _data(card),
        _making(card),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def licence(card: Card) -> dict[str, str]:
    """Return the licence of the base and of all data as hubs read it: `license`, and `license_name` where it is other.

    Hubs take the ids that they know alone; a card with several licences, or an unknown one, has them in its table.
    """
    texts = [card.base.get("licence"), *(record.get("licence") for record in card.data)]
    parts = [re.sub(r"\(.*?\)", "", part).strip() for text in texts for part in str(text or "").split(";")]
    names = {re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-") for part in parts}
    only = names.pop() if len(names) == 1 else ""
    if LICENCES.fullmatch(only):
        return {"license": only}
    return {"license": "other", "license_name": only[:80] or "see-the-table-below"}


def metadata(card: Card) -> dict[str, Any]:
    """Return what model hubs read of a version, in their words."""
    about: dict[str, Any] = {"language": [card.language], **licence(card)}
    source = str(card.base.get("source") or "")
    if HUB_ID.fullmatch(source):
        about |= {"base_model": source, "base_model_relation": "adapter"}
    return about | {
        "library_name": PACKAGE,  # PEFT alone does not know the method
        "pipeline_tag": "feature-extraction",
        "tags": [PACKAGE, "peft", "image-text retrieval", str(card.base["family"])],
    }


def _usage(card: Card) -> str:
    return f"""## Use

```python
from mla_extend import load_model

model = load_model(base={card.base.get("source") or card.base["name"]!r}, registry="adapters")
vectors = model.encode_text(texts, languages={card.language!r})
```

It fits one base only, fingerprint `{card.base["fingerprint"]}`; another is refused."""


def _evaluation(metrics: Mapping[str, Any]) -> str:
    splits = metrics.get("splits")
    if isinstance(splits, dict) and splits:
        title = f"Test set: {metrics.get('test_set', UNKNOWN)}. Recalls are fractions from 0 to 1."
        names = list(dict.fromkeys(name for split in splits.values() for name, _ in _figures(split)))
        rows = [[name, *(dict(_figures(split)).get(name, "") for split in splits.values())] for name in names]
        return f"## Evaluation\n\n{title}\n\n{_table(['figure', *splits], rows)}"
    figures = [list(pair) for pair in _figures(metrics)]
    return f"## Evaluation\n\n{_table(['figure', 'value'], figures)}" if figures else ""


def _figures(report: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in report.items():
        if isinstance(value, dict):
            yield from _figures(value, f"{prefix}{name} ")
        elif isinstance(value, list) and value and all(isinstance(item, int | float) for item in value):
            yield prefix + name, " to ".join(_number(item) for item in value)
        elif isinstance(value, int | float):
            yield prefix + name, _number(value)


def _data(card: Card) -> str:
    keys = ("role", "path", "pairs", "licence", "sha256")
    rows = [[_cell(item.get(key), key) for key in keys] for item in card.data]
    licence = card.base.get("licence") or UNKNOWN
    table = f"{_table(['role', 'file', 'pairs', 'licence', 'SHA-256'], rows)}\n\n" if rows else ""
    return f"## Data and licences\n\n{table}Licence of the base: {licence}. Where a licence is unknown, ask its owner."


def _making(card: Card) -> str:
    cost = [[name.replace("_", " "), _cell(value)] for name, value in card.cost.items()]
    cost += [["parameters", _number(card.parameters)], ["bytes", _number(card.bytes)], ["seed", str(card.seed)]]
    starts = "".join(f"{line}\n\n" for line in _starts(card))
    packages = ", ".join(f"{name} {version}" for name, version in sorted(card.versions.items()))
    return f"""## How it was made

{_table(["", ""], cost)}

{starts}Published {card.created} as version `{card.version}`, with {packages}. The recipe, the hashes of all files and \
the proof that no other language moved are in `card.json`."""


def _starts(card: Card) -> Iterator[str]:
    """Give what a user must know of where it began: a table that it needs, a language that it was copied from."""
    for stage in card.stages:
        built = stage if isinstance(stage, dict) and stage.get("stage") == "build" else {}
        if table := built.get("table"):
            yield (
                f"It reads the frozen token table of `{table['source']}` (fingerprint `{table['fingerprint'][:16]}`) "
                "through a projection of its own; who uses it needs that table."
            )
        if start := built.get("start_from"):
            yield f"Its training began with a copy of `{start['language']}`, version `{start['version']}`."


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cell(value: Any, key: str = "") -> str:
    if value is None:
        return UNKNOWN if key == "licence" else ""
    if key == "sha256":
        return f"`{str(value)[:16]}`"
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
