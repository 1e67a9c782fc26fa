"""The figure of the budget over time: what was spent, how the trials ended, and no pause between sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_up import write_search
from test_search_figures import words_of

from preprocess.files import read_lines, write_lines
from tune.rendering.style import PAPER, drawing
from tune.search.budget_figure import End, Epoch, Spending, draw_budget, read_spending
from tune.search.search_findings import write_findings
from tune.trials.ledger import Ledger


def test_spending_is_samples_times_t_of_every_epoch_in_the_order_of_time(tmp_path: Path):
    search = write_search(tmp_path, failed=2)
    spending = read_spending(search, tmp_path)
    # Six trials of five epochs on 275 samples: four at T = 2, two at T = 4; the two that failed have T = 4.
    assert [epoch.cost for epoch in spending.epochs] == 20 * [550] + 10 * [1100]
    assert spending.full == 275 * 5 * (4 * 2 + 4 * 4)
    assert spending.epochs[0].ended == 1002.5 and spending.epochs[0].seconds == 2.5
    assert [end.status for end in spending.ends] == 6 * ["done"] + 2 * ["failed"]
    assert spending.ends[0].ended == 1012.5 and spending.ends[-1].accuracy is None


def test_epochs_of_earlier_versions_have_no_place_in_time(tmp_path: Path):
    search = write_search(tmp_path)
    for config in search.configs():
        path = Ledger(tmp_path).trial_folder(config) / "timings.jsonl"
        rows = [{name: value for name, value in row.items() if name != "ended"} for row in read_lines(path)]
        if rows:
            write_lines(path, rows)
    assert read_spending(search, tmp_path).epochs == ()
    write_findings(search, tmp_path)
    assert not (tmp_path / "figures" / "budget.svg").exists()


@pytest.fixture
def spending() -> Spending:
    epochs = tuple(Epoch(1000.0 + 10 * k, 10.0, 100, (0.2, 0.6, None, 0.4)[k]) for k in range(4))
    ends = (End(1020.0, "done", 0.6), End(1030.0, "pruned", 0.4), End(1015.0, "failed", None))
    return Spending(epochs, ends, 1000)


def draw(spending: Spending) -> tuple[list[list[float]], list[list[float]], str]:
    """The points of both lines, and the heading."""
    with drawing(PAPER):
        figure = draw_budget(spending, "tiny (emulated data)")
    spent, best = figure.axes
    return spent.get_lines()[0].get_xydata().tolist(), best.get_lines()[0].get_xydata().tolist(), figure.get_suptitle()


def test_lines_are_what_was_spent_and_the_best_so_far(spending: Spending):
    spent, best, heading = draw(spending)
    assert spent == [[0, 0], [10, 0.1], [20, 0.2], [30, 0.3], [40, 0.4]]
    # An epoch that was not validated says nothing.
    assert best == [[10, 20], [20, 60], [40, 60]]
    assert "tiny (emulated data)" in heading and "pause" not in heading


def test_pause_between_sessions_is_left_out_and_said(spending: Spending):
    night = 8 * 3600.0
    later = [replace(epoch, ended=epoch.ended + night) for epoch in spending.epochs[2:]]
    ends = (spending.ends[0], replace(spending.ends[1], ended=1030.0 + night), spending.ends[2])
    spent, _, heading = draw(Spending((*spending.epochs[:2], *later), ends, 1000))
    assert [time for time, _ in spent] == pytest.approx([0, 10, 20, 30, 40])
    assert "dotted lines: pauses, left out" in heading


def test_ends_are_marked_by_status(tmp_path: Path):
    search = write_search(tmp_path)
    write_findings(search, tmp_path)
    words = words_of(tmp_path / "figures" / "budget.svg")
    assert {"7 done", "1 failed", "all trials up to their last epoch"} <= set(words)
    assert any("(emulated data)" in word for word in words)
