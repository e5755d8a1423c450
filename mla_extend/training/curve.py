"""A run as a picture: the loss of every stage, and the score on the held-out slice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mla_extend.extras import optional

BLUE, ORANGE, GREY = "#1f5fa8", "#c2571a", "#777777"


def draw_curve(log: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw `training.jsonl`'s records into a PNG, the stages one after another on one axis of steps."""
    agg, figures = (optional(f"matplotlib.{name}", "Drawing") for name in ("backends.backend_agg", "figure"))
    stages = list(dict.fromkeys(record["stage"] for record in log))
    last = {name: max(record["step"] for record in log if record["stage"] == name) for name in stages}
    offset = {name: sum(last[other] for other in stages[:place]) for place, name in enumerate(stages)}
    figure = figures.Figure(figsize=(9, 4.5), layout="constrained")
    agg.FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    for name in stages:
        records = [record for record in log if record["stage"] == name]
        loss = [(offset[name] + r["step"], r["loss"]) for r in records if "loss" in r]
        score = [(offset[name] + r["step"], r["score"], r["chance"]) for r in records if "score" in r]
        colour = BLUE if name == "transfer" else ORANGE
        losses.plot([x for x, _ in loss], [y for _, y in loss], color=colour, label=name)
        scores.plot([x for x, *_ in score], [100 * y for _, y, _ in score], color=colour, marker="o", ms=4, label=name)
        if score:
            scores.hlines(100 * score[0][2], score[0][0], score[-1][0], colors=GREY, linestyles="dotted")
    losses.set(xlabel="step", ylabel="loss", title="Training loss")
    scores.set(xlabel="step", ylabel="mean of R@1, R@5, R@10, both ways (%)", title="Held-out slice (dotted: chance)")
    scores.set_ylim(0, 100)
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
