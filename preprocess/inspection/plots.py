"""Plots of events and frames: OFF is blue, ON is red, on white."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import SpikeloomError
from preprocess.events import Events
from preprocess.files import whole_file
from preprocess.inspection.event_statistics import Excerpt, Survey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OFF_BLUE, ON_RED = "#2166ac", "#d6302a"

_INK = "#333333"
_DOTS_PER_INCH = 120
_MOST_FRAMES = 20
_MOST_COLUMNS = 10


def draw_events(path: Path, title: str, survey: Survey, excerpt: Excerpt) -> None:
    """Plot a stream: an excerpt in space and time and as frames, and the event rate of the whole stream.

    Args:
        path: The PNG to write, atomically.
        title: One or two lines at the top.
        survey: Statistics of the whole stream.
        excerpt: The interval to show.

    Raises:
        SpikeloomError: If the file cannot be written.
    """
    figure = _new_figure(title, 9.6, above=0.65, below=0.55)
    rows = figure.add_gridspec(3, 1, height_ratios=(5.0, 1.9, 1.7), hspace=0.22)
    unit, scale = ("s", 1e6) if survey.duration_us > 2_000_000 else ("ms", 1e3)
    start, end = ((us - survey.start_us) / scale for us in (excerpt.start_us, excerpt.end_us))
    _draw_space_time(figure, rows[0], excerpt.shown, (excerpt.shown.t - survey.start_us) / scale, (start, end), unit)
    edges = np.linspace(start, end, len(excerpt.frames), endpoint=False)
    labels = [f"{edge:,.2f} s" if unit == "s" else f"{edge:,.0f} ms" for edge in edges]
    _draw_strip(figure, rows[1], excerpt.frames, labels, brightest_count(excerpt.frames), len(labels))
    _draw_rate(figure.add_subplot(rows[2]), survey, (start, end), scale, unit)
    _save(figure, path)


def draw_frames(path: Path, title: str, frames: NDArray[Any]) -> None:
    """Plot a sample of a frame cache: up to twenty frames, the sum of all, and the events of every time step.

    Args:
        path: The PNG to write, atomically.
        title: One or two lines at the top.
        frames: Counts, shape (T, 2, H, W).

    Raises:
        SpikeloomError: If the file cannot be written.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _MOST_FRAMES)).astype(int))
    columns = min(len(chosen), _MOST_COLUMNS) if len(chosen) <= _MOST_COLUMNS else -(-len(chosen) // 2)
    strips = [chosen[i : i + columns] for i in range(0, len(chosen), columns)]
    cell = 12.0 / columns  # In inches; limited below, so that a single frame does not fill the page.
    heights = [min(cell, 3.0) * frames.shape[2] / frames.shape[3] + 0.15] * len(strips) + [2.1]
    figure = _new_figure(title, sum(heights) + 1.7, above=0.75, below=0.55)
    rows = figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=0.22)
    brightest = brightest_count(frames[chosen])
    for row, part in enumerate(strips):
        _draw_strip(figure, rows[row], frames[part], [f"step {i}" for i in part], brightest, columns)
    below = rows[len(strips)].subgridspec(1, 2, width_ratios=(1, 4.5), wspace=0.12)
    whole = frames.sum(axis=0, dtype=np.int64)
    _draw_frame(figure.add_subplot(below[0]), whole, "all steps", brightest_count(whole))
    _draw_steps(figure.add_subplot(below[1]), frames)
    _save(figure, path)


def _new_figure(title: str, height: float, *, above: float, below: float) -> Figure:
    """A page with a title; sizes and margins are in inches."""
    # Without pyplot, which needs a display and has global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, height), dpi=_DOTS_PER_INCH, facecolor="white")
    figure.subplots_adjust(left=0.055, right=0.985, top=1 - above / height, bottom=below / height)
    figure.suptitle(title, x=0.055, y=1 - 0.12 / height, ha="left", va="top", fontsize=11, color=_INK)
    return figure


def _draw_space_time(
    figure: Figure, place: Any, events: Events, t: NDArray[np.float64], span: tuple[float, float], unit: str
) -> None:
    """Plot events as points: time to the right, column into the page, row upwards."""
    import mpl_toolkits.mplot3d  # noqa: F401  (registers the projection)

    axes: Any = figure.add_subplot(place, projection="3d", computed_zorder=False)
    colours = np.where(events.p[:, None] == 1, _rgb(ON_RED), _rgb(OFF_BLUE))
    size = float(np.clip(40_000 / max(1, len(events)), 1.2, 7.0))
    rows = events.height - 1 - events.y.astype(int)
    # Matplotlib would clip the points of such a long box to a square in its middle.
    axes.scatter(t, events.x, rows, s=size, c=colours, alpha=0.5, linewidths=0, depthshade=False, clip_on=False)
    axes.set_xlim(*span)
    axes.set_ylim(0, events.width)
    axes.set_zlim(0, events.height)
    axes.set_box_aspect((3.6, 1.05, 1), zoom=2.2)
    axes.view_init(elev=14, azim=-72)
    axes.set_xlabel(f"time since the first event ({unit})", labelpad=16, color=_INK)
    axes.set_ylabel("x", labelpad=-6, color=_INK)
    axes.set_zlabel("y", labelpad=-14, color=_INK)
    axes.set_yticks([])
    axes.set_zticks([])
    axes.grid(False)
    axes.tick_params(colors=_INK, labelsize=9, pad=4)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0.965, 0.965, 0.965, 1))


def _draw_strip(
    figure: Figure, place: Any, frames: NDArray[Any], labels: list[str], brightest: float, columns: int
) -> None:
    """Draw frames in a row that has space for `columns` of them."""
    cells = place.subgridspec(1, columns, wspace=0.06)
    for column, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        _draw_frame(figure.add_subplot(cells[column]), frame, label, brightest)


def _draw_frame(axes: Axes, frame: NDArray[Any], label: str, brightest: float) -> None:
    """Draw a frame (2, H, W): more events give a stronger colour, and events of both polarities give purple."""
    counts = frame.astype(float)
    total = counts.sum(axis=0)
    colour = np.einsum("phw,pc->hwc", counts / np.maximum(total, 1), np.stack([_rgb(OFF_BLUE), _rgb(ON_RED)]))
    strength = np.minimum(total / brightest, 1.0) ** 0.6
    axes.imshow(1 - strength[..., None] * (1 - colour), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(label, fontsize=9, color=_INK, pad=3)
    for spine in axes.spines.values():
        spine.set_color("#bbbbbb")


def _draw_rate(axes: Axes, survey: Survey, shown: tuple[float, float], scale: float, unit: str) -> None:
    """Plot the event rate of the whole stream, ON stacked on OFF, and mark the interval shown above."""
    counts, window_us = _merged(survey.counts, survey.window_us, 400)
    edges = np.arange(counts.shape[1] + 1) * (window_us / scale)
    rate = counts / window_us * 1e3  # thousands of events/s
    axes.stairs(rate[0], edges, fill=True, color=OFF_BLUE, label="OFF", linewidth=0)
    axes.stairs(rate.sum(axis=0), edges, baseline=rate[0], fill=True, color=ON_RED, label="ON", linewidth=0)
    if shown[1] - shown[0] < 0.99 * survey.duration_us / scale:
        axes.axvspan(*shown, color="#f2c94c", alpha=0.35, linewidth=0, zorder=0, label="shown above")
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"time since the first event ({unit})", color=_INK)
    axes.set_ylabel("kilo-events/s", color=_INK)
    _plain_axes(axes)


def _draw_steps(axes: Axes, frames: NDArray[Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    counts = frames.sum(axis=(2, 3), dtype=np.int64)
    steps = np.arange(len(frames))
    axes.bar(steps, counts[:, 0], color=OFF_BLUE, label="OFF", width=0.85)
    axes.bar(steps, counts[:, 1], bottom=counts[:, 0], color=ON_RED, label="ON", width=0.85)
    axes.set_xlim(-0.6, len(frames) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("time step", color=_INK)
    axes.set_ylabel("events", color=_INK)
    _plain_axes(axes)


def _plain_axes(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, fontsize=9, frameon=False, borderaxespad=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)


def _merged(counts: NDArray[np.int64], window_us: int, most: int) -> tuple[NDArray[np.int64], int]:
    """Merge windows if there are more than `most`."""
    merge = -(-counts.shape[1] // most)
    padded = np.pad(counts, ((0, 0), (0, -counts.shape[1] % merge)))
    return padded.reshape(2, -1, merge).sum(axis=2), window_us * merge


def brightest_count(frames: NDArray[Any]) -> float:
    """Number of events of a pixel that is drawn in full colour; 2 % of the pixels, often hot ones, have more."""
    total = frames.sum(axis=-3, dtype=np.int64)
    seen = total[total > 0]
    return float(np.percentile(seen, 98)) if len(seen) else 1.0


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _save(figure: Figure, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            figure.savefig(temporary, format="png")
    except OSError as error:
        raise SpikeloomError(f"{path}: cannot be written ({error.strerror or error}). Give another file.") from None
