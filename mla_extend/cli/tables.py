"""The tables that people read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mla_extend.cli.console import duration, size

PLACES = (("t2i", "image_retrieval_recall"), ("i2t", "text_retrieval_recall"))


SHOWN = 120
"""Characters of a sample that are shown."""
WIDE = 130
"""Columns of a terminal from which each cutoff has room of its own."""


def evaluation_table(evaluation: Mapping[str, Any], width: int = WIDE) -> Table:
    """Draw an evaluation: one row a split, percentages; each cutoff beside the mean where there is room."""
    places = PLACES if width >= WIDE else ()
    native = evaluation.get("native", "native")
    table = Table(
        title=f"{evaluation['language']} on {evaluation['test_set']} (base {evaluation['base']}), per cent",
        caption=(
            "mean recall: mean of R@1, R@5 and R@10 in both directions, with its 95 % bootstrap interval over images; "
            f"floor: the base fed {evaluation['language']} directly"
        ),
    )
    table.add_column("split")
    headings = ("images", "mean recall", "95 %", native, "ratio", "floor", "chance")
    for heading in (*headings, *(f"{name} R@{k}" for name, _ in places for k in (1, 5, 10))):
        table.add_column(heading, justify="right")
    for name, split in evaluation["splits"].items():
        if "gallery" not in split:
            continue
        low, high = split["ci95"]
        table.add_row(
            name,
            str(split["gallery"]),
            _percent(split["mean_recall"]),
            f"{_percent(low)}-{_percent(high)}",
            _percent(split["native_mean_recall"]),
            "-" if split["ratio"] is None else f"{split['ratio']:.2f}",
            _percent(split["floor_mean_recall"]),
            _percent(split["chance_mean_recall"]),
            *(_percent(split["metrics"][f"{metric}@{k}"]) for _, metric in places for k in (1, 5, 10)),
        )
        for other, beside in split.get("against", {}).items():
            low, high = beside["ci95"]
            table.add_row(
                f"  against {other}",
                "",
                _percent(beside["mean_recall"]),
                f"{_percent(low)}-{_percent(high)}",
                *[""] * 4,
                *(_percent(beside["metrics"][f"{metric}@{k}"]) for _, metric in places for k in (1, 5, 10)),
                style="dim",
            )
    return table


def transfer_table(evaluation: Mapping[str, Any]) -> Table:
    """Draw the splits of parallel text: how often a sentence and its translation find each other, percentages."""
    table = Table(
        title=f"{evaluation['language']} on {evaluation['test_set']} (base {evaluation['base']}), parallel text, in %",
        caption=(
            "to native: a sentence finds its native translation first among the candidates, with its 95 % Wilson "
            f"interval; floor: the base fed {evaluation['language']} directly; error: mean squared error to the native "
            "vector"
        ),
    )
    table.add_column("split")
    headings = ("pairs", "candidates", "to native", "95 %", "floor", "from native", "cosine", "error")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, split in evaluation["splits"].items():
        if "to_native_accuracy" not in split:
            continue
        low, high = split["to_native_ci95"]
        table.add_row(
            name,
            f"{split['pairs']:,}",
            f"{split['native_candidates']:,}",
            _percent(split["to_native_accuracy"]),
            f"{_percent(low)}-{_percent(high)}",
            _percent(split["floor_to_native_accuracy"]),
            _percent(split["from_native_accuracy"]),
            f"{split['cosine']:.3f}",
            f"{split['mse']:.3g}",
        )
    return table


def print_evaluation(console: Console, evaluation: Mapping[str, Any]) -> None:
    """Print an evaluation: a table for splits with images, and one for those of parallel text."""
    for table in (evaluation_table(evaluation, console.width), transfer_table(evaluation)):
        if table.row_count:
            console.print(table)


def list_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Draw the languages of a registry."""
    table = Table()
    for heading in ("language", "name", "base", "version"):
        table.add_column(heading)
    for heading in ("parameters", "size", "ratio to native"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratios = row.get("ratios") or {}
        table.add_row(
            row["language"],
            row["name"] + (" [yellow](non-commercial data)[/]" if row.get("noncommercial") else ""),
            row["base"],
            row["version"],
            f"{row['parameters']:,}",
            size(row["bytes"]),
            "  ".join(f"{split} {ratio:.2f}" for split, ratio in ratios.items()) or "-",
        )
    return table


def plan_table(plan: Mapping[str, Any]) -> Table:
    """Draw what a dry run found."""
    table = Table(title=f"Adding {plan['language']} to {plan['base']} (dry run: nothing is trained)", show_header=False)
    table.add_column()
    table.add_column()
    table.add_row("recipe", plan["recipe"])
    table.add_row("pairs of parallel text", f"{plan['pairs']:,}, of which {plan['kept']:,} pass the checks")
    for record in plan["data"]:
        table.add_row(record["role"].replace("_", " "), f"{_data(record)}, read as {record['format']}")
    table.add_row("captions of images", f"{plan['image_text']:,}")
    table.add_row("pieces in the tokenizer", f"{plan['vocabulary']:,}")
    table.add_row("trainable parameters", f"{plan['parameters']:,}")
    table.add_row("steps", "  ".join(f"{name} {steps}" for name, steps in plan["stages"].items()))
    table.add_row("expected time", duration(plan["seconds"]))
    table.add_row("expected peak memory", size(plan["memory_bytes"]))
    return table


def problems_table(found: Mapping[str, Any]) -> Table:
    """Draw what an inspection found: a row a problem, with a sample."""
    tokens = found["tokens"]
    pieces = tokens and (
        f"tokenizer: {tokens['vocabulary']:,} pieces, {tokens['per_word']:.2f} tokens a word; text is cut at "
        f"{tokens['positions']} tokens ({tokens['positions_of']})"
    )
    table = Table(
        title=f"{', '.join(found['paths'])} as {found['language_name']} ({found['language']}): {found['pairs']:,} rows",
        caption=pieces,
    )
    table.add_column("problem", no_wrap=True)
    for heading in ("rows", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("for example")
    for name, count in found["problems"].items():
        samples = found["samples"].get(name)
        shown = ""
        if samples:
            first = samples[0]
            text = " | ".join(side for side in (first["native"], first["target"]) if side)
            text = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
            shown = escape(f"{Path(first['where']).name}: {text}".replace("\n", " "))
        share = f"{count / found['pairs']:.2%}" if count else "-"
        table.add_row(name.replace("_", " "), f"{count:,}", share, shown, style="" if count else "dim")
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def print_card(console: Console, card: Mapping[str, Any]) -> None:
    """Print what a card says, most wanted first."""
    base, cost, proof = card["base"], card["cost"], card["isolation"]
    console.print(f"[bold]{card['language_name']}[/] ({card['language']}) for the base {base['name']}", highlight=False)
    if card["metrics"].get("splits"):
        print_evaluation(console, card["metrics"])
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("version", card["version"])
    table.add_row("size", f"{card['parameters']:,} parameters, {size(card['bytes'])}")
    for record in card["data"]:
        table.add_row(record["role"].replace("_", " "), _data(record))
    for stage in card["stages"]:
        table.add_row(*_stage(stage))
    table.add_row(
        "cost", f"{duration(cost['seconds'])}, peak memory {size(cost['peak_memory_bytes'])}, seed {card['seed']}"
    )
    others = [tag for tag in proof.get("languages", {}) if tag != base["native"]]
    table.add_row(
        "isolation",
        f"{'[green]✓[/] ' if proof.get('ok') else '[red]✗[/] '}vectors of {', '.join([base['native'], *others])} "
        f"bit-equal before and after, files untouched ({proof.get('seconds', 0):.1f} s)",
    )
    console.print(table)


def _data(record: Mapping[str, Any]) -> str:
    """Return what a card says of one source of data, in one line."""
    text = f"{escape(record['path'])}, {record['pairs']:,} rows"
    if record.get("dropped"):
        dropped = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in record["dropped"].items())
        text += f", {record['kept']:,} kept (dropped: {dropped})"
    if record.get("licence"):
        text += f", licence {escape(record['licence'])}"
    return text + (" [yellow](non-commercial)[/]" if record.get("noncommercial") else "")


def _stage(stage: Mapping[str, Any]) -> tuple[str, str]:
    if stage["stage"] == "build":
        return (
            "built",
            f"{stage['pieces']:,} pieces, {stage['aligned']:,} of them aligned, in {duration(stage['seconds'])}",
        )
    text = (
        f"held-out score {stage['step0_score']:.3f} at step 0, {stage['best_score']:.3f} at best; step "
        f"{stage['kept_step']} of {stage['steps']} kept, {duration(stage['seconds'])}: {stage['stopped']}"
    )
    return stage["stage"], text
