"""The values that the page's script shows next to the pointer: those of a figure, by their position in its SVG.

Works with any figure. Included are lines with a label, scattered points and the cells of heat maps; fills, error bars,
lines without a label and lines across the complete axes are not. A label that begins with an underscore is left out of
the legend (by matplotlib) but names the series here; `tune.rendering.hover_text.set_hover` adds a text to each point.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tune.rendering.hover_text import get_hover
from tune.rendering.style import page_colour
from tune.rendering.table import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# SVG files are written with 72 units an inch.
_UNITS_PER_INCH = 72
# More points of a line cannot be distinguished; scattered points are all included.
_MOST_LINE_POINTS = 1500
# Labels that matplotlib gives to artists without one.
_NO_LABEL = re.compile(r"_(child\d+|nolegend_)$|^None$|^$")


def link_legends(figure: Figure) -> list[dict[str, Any]]:
    """Give ids to legend entries and their marks, so that a click can hide them; call this before the SVG is made.

    Returns:
        For each entry of each legend with several entries: `entry` and `marks`, the ids in the SVG.
    """
    links = []
    for axes in figure.axes:
        legend = axes.get_legend()
        handles = [] if legend is None else [handle for handle in legend.legend_handles if handle is not None]
        if legend is None or len(handles) < 2:
            continue
        for handle, text in zip(handles, legend.get_texts(), strict=True):
            marks = _marks_of(figure, text.get_text(), _colour(handle))
            if marks:
                links.append({"entry": [handle, text], "marks": marks})
    for k, link in enumerate(links):
        for role, artists in link.items():
            for n, artist in enumerate(artists):
                artist.set_gid(f"{role}-{k}-{n}")
            link[role] = [artist.get_gid() for artist in artists]
    return links


def _marks_of(figure: Figure, label: str, colour: str) -> list[Any]:
    """The artists with the label, and those without one in the same colour: a line's band, points and error bars."""
    drawn = [artist for axes in _plots(figure) for artist in (*axes.lines, *axes.collections)]
    return [
        artist
        for artist in drawn
        if artist.get_label() == label or (str(artist.get_label()).startswith("_") and _colour(artist) == colour)
    ]


def hover_json(figure: Figure, title: str, links: Sequence[dict[str, Any]], name: str) -> str:
    """The figure's values as JSON for a ``<script>`` element; call it after the SVG was made.

    Args:
        figure: The drawn figure, whose layout is known.
        title: The name of a y axis without a label.
        links: From `link_legends`.
        name: The prefix of the ids, as given to `tune.rendering.style.inline_svg`.

    Returns:
        An object. `axes`: `box` (left, top, right, bottom in SVG units), the names `x` and `y`, and `series`: `name`,
        `colour`, `kind` (line, points or cells), `at`: a list for each point with its position, then the texts of x, y
        and further ones. `toggles`: ids by legend entry. "" if there are no values.
    """
    plots = _plots(figure)
    names = [axes.get_ylabel() for axes in plots]
    first = next(filter(None, names), "")
    axes_values = []
    for axes in plots:
        series = _series(figure, axes)
        if series:
            y = axes.get_ylabel() or first or title
            axes_values.append({"box": _box(figure, axes), "x": axes.get_xlabel(), "y": y, "series": series})
    if not axes_values:
        return ""
    toggles = [{role: [f"{name}-{one}" for one in ids] for role, ids in link.items()} for link in links]
    values = {"axes": axes_values, "toggles": toggles}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _plots(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def _to_svg(figure: Figure, places: NDArray[np.float64]) -> list[list[float]]:
    """Pixels of the figure, from its lower left, as SVG units from its upper left, to a tenth."""
    units = places * (_UNITS_PER_INCH / figure.dpi)
    units[:, 1] = figure.get_figheight() * _UNITS_PER_INCH - units[:, 1]
    found: list[list[float]] = np.round(units, 1).tolist()
    return found


def _box(figure: Figure, axes: Axes) -> list[float]:
    lower, upper = _to_svg(figure, np.asarray(axes.get_window_extent().get_points(), float))
    return [lower[0], upper[1], upper[0], lower[1]]


def _series(figure: Figure, axes: Axes) -> list[dict[str, Any]]:
    from matplotlib.collections import PathCollection, QuadMesh

    x_text, y_text = _formatter(axes.xaxis), _formatter(axes.yaxis)
    found = []
    drawn: list[Any] = [*axes.lines, *axes.collections]
    for artist in drawn:
        if isinstance(artist, QuadMesh):
            at = _cells(figure, artist, x_text, y_text)
            kind = "cells"
        elif isinstance(artist, PathCollection) and artist.get_offset_transform() == axes.transData:
            at = _points(figure, axes, artist, np.ma.filled(artist.get_offsets(), np.nan), x_text, y_text)
            kind = "points"
        elif artist in axes.lines and _name(artist) and artist.get_transform() == axes.transData:
            at = _points(figure, axes, artist, np.asarray(artist.get_data(), float).T, x_text, y_text)
            kind = "line"
        else:
            continue
        if at:
            name = _name(artist) or (axes.get_title(loc="left") if len(figure.axes) > 1 else "")
            found.append({"name": name, "colour": page_colour(_colour(artist)), "kind": kind, "at": at})
    return found


def _name(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if _NO_LABEL.search(label) else label.removeprefix("_")


def _points(
    figure: Figure,
    axes: Axes,
    artist: Any,
    places: NDArray[Any],
    x_text: Callable[[float], str],
    y_text: Callable[[float], str],
) -> list[list[Any]]:
    """[x, y, x's text, y's text, further texts ...] for each point that is a number."""
    more = _further_texts(artist, len(places))
    rows = np.flatnonzero(np.isfinite(places).all(1))
    if artist in axes.lines and len(rows) > _MOST_LINE_POINTS:
        rows = rows[np.linspace(0, len(rows) - 1, _MOST_LINE_POINTS).astype(int)]
    where = _to_svg(figure, axes.transData.transform(places[rows])) if len(rows) else []
    return [
        [*place, x_text(places[row, 0]), get_hover(artist).row or y_text(places[row, 1]), *more[row]]
        for place, row in zip(where, rows, strict=True)
    ]


def _further_texts(artist: Any, count: int) -> list[list[str]]:
    """The hover text of each point, and its value on the colour bar."""
    texts: list[list[str]] = [[text] for text in get_hover(artist).points] or [[] for _ in range(count)]
    bar = getattr(artist, "colorbar", None)
    if bar is not None:
        for line, value in zip(texts, np.ma.filled(artist.get_array(), np.nan), strict=True):
            line.append(f"{bar.ax.get_ylabel()}: {_plain(value)}")
    return texts


def _cells(
    figure: Figure, mesh: Any, x_text: Callable[[float], str], y_text: Callable[[float], str]
) -> list[list[Any]]:
    """[left, top, right, bottom, x's text, y's text, value] for each cell that has one."""
    corners = np.asarray(mesh.get_coordinates(), float)
    values: NDArray[np.float64] = np.ma.filled(np.ma.asarray(mesh.get_array(), float), np.nan).reshape(
        len(corners) - 1, -1
    )
    what = mesh.colorbar.ax.get_ylabel() if mesh.colorbar is not None else _name(mesh)
    cells = []
    for row, column in np.argwhere(np.isfinite(values)):
        low, high = corners[row, column], corners[row + 1, column + 1]
        places = np.array(_to_svg(figure, mesh.axes.transData.transform(np.array([low, high]))))
        middle = (low + high) / 2
        value = f"{what}: {_plain(values[row, column])}" if what else _plain(values[row, column])
        cells.append([*places.min(0).tolist(), *places.max(0).tolist(), x_text(middle[0]), y_text(middle[1]), value])
    return cells


def _formatter(axis: Any) -> Callable[[float], str]:
    """Formats values of an axis: by the tick's label where ticks were labelled, otherwise as a number."""
    from matplotlib.ticker import FixedLocator

    labels: dict[float, str] = {}
    if isinstance(axis.get_major_locator(), FixedLocator):
        ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False)
        labels = {round(float(place), 6): label.get_text() for place, label in ticks if label.get_text()}
    return lambda value: labels.get(round(float(value), 6)) or _plain(value)


def _plain(value: float) -> str:
    """Four significant digits; integers in full."""
    if value == round(value) and abs(value) < 1e15:
        # Adding zero turns minus zero into zero.
        return f"{value + 0.0:,.0f}".replace("-", "−")
    return number(value, ".4g")


def _colour(artist: Any) -> str:
    """The colour of a line, of points or of a fill, as #rrggbb."""
    from matplotlib.colors import to_hex

    if hasattr(artist, "get_color") and not hasattr(artist, "get_facecolor"):
        return to_hex(artist.get_color())
    for colours in (artist.get_facecolor(), artist.get_edgecolor()):
        if len(colours):
            return to_hex(colours[0] if np.ndim(colours) > 1 else colours)
    return "#000000"
