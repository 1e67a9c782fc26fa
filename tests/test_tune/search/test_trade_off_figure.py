"""The figure of accuracy against cost: the front as steps, names with room, and no panel where costs are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_search_figures import FIELDS, row, words_of

from tune.rendering.style import PAPER, drawing
from tune.search.search_figures import write_figures
from tune.search.trade_off_figure import costs_of, draw_trade_off


def point(timesteps: int, energy: float | None, accuracy: float, **others: Any) -> dict[str, Any]:
    return row(timesteps, 2.0, "lif", accuracy=accuracy) | {"energy_uj": energy} | others


def test_front_rises_in_steps_past_what_is_beaten_and_goes_on_to_the_dearest():
    rows = [point(2, 10.0, 0.5), point(4, 20.0, 0.4), point(8, 30.0, 0.7), point(16, 90.0, 0.6)]
    with drawing(PAPER):
        energy, steps = draw_trade_off(rows, "tiny").axes
    (line,) = energy.get_lines()
    assert line.get_xydata().tolist() == [[10.0, 50.0], [30.0, 70.0], [90.0, 70.0]]
    assert line.get_drawstyle() == "steps-post"
    assert [text.get_text() for text in energy.texts] == ["T=2", "T=8"]
    assert steps.get_lines()[0].get_xydata().tolist() == [[2.0, 50.0], [8.0, 70.0], [16.0, 70.0]]
    assert not steps.texts


def test_names_have_room():
    """Ten points of a front in one place get one name; the one far from them another."""
    rows = [point(4, 100.0 + k / 100, 0.9 + k / 10_000) for k in range(10)] + [point(2, 11.0, 0.5)]
    with drawing(PAPER):
        figure = draw_trade_off(rows, "tiny")
    assert [text.get_text() for text in figure.axes[0].texts] == ["T=2", "T=4"]


def test_cost_is_drawn_where_it_differs_and_every_complete_trial_has_it():
    assert costs_of([point(4, 1.0, 0.5), point(4, 2.0, 0.5)]) == ["energy"]
    assert costs_of([point(4, 1.0, 0.5), point(8, None, 0.5)]) == ["timesteps"]
    assert costs_of([point(4, 1.0, 0.5), point(4, 1.0, 0.5)]) == []
    assert costs_of([point(4, 1.0, 0.5), point(8, 2.0, 0.9, status="pruned")]) == []
    rows = [point(4, 1.0, 0.5, sparse_energy_uj=3.0), point(4, 1.0, 0.5, sparse_energy_uj=4.0)]
    assert costs_of(rows) == [] and costs_of(rows, ("accuracy", "sparse-energy")) == ["sparse-energy"]


def test_figure_says_what_the_data_are_and_what_the_bars_mean(tmp_path: Path):
    spread = {"validation_accuracy_std": 0.02, "runs": 3}
    rows = [point(4, 1.0, 0.5, **spread), point(8, 2.0, 0.6, **spread)]
    write_figures(tmp_path, rows, FIELDS, "tiny (emulated data)")
    words = words_of(tmp_path / "pareto.svg")
    assert "tiny (emulated data)" in words
    assert any(word.endswith("means of 3 seeds, bars: standard deviation") for word in words)
    assert {"energy per inference, µJ (estimated by the rule of Table 6)"} & {w.replace("'", "&apos;") for w in words}


@pytest.mark.parametrize("status", ["pruned", "failed"])
def test_trials_that_are_not_complete_are_no_points(tmp_path: Path, status: str):
    write_figures(tmp_path, [point(4, 1.0, 0.5), point(8, 2.0, 0.9, status=status)], FIELDS, "tiny")
    assert not (tmp_path / "pareto.svg").exists()
