"""The plots of the page: narrow enough for a phone, each for light and for dark surroundings."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mla_extend.extras import optional
from mla_extend.training.curve import BLUE, GREY, ORANGE

WIDTH = 4.7
"""Inches; shown at 96 to the inch, so that letters on a phone keep their size."""
ROW = 0.27
DPI = 144
SHOWN_DPI = 96
COLOURS = 48
LONGEST_NAME = 26
FARTHEST = 4
"""Heights of a name by which it may stand above its point."""
MANY = 10
"""Ratio of the largest to the smallest number of pairs from which their axis is logarithmic."""


@dataclass(frozen=True)
class Theme:
    """Name the colours of a plot."""

    paper: str
    ink: str
    main: str
    other: str
    grey: str


LIGHT = Theme("#ffffff", "#1c1e21", BLUE, ORANGE, GREY)
DARK = Theme("#15181c", "#e4e6e9", "#7db4f0", "#f0965a", "#9aa0a8")


@dataclass(frozen=True)
class Plot:
    """Hold a plot as two PNG files, the name to save it under, its size on the page, and its text for who cannot see.

    `width` and `height` are in CSS pixels.
    """

    name: str
    alt: str
    light: bytes
    dark: bytes
    width: int
    height: int


def ratio_plot(name: str, rows: Sequence[Mapping[str, Any]], native: str) -> Plot | None:
    """Draw each language's ratio to the native language with its interval, the best on top; `None` if none has one."""
    known = sorted((row for row in rows if row["ratio"] is not None), key=lambda row: (row["ratio"], row["name"]))
    if not known:
        return None

    floors = [
        (row["floor_mean_recall"] / row["native_mean_recall"], place)
        for place, row in enumerate(known)
        if row["floor_mean_recall"] is not None and row["native_mean_recall"]
    ]
    ratios = [row["ratio"] for row in known]
    ends = [row["ratio_ci95"] or (row["ratio"], row["ratio"]) for row in known]

    def draw(axes: Any, theme: Theme) -> None:
        places = range(len(known))
        axes.hlines(places, [low for low, _ in ends], [high for _, high in ends], color=theme.main, lw=2, zorder=2)
        axes.plot(ratios, places, "o", color=theme.main, ms=6, zorder=3)
        axes.plot([x for x, _ in floors], [y for _, y in floors], "D", mfc="none", mec=theme.grey, ms=5, zorder=2)
        for place, ratio in enumerate(ratios):
            axes.text(1.02, place, f"{ratio:.2f}", transform=axes.get_yaxis_transform(), va="center")
        axes.axvline(1, color=theme.other, lw=1.2, ls="--", zorder=1)
        axes.set_yticks(range(len(known)), [_label(row) for row in known], parse_math=False)
        axes.set_ylim(-0.7, len(known) - 0.3)
        axes.set_xlim(0, max(1.1, *(1.05 * high for _, high in ends)))
        axes.set_xlabel(f"mean recall, divided by that of {native}", parse_math=False)
        axes.grid(axis="x")

    best, worst = known[-1], known[0]
    alt = f"Dot plot of the ratio to {native}: {_label(best)} {best['ratio']:.2f}"
    if len(known) > 1:
        alt += f" is the highest of {len(known)} languages, {_label(worst)} {worst['ratio']:.2f} the lowest"
    return _plot(name, f"{alt}. All values are in the table.", 0.75 + ROW * max(len(known), 2), draw)


def pairs_plot(name: str, rows: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Draw each language's mean recall against its training pairs; `None` if no card says how many there were."""
    known = sorted((row for row in rows if row["training_pairs"]), key=lambda row: float(row["mean_recall"]))
    if not known:
        return None
    natives = {round(row["native_mean_recall"], 6) for row in known if row["native_mean_recall"] is not None}
    chances = {round(row["chance_mean_recall"], 6) for row in known if row["chance_mean_recall"] is not None}

    counts = [row["training_pairs"] for row in known]
    recalls = [100 * row["mean_recall"] for row in known]
    ends = [row["ci95"] or (row["mean_recall"], row["mean_recall"]) for row in known]

    def draw(axes: Any, theme: Theme) -> None:
        lows, highs = [100 * low for low, _ in ends], [100 * high for _, high in ends]
        axes.vlines(counts, lows, highs, color=theme.main, lw=1.2, alpha=0.6, zorder=2)
        axes.plot(counts, recalls, "o", color=theme.main, ms=5, zorder=3)
        if len(natives) == 1:  # a line says something only where all were asked for the same images
            axes.axhline(100 * natives.copy().pop(), color=theme.other, lw=1.2, ls="--", zorder=1)
        if len(chances) == 1:
            axes.axhline(100 * chances.copy().pop(), color=theme.grey, lw=1.2, ls=":", zorder=1)
        if max(counts) >= MANY * min(counts):
            axes.set_xscale("log")
            axes.set_xlim(min(counts) / 1.6, max(counts) * 2)
        else:
            spread = max(max(counts) - min(counts), 0.1 * max(counts))
            axes.set_xlim(min(counts) - 0.15 * spread, max(counts) + 0.25 * spread)
            ticker = optional("matplotlib.ticker", "The page")
            axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=4, integer=True))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_ylim(0, 100)
        axes.set_xlabel("pairs of parallel text")
        axes.set_ylabel("mean recall (%)")
        axes.grid()
        _name_points(axes, known, theme)

    alt = f"Scatter plot of mean recall against the number of training pairs for {len(known)} languages: "
    said = {row["language"]: row for row in (min(known, key=_pairs), max(known, key=_pairs))}.values()
    alt += " and ".join(f"{_label(row)} {100 * row['mean_recall']:.1f} % with {_pairs(row):,} pairs" for row in said)
    return _plot(name, f"{alt}. All values are in the tables.", 3.0, draw)


def file_name(*parts: str) -> str:
    """Return a name of a file, without a suffix, that any disk takes."""
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-.") or "x" for part in parts)[:80]


def _pairs(row: Mapping[str, Any]) -> int:
    return int(row["training_pairs"])


def _label(row: Mapping[str, Any]) -> str:
    name = str(row["name"])
    name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return f"{name} ({row['language']})"


def _name_points(axes: Any, rows: Sequence[Mapping[str, Any]], theme: Theme) -> None:
    """Write the tags beside their points, moved up a little where they would lie on one another, or left out."""
    axes.figure.canvas.draw()
    scale = axes.figure.dpi / 72
    taken: list[tuple[float, float, float]] = []
    for row in rows:  # from the lowest up
        x, y = axes.transData.transform((row["training_pairs"], 100 * row["mean_recall"]))
        width, height = 7.0 * scale * len(row["language"]), 9.5 * scale
        place = y
        while any(abs(place - other) < height and x < right and left < x + width for left, right, other in taken):
            place += height / 4
        if place - y > FARTHEST * height:
            continue  # among very many points a name so far off would be taken for another's
        taken.append((x, x + width, place))
        axes.annotate(
            row["language"],
            (x, y),
            xytext=(x + 6 * scale, place),
            xycoords="figure pixels",
            textcoords="figure pixels",
            va="center",
            color=theme.ink,
            fontsize=9,
            parse_math=False,
            in_layout=False,
        )


def _plot(name: str, alt: str, height: float, draw: Any) -> Plot:
    shown = (round(WIDTH * SHOWN_DPI), round(height * SHOWN_DPI))
    return Plot(name, alt, _png(height, draw, LIGHT), _png(height, draw, DARK), *shown)


def _png(height: float, draw: Any, theme: Theme) -> bytes:
    mpl, agg, figures = (
        optional(name, "The page") for name in ("matplotlib", "matplotlib.backends.backend_agg", "matplotlib.figure")
    )
    from PIL import Image  # noqa: PLC0415

    ink = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), theme.ink)
    paper = {
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "grid.color": theme.ink,
        "grid.alpha": 0.2,
        "grid.linewidth": 0.5,
    }
    look = {"font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context({**ink, **paper, **look}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script that the font lacks is in the table
        figure = figures.Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        canvas = agg.FigureCanvasAgg(figure)
        draw(figure.subplots(), theme)
        canvas.draw()
    # Some colours are enough, and make a third of the bytes.
    few = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLOURS)
    content = io.BytesIO()
    few.save(content, format="png", optimize=True)
    return content.getvalue()
