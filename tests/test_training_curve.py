"""A run's curve: what is drawn from a log."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mla_extend.training.curve import BLUE, GREY, ORANGE, draw_curve

LOG = [
    {"stage": "transfer", "step": 0, "event": "evaluation", "score": 0.25, "chance": 0.05},
    {"stage": "transfer", "step": 2, "loss": 3.0},
    {"stage": "transfer", "step": 4, "loss": 2.0},
    {"stage": "transfer", "step": 5, "event": "evaluation", "score": 0.5, "chance": 0.05},
    {"stage": "exposure", "step": 0, "event": "evaluation", "score": 0.3, "chance": 0.1},
    {"stage": "exposure", "step": 1, "loss": 7.0},
    {"stage": "exposure", "step": 3, "event": "evaluation", "score": 0.75, "chance": 0.1},
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Keep the figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *given: Any, **named: Any) -> None:
        figures.append(figure)
        save(figure, *given, **named)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_losses_and_scores_of_all_stages_stand_on_one_axis_of_steps(drawn: list[Figure], tmp_path: Path) -> None:
    draw_curve(LOG, tmp_path / "curves.png", "Swahili")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    losses, scores = drawn[0].axes
    assert [line.get_xydata().tolist() for line in losses.lines] == [[[2, 3], [4, 2]], [[6, 7]]]
    assert [line.get_xydata().tolist() for line in scores.lines] == [[[0, 25], [5, 50]], [[5, 30], [8, 75]]]
    for axes in (losses, scores):
        assert [line.get_label() for line in axes.lines] == ["transfer", "exposure"]
        assert [to_hex(line.get_color()) for line in axes.lines] == [BLUE, ORANGE]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["transfer", "exposure"]
        assert axes.get_xlabel() == "step"
    assert (losses.get_ylabel(), losses.get_title()) == ("loss", "Training loss")
    assert scores.get_ylabel() == "mean of R@1, R@5, R@10, both ways (%)"
    assert scores.get_title() == "Held-out slice (dotted: chance)"
    assert scores.get_ylim() == (0, 100)
    chance = [segment.tolist() for lines in scores.collections for segment in lines.get_segments()]
    assert [[[x, round(y, 9)] for x, y in segment] for segment in chance] == [[[0, 5], [5, 5]], [[5, 10], [8, 10]]]
    assert {to_hex(lines.get_edgecolor()[0]) for lines in scores.collections} == {GREY}
    assert drawn[0].get_suptitle() == "Swahili"


def test_a_stage_without_steps_has_a_score_alone_and_no_stage_has_a_legend(drawn: list[Figure], tmp_path: Path) -> None:
    draw_curve(LOG[:1], tmp_path / "one.png", "x")
    draw_curve(LOG[1:2], tmp_path / "loss.png", "x")
    draw_curve([], tmp_path / "none.png", "x")
    assert drawn[0].axes[1].lines[0].get_xydata().tolist() == [[0, 25]]
    assert not drawn[1].axes[1].collections
    assert all(axes.get_legend() is None for axes in drawn[2].axes)
