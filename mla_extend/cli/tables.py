"""The tables that people read. What comes from a card, a file or an option is escaped: none of it is mark-up."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from mla_extend.cli.console import duration, numbers, size

PLACES = (("t2i", "image_retrieval_recall"), ("i2t", "text_retrieval_recall"))
NONE = "-"
SHOWN = 120
"""Characters of a sample that are shown."""
WIDE = 130
"""Columns of a terminal from which each cutoff has room of its own."""


def evaluation_table(evaluation: Mapping[str, Any], width: int = WIDE) -> Table:
    """Draw an evaluation: one row a split, percentages; each cutoff beside the mean where there is room."""
    places = PLACES if width >= WIDE else ()
    native = escape(evaluation.get("native") or "native")
    table = Table(
        "split",
        *numbers("images", "mean recall", "95 %", native, "ratio", "floor", "chance"),
        *numbers(*(f"{name} R@{k}" for name, _ in places for k in (1, 5, 10))),
        title=f"{_about(evaluation)}, per cent",
        caption=(
            "mean recall: mean of R@1, R@5 and R@10 in both directions, with its 95 % bootstrap interval over images; "
            f"floor: the unchanged base, given {escape(evaluation['language'])}"
        ),
    )
    for name, split in evaluation["splits"].items():
        if split.get("gallery") is None:
            continue
        table.add_row(
            escape(name),
            str(split["gallery"]),
            _percent(split.get("mean_recall")),
            _interval(split.get("ci95")),
            _percent(split.get("native_mean_recall")),
            _shown(split.get("ratio"), "{:.2f}".format),
            _percent(split.get("floor_mean_recall")),
            _percent(split.get("chance_mean_recall")),
            *(_percent((split.get("metrics") or {}).get(f"{metric}@{k}")) for _, metric in places for k in (1, 5, 10)),
        )
    return table


def transfer_table(evaluation: Mapping[str, Any]) -> Table:
    """Draw the splits of parallel text: how often a sentence and its translation find each other, percentages."""
    table = Table(
        "split",
        *numbers("pairs", "candidates", "to native", "95 %", "floor", "from native", "cosine", "error"),
        title=f"{_about(evaluation)}, parallel text, in %",
        caption=(
            "to native: a sentence finds its native translation first among the candidates, with its 95 % Wilson "
            f"interval; floor: the unchanged base, given {escape(evaluation['language'])}; error: mean squared error "
            "to the native vector"
        ),
    )
    for name, split in evaluation["splits"].items():
        if split.get("to_native_accuracy") is None:
            continue
        table.add_row(
            escape(name),
            _shown(split.get("pairs"), _whole),
            _shown(split.get("native_candidates"), _whole),
            _percent(split["to_native_accuracy"]),
            _interval(split.get("to_native_ci95")),
            _percent(split.get("floor_to_native_accuracy")),
            _percent(split.get("from_native_accuracy")),
            _shown(split.get("cosine"), "{:.3f}".format),
            _shown(split.get("mse"), "{:.3g}".format),
        )
    return table


def print_evaluation(console: Console, evaluation: Mapping[str, Any]) -> None:
    """Print an evaluation: a table for splits with images, and one for those of parallel text."""
    for table in (evaluation_table(evaluation, console.width), transfer_table(evaluation)):
        if table.row_count:
            console.print(table)


def list_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Draw the languages of a registry."""
    table = Table("language", "name", "base", "version", *numbers("parameters", "size", "ratio to native"))
    for row in rows:
        ratios = row.get("ratios") or {}
        table.add_row(
            escape(row["language"]),
            escape(row["name"]) + (" [yellow](non-commercial data)[/]" if row.get("noncommercial") else ""),
            escape(row["base"]),
            escape(row["version"]),
            _whole(row["parameters"]),
            size(row["bytes"]),
            "  ".join(f"{escape(split)} {ratio:.2f}" for split, ratio in ratios.items()) or NONE,
        )
    return table


def plan_table(plan: Mapping[str, Any]) -> Table:
    """Draw what a dry run found."""
    title = f"Adding {escape(plan['language'])} to {escape(plan['base'])} (dry run: nothing is trained)"
    table = Table(title=title, show_header=False)
    table.add_row("recipe", escape(plan["recipe"]))
    table.add_row("pairs of parallel text", f"{plan['pairs']:,}, of which {plan['kept']:,} pass the checks")
    for record in plan["data"]:
        table.add_row(_role(record), f"{_data(record)}, read as {escape(record['format'])}")
    table.add_row("captions of images", f"{plan['image_text']:,}")
    for name, title in (("lexicon", "entries of word lists"), ("text", "sentences of text")):
        if plan.get(name):
            table.add_row(title, f"{plan[name]:,}")
    table.add_row("pieces in the tokenizer", f"{plan['vocabulary']:,}")
    table.add_row("trainable parameters", f"{plan['parameters']:,}")
    table.add_row("steps", "  ".join(f"{escape(name)} {steps}" for name, steps in plan["stages"].items()))
    for note in plan["notes"]:
        table.add_row("note", escape(note))
    table.add_row("expected time", duration(plan["seconds"]))
    table.add_row("expected peak memory", size(plan["memory_bytes"]))
    return table


def problems_table(found: Mapping[str, Any]) -> Table:
    """Draw what an inspection found: a row a problem, with a sample."""
    tokens = found["tokens"]
    pieces = tokens and (
        f"tokenizer: {tokens['vocabulary']:,} pieces, {tokens['per_word']:.2f} tokens per word; text is cut at "
        f"{tokens['positions']} tokens ({escape(tokens['positions_of'])})"
    )
    paths = escape(", ".join(found["paths"]))
    language = escape(f"{found['language_name']} ({found['language']})")
    title = f"{paths} as {language}: {found['pairs']:,} rows"
    problem = Column("problem", no_wrap=True)
    table = Table(problem, *numbers("rows", "share", no_wrap=True), "for example", title=title, caption=pieces)
    for name, count in found["problems"].items():
        samples = found["samples"].get(name)
        shown = ""
        if samples:
            first = samples[0]
            text = " | ".join(side for side in (first["native"], first["target"]) if side)
            text = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
            shown = escape(f"{Path(first['where']).name}: {text}".replace("\n", " "))
        share = f"{count / found['pairs']:.2%}" if count else NONE
        table.add_row(escape(name.replace("_", " ")), f"{count:,}", share, shown, style="" if count else "dim")
    return table


def suggestions_table(found: Mapping[str, Any]) -> Table:
    """Draw the sentences to translate next, best first."""
    beyond = f", of which {found['beyond']:,} are in no sentence to choose" if found["beyond"] else ""
    table = Table(
        "native sentence",
        "words that it adds",
        *numbers("covered"),
        title="Most worth translating next",
        caption=f"of {found['words']:,} needed words the data have {found['known']:.1%}, with these sentences "
        f"{found['covered']:.1%}; they lack {found['lacking']:,} different ones{beyond}",
    )
    for one in found["sentences"]:
        table.add_row(escape(one["text"]), escape(", ".join(one["new"])), f"{one['covered']:.1%}")
    return table


def print_card(console: Console, card: Mapping[str, Any]) -> None:
    """Print what a card says, most wanted first."""
    base, cost, proof = card["base"], card["cost"], card["isolation"]
    name = f"[bold]{escape(card['language_name'])}[/] ({escape(card['language'])})"
    console.print(f"{name} for the base {escape(base['name'])}", highlight=False)
    if card["metrics"].get("splits"):
        said = {key: value for key, value in card["metrics"].items() if value is not None}
        print_evaluation(console, {"language": card["language"], "base": base["name"], **said})
    table = Table(Column(style="dim"), "", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("version", escape(card["version"]))
    table.add_row("base", f"{escape(base['name'])}, licence {escape(str(base.get('licence') or 'unknown'))}")
    table.add_row("size", f"{card['parameters']:,} parameters, {size(card['bytes'])}")
    for record in card["data"]:
        table.add_row(_role(record), _data(record))
    for stage in card["stages"]:
        table.add_row(*_stage(stage))
    seconds, memory = _shown(cost.get("seconds"), duration), _shown(cost.get("peak_memory_bytes"), size)
    table.add_row("cost", f"{seconds}, peak memory {memory}, seed {card['seed']}")
    table.add_row("isolation", _isolation(proof))
    console.print(table)


def _isolation(proof: Mapping[str, Any]) -> str:
    if not proof.get("ok"):
        return "[red]✗[/] not proven"
    return f"[green]✓[/] {escape(isolated(proof))} ({proof.get('seconds') or 0:.1f} s)"


def isolated(proof: Mapping[str, Any]) -> str:
    """Say what an isolation proof covers."""
    lines = proof.get("languages", {})
    compared = [tag for tag, line in lines.items() if line.get("vectors_equal")]
    others = sum(bool(line.get("files")) for line in lines.values())
    return f"vectors of {', '.join(compared) or 'none'} bit-equal before and after, files of {others} others untouched"


def _role(record: Mapping[str, Any]) -> str:
    return escape(record["role"].replace("_", " "))


def _data(record: Mapping[str, Any]) -> str:
    """Return what a card says of one source of data, in one line."""
    text = f"{escape(record['path'])}, {_shown(record.get('pairs'), _whole)} rows"
    if record.get("sampled_from"):
        text += f" sampled from {record['sampled_from']:,}"
    if record.get("dropped"):
        dropped = ", ".join(f"{count:,} {escape(name.replace('_', ' '))}" for name, count in record["dropped"].items())
        text += f", {_shown(record.get('kept'), _whole)} kept (dropped: {dropped})"
    if record.get("licence"):
        text += f", licence {escape(record['licence'])}"
    return text + (" [yellow](non-commercial)[/]" if record.get("noncommercial") else "")


def _stage(stage: Mapping[str, Any]) -> tuple[str, str]:
    seconds = _shown(stage.get("seconds"), duration)
    if stage["stage"] == "build":
        pieces, aligned = (_shown(stage.get(name), _whole) for name in ("pieces", "aligned"))
        words = f"{stage['native_pieces']:,}" if stage.get("native_pieces") else "none"
        return "built", f"{pieces} pieces, {aligned} of them aligned, and {words} of the base's words, in {seconds}"
    first, best = (_shown(stage.get(name), "{:.3f}".format) for name in ("step0_score", "best_score"))
    kept, steps = (_shown(stage.get(name), str) for name in ("kept_step", "steps"))
    text = f"held-out score {first} at step 0, {best} at best; step {kept} of {steps} kept, {seconds}"
    return escape(stage["stage"]), f"{text}: {escape(stage.get('stopped') or NONE)}"


def _about(evaluation: Mapping[str, Any]) -> str:
    language, test_set, base = (str(evaluation.get(key) or NONE) for key in ("language", "test_set", "base"))
    return escape(f"{language} on {test_set} (base {base})")


def _shown(value: Any, write: Callable[[Any], str]) -> str:
    return NONE if value is None else write(value)


def _whole(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def _interval(ends: Sequence[float] | None) -> str:
    return NONE if ends is None else "-".join(_percent(end) for end in ends)
