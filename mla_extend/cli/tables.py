"""The tables that people read."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from mla_extend.cli.console import duration, size

PLACES = (("t2i", "image_retrieval_recall"), ("i2t", "text_retrieval_recall"))


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
    return table


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
            row["name"],
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
    table.add_row("pairs of parallel text", f"{plan['pairs']:,}")
    table.add_row("captions of images", f"{plan['image_text']:,}")
    table.add_row("pieces in the tokenizer", f"{plan['vocabulary']:,}")
    table.add_row("trainable parameters", f"{plan['parameters']:,}")
    table.add_row("steps", "  ".join(f"{name} {steps}" for name, steps in plan["stages"].items()))
    table.add_row("expected time", duration(plan["seconds"]))
    table.add_row("expected peak memory", size(plan["memory_bytes"]))
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def print_card(console: Console, card: Mapping[str, Any]) -> None:
    """Print what a card says, most wanted first."""
    base, cost, proof = card["base"], card["cost"], card["isolation"]
    console.print(f"[bold]{card['language_name']}[/] ({card['language']}) for the base {base['name']}", highlight=False)
    if card["metrics"].get("splits"):
        console.print(evaluation_table(card["metrics"], console.width))
    transfer = card["metrics"].get("text_transfer")
    if transfer:
        console.print(
            f"Held-out sentences: {transfer['to_english']:.1%} find their native translation among "
            f"{transfer['english_candidates']}, cosine {transfer['cosine']:.3f}",
            highlight=False,
        )
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("version", card["version"])
    table.add_row("size", f"{card['parameters']:,} parameters, {size(card['bytes'])}")
    for record in card["data"]:
        licence = f", licence {record['licence']}" if record.get("licence") else ""
        table.add_row(record["role"].replace("_", " "), f"{record['path']}, {record['pairs']:,} rows{licence}")
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
