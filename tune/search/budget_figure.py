"""The compute that a search used over time, in training samples x T, and the best accuracy so far."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.run_config import RunConfig
from tune.rendering.style import PALETTE, PAPER, drawing, drawing_ink, new_figure, save, set_title
from tune.search.search_plan import Search
from tune.trials.ledger import Ledger, TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = {"done": ("o", PALETTE[2]), "pruned": ("v", PALETTE[1]), "failed": ("x", PALETTE[3])}
# If no epoch runs for this long, the search was interrupted and resumed later.
_PAUSE_S = 600.0


@dataclass(frozen=True)
class Epoch:
    """One epoch of a trial.

    Attributes:
        ended: Unix seconds.
        seconds: Its duration.
        cost: Training samples x T.
        accuracy: On the validation samples; None if nothing was validated.
    """

    ended: float
    seconds: float
    cost: int
    accuracy: float | None


@dataclass(frozen=True)
class End:
    """The end of a trial: when (unix seconds), how (done, pruned or failed), and its validation accuracy."""

    ended: float
    status: str
    accuracy: float | None


@dataclass(frozen=True)
class Spending:
    """The compute that the trials of a search used.

    Attributes:
        epochs: The epochs of all trials, in the order in which they ended.
        ends: The ends of trials that have ended.
        full: Training samples x T of all known trials up to their last epoch.
    """

    epochs: tuple[Epoch, ...]
    ends: tuple[End, ...]
    full: int


def read_spending(search: Search, folder: Path) -> Spending:
    """The compute used in a folder so far; runs of earlier versions, which recorded no times, are left out."""
    ledger, configs = Ledger(folder), search.configs()
    epochs: list[Epoch] = []
    ends = []
    full = 0
    for config in configs:
        own = _epochs_of(ledger, config, search.data.train * config.binning.timesteps)
        epochs += own
        # A trial that starts from another trains only its own epochs.
        begin = len(ledger.metrics(config)) - len(ledger.timings(config)) if config.start_from else 0
        full += search.data.train * config.binning.timesteps * (config.schedule.last_epoch - begin)
        record = ledger.read_done(config)
        if record is not None and (when := own[-1].ended if own else _seconds(record)) is not None:
            ends.append(End(when, record["status"], record["validation_accuracy"]))
    return Spending(tuple(sorted(epochs, key=lambda epoch: epoch.ended)), tuple(ends), full)


def _epochs_of(ledger: Ledger, config: RunConfig, cost: int) -> list[Epoch]:
    reached = {row["epoch"]: row.get("validation_accuracy") for row in ledger.metrics(config)}
    timings = [row for row in ledger.timings(config) if "ended" in row]
    return [Epoch(row["ended"], row["epoch_s"], cost, reached.get(row["epoch"])) for row in timings]


def _seconds(record: TrialRecord) -> float | None:
    return dt.datetime.fromisoformat(record["ended"]).timestamp() if record.get("ended") else None


class _Clock:
    """Turns unix seconds into seconds since the first epoch began, without the pauses between sessions."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        self.pauses: list[tuple[float, float]] = []
        begins = sorted((epoch.ended - epoch.seconds, epoch.ended) for epoch in epochs)
        self._first = busy = begins[0][0]
        for begin, end in begins:
            if begin - busy > _PAUSE_S:
                self.pauses.append((busy, begin))
            busy = max(busy, end)

    def __call__(self, when: float) -> float:
        paused = sum(min(when, end) - begin for begin, end in self.pauses if when > begin)
        return max(0.0, when - paused - self._first)


def write_budget(folder: Path, search: Search) -> None:
    """Write figures/budget.svg and .png, once the first epoch has ended."""
    spending = read_spending(search, folder)
    if spending.epochs:
        with drawing(PAPER):
            save(draw_budget(spending, search.about), folder / "figures", "budget")


def draw_budget(spending: Spending, about: str) -> Figure:
    """Two panels over the running time of the search: compute used, and accuracy reached."""
    clock = _Clock(spending.epochs)
    moments = [epoch.ended for epoch in spending.epochs] + [end.ended for end in spending.ends]
    longest = max(map(clock, moments))
    unit, name = _unit(longest)
    figure, (spent, best) = new_figure(9.0, 3.5, 2)
    times = [clock(epoch.ended) / unit for epoch in spending.epochs]
    scale, scale_name = (1e6, "millions") if spending.full >= 2e6 else (1e3, "thousands")
    total, totals = 0, []
    for epoch in spending.epochs:
        total += epoch.cost
        totals.append(total / scale)
    spent.step([0.0, *times], [0.0, *totals], where="post", color=PALETTE[0], label="_trained on")
    spent.axhline(spending.full / scale, color=drawing_ink(), linewidth=1, linestyle="--")
    spent.annotate(
        "all trials up to their last epoch",
        (0.0, spending.full / scale),
        textcoords="offset points",
        xytext=(0, -11),
        fontsize=8,
    )
    spent.set_ylim(0, 1.08 * spending.full / scale)
    spent.set_ylabel(f"samples times T trained on, {scale_name}")
    _draw_best(best, times, spending.epochs)
    _draw_ends(best, spending.ends, clock, unit)
    for axes in (spent, best):
        axes.set_xlim(0, 1.03 * longest / unit)
        axes.set_xlabel(f"{name} since the first epoch began")
        for begin, _ in clock.pauses:
            axes.axvline(clock(begin) / unit, color=drawing_ink(), linewidth=0.8, linestyle=":")
    pauses = "; dotted lines: pauses, left out" if clock.pauses else ""
    set_title(figure, f"{about}\nright: dots: epochs; line: best so far; marks: ends of trials{pauses}")
    return figure


def _draw_best(axes: Axes, times: list[float], epochs: Sequence[Epoch]) -> None:
    pairs = zip(times, epochs, strict=True)
    validated = [(time, 100 * epoch.accuracy) for time, epoch in pairs if epoch.accuracy is not None]
    top, tops = 0.0, []
    for _, accuracy in validated:
        top = max(top, accuracy)
        tops.append(top)
    where = [time for time, _ in validated]
    reached = [accuracy for _, accuracy in validated]
    axes.scatter(where, reached, color=PALETTE[6], s=7, alpha=0.4, linewidth=0, label="_epoch")
    axes.step(where, tops, where="post", color=PALETTE[0], label="_best so far")
    axes.set_ylabel("validation accuracy, %")


def _draw_ends(axes: Axes, ends: Sequence[End], clock: _Clock, unit: float) -> None:
    for status, (mark, colour) in _MARKS.items():
        own = [end for end in ends if end.status == status]
        # In the legend once, even if it is drawn in two ways.
        label: str | None = f"{len(own)} {status}"
        reached = [end for end in own if end.accuracy is not None]
        if reached:
            places = [clock(end.ended) / unit for end in reached], [100 * (end.accuracy or 0.0) for end in reached]
            axes.scatter(*places, marker=mark, color=colour, s=26, zorder=3, label=label)
            label = None
        others = [clock(end.ended) / unit for end in own if end.accuracy is None]
        if others:
            # Trials without an accuracy are drawn at the axis.
            line = axes.get_xaxis_transform()
            axes.scatter(
                others, [0.03] * len(others), transform=line, marker=mark, color=colour, s=26, zorder=3, label=label
            )
    if ends:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(_MARKS), borderpad=0)


def _unit(seconds: float) -> tuple[float, str]:
    return (3600.0, "hours") if seconds > 2 * 3600 else (60.0, "minutes") if seconds > 180 else (1.0, "seconds")
