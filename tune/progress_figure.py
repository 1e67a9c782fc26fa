"""How a search spent its budget over time: samples x T that were trained on, and the best accuracy so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.runs import read_lines
from tune.drawing import PALETTE, PAPER, drawing, new_figure, save
from tune.ledger import Ledger
from tune.search_plan import Search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS = {"done": ("o", PALETTE[2]), "pruned": ("v", PALETTE[1]), "failed": ("x", PALETTE[3])}


@dataclass(frozen=True)
class Epoch:
    """One epoch of a trial.

    Attributes:
        ended: Unix seconds.
        cost: Samples x T.
        accuracy: On the validation split.
        end: Of the trial: done, pruned or failed; "" while it goes on.
    """

    ended: float
    cost: int
    accuracy: float
    end: str


def read_epochs(search: Search, folder: Path) -> list[Epoch]:
    """Every epoch of every trial, in the order in which they ended."""
    ledger = Ledger(folder)
    found = []
    for config in search.configs():
        metrics = {row["epoch"]: row for row in ledger.metrics(config)}
        timings = [row for row in read_lines(ledger.trial_folder(config) / "timings.jsonl") if "ended" in row]
        status = (ledger.read_done(config) or {}).get("status", "")
        cost = search.data.train * config.binning.timesteps
        for k, row in enumerate(timings):
            accuracy = metrics.get(row["epoch"], {}).get("validation_accuracy") or 0.0
            found.append(Epoch(row["ended"], cost, accuracy, status if k + 1 == len(timings) else ""))
    return sorted(found, key=lambda epoch: epoch.ended)


def write_progress(folder: Path, search: Search) -> None:
    """Write figures/budget.svg and .png; nothing before the first epoch."""
    epochs = read_epochs(search, folder)
    if epochs:
        with drawing(PAPER):
            save(draw_progress(epochs, search.about), folder / "figures", "budget")


def draw_progress(epochs: list[Epoch], about: str) -> Figure:
    """Two panels over wall time; pauses between sessions are part of it."""
    figure, (spent, best) = new_figure(8.2, 3.4, 2)
    first = epochs[0].ended
    unit, name = _unit(epochs[-1].ended - first)
    times = [(epoch.ended - first) / unit for epoch in epochs]
    total, top, spends, tops = 0, 0.0, [], []
    for epoch in epochs:
        total, top = total + epoch.cost, max(top, epoch.accuracy)
        spends.append(total / 1e6)
        tops.append(100 * top)
    spent.step(times, spends, where="post", color=PALETTE[0])
    for status, (mark, colour) in _MARKS.items():
        ends = [k for k, epoch in enumerate(epochs) if epoch.end == status]
        if ends:
            places = [times[k] for k in ends], [spends[k] for k in ends]
            spent.scatter(*places, marker=mark, color=colour, s=22, zorder=3, label=f"{len(ends)} {status}")
    spent.set_ylabel("samples x T trained on, millions")
    spent.set_ylim(bottom=0)
    spent.legend(title=None, loc="upper left")
    best.scatter(times, [100 * epoch.accuracy for epoch in epochs], color=PALETTE[6], s=8, alpha=0.4, linewidth=0)
    best.step(times, tops, where="post", color=PALETTE[0])
    best.set_ylabel("validation accuracy, %")
    best.set_title("each epoch of each trial; line: the best so far")
    for axes in (spent, best):
        axes.set_xlabel(f"{name} since the first epoch's end")
    figure.suptitle(about, x=0.01, ha="left", fontsize=10.5)
    return figure


def _unit(seconds: float) -> tuple[float, str]:
    return (3600.0, "hours") if seconds > 2 * 3600 else (60.0, "minutes") if seconds > 180 else (1.0, "seconds")
