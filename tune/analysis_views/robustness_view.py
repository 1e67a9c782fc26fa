"""The view of robustness: accuracy over the strength of each kind of disturbance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.analysis.robustness import UNITS, RobustnessCurve, RobustnessPoint, RobustnessResult
from tune.analysis_views.accuracy_curve import draw_accuracies
from tune.analysis_views.analysis_view import AnalysisView
from tune.rendering.labels import neuron_label
from tune.rendering.panels import Panel
from tune.rendering.style import PALETTE
from tune.rendering.table import Table, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = {
    "noise": "Noise events",
    "hot-pixels": "Hot pixels",
    "dropped": "Dropped events",
    "jitter": "Time jitter",
    "timesteps": "Time steps",
}

# In the table, where the accuracy shall also be seen in a narrow window.
_SHORT = {
    "noise": "noise, per event",
    "hot-pixels": "hot pixels",
    "dropped": "dropped, share",
    "jitter": "jitter, ms",
    "timesteps": "T",
}


def robustness_view(result: RobustnessResult) -> AnalysisView:
    """Tables and figures of accuracies on disturbed samples."""
    samples = result.subject.samples
    measured = f"On {samples} samples, with 95 % intervals over samples (Wilson)."
    return AnalysisView(
        lead=f"{_lead(result)}.",
        sentences=(
            _what_changes(result),
            f"One of {samples} samples is {100 / samples:.2f} percentage points. All levels are measured on the same "
            "samples, so that differences are more certain than the intervals. The spread over seeds of the training "
            "is not measured: compare several runs of each neuron before you compare neurons.",
            "The weights were trained on undisturbed samples, unless the run has an augmentation.",
            *(f"Left out: {kind}, because {why}." for kind, why in result.left_out.items()),
        ),
        tables=(_table(result),),
        panels=tuple(
            Panel(_TITLES[curve.kind], f"{_caption(result, curve.kind)} {measured}", _draw(result, curve), width=3.8)
            for curve in result.curves
        ),
    )


def _lead(result: RobustnessResult) -> str:
    """The undisturbed accuracy, and the lowest accuracy of each kind."""
    found = []
    for curve in result.curves:
        worst = min(curve.points, key=lambda point: point.accuracy)
        where = f"with {worst.level:g} {UNITS[curve.kind]}"
        if curve.kind == "timesteps":
            where = f"at T = {worst.level:g}"
        elif curve.kind == "dropped":
            where = f"with {100 * worst.level:g} % of the events dropped"
        elif curve.kind == "jitter":
            where = f"with a time jitter of {worst.level:g} ms"
        found.append(f"{format_percent(worst.accuracy)} % {where}")
    label = neuron_label(result.subject.neuron)
    clean = format_percent(_undisturbed(result))
    return f"{label} classifies {clean} % of the undisturbed samples, and at worst {', '.join(found)}"


def _undisturbed(result: RobustnessResult) -> float:
    curve = result.curves[0]
    level = float(result.subject.timesteps) if curve.kind == "timesteps" else 0.0
    return next(point.accuracy for point in curve.points if point.level == level)


def _what_changes(result: RobustnessResult) -> str:
    if result.changed == "events":
        return (
            "Events are changed before they are binned: noise is uniform over pixels, time and polarity, a hot pixel "
            f"fires {result.hot_hz:g} ON events per second, and jitter is normal."
        )
    return (
        f"The counts of frames are changed, because {result.why_frames}: noise is uniform over their elements, and a "
        f"hot pixel has {result.hot_events} more ON events in each frame."
    )


def _caption(result: RobustnessResult, kind: str) -> str:
    """What is on the x axis of a kind's figure."""
    hot = f"at {result.hot_hz:g} Hz" if result.changed == "events" else f"{result.hot_events} times in each frame"
    return {
        "noise": "Random events, as a multiple of the events of the sample.",
        "hot-pixels": f"Pixels that fire {hot}, others in each sample.",
        "dropped": "Each event is left out with this probability.",
        "jitter": "Standard deviation of the normal noise on the time of each event.",
        "timesteps": "The same samples in another number of frames; dashed: the T of the training.",
    }[kind]


def _table(result: RobustnessResult) -> Table:
    """All curves; the undisturbed samples, which are in each of them, are the first row."""
    undisturbed, rows = None, []
    for curve in result.curves:
        clean = result.subject.timesteps if curve.kind == "timesteps" else 0.0
        for point in curve.points:
            if point.level != clean:
                rows.append((_SHORT[curve.kind], f"{point.level:g}", *_row(point)))
            else:
                undisturbed = ("undisturbed", "–", *_row(point))
    rows = [undisturbed, *rows] if undisturbed else rows
    columns = ("disturbance", "strength", "accuracy, %", "95 % interval", "firing rate")
    return Table(f"Accuracy on disturbed samples, {result.subject.samples} samples", columns, tuple(rows), "lrrrr")


def _row(point: RobustnessPoint) -> tuple[str, str, str]:
    interval = f"{format_percent(point.low)} to {format_percent(point.high)}"
    return format_percent(point.accuracy), interval, f"{point.firing_rate:.4f}"


def _draw(result: RobustnessResult, curve: RobustnessCurve) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        levels = [point.level for point in curve.points]
        draw_accuracies(axes, levels, curve.points, PALETTE[0])
        if curve.kind == "timesteps":
            axes.axvline(result.subject.timesteps, color=PALETTE[-1], linestyle="--", linewidth=1)
            axes.set_xticks(levels)
        axes.set_ylim(0, 102)
        axes.set_xlabel(UNITS[curve.kind])

    return draw
