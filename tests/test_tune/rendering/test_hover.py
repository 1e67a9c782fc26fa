"""What a drawn figure tells the page's script: labelled curves, points and cells, where they are in the SVG."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from tune.rendering.hover import hover_json, link_legends
from tune.rendering.hover_text import set_hover
from tune.rendering.style import PAGE, PALETTE, drawing, inline_svg, new_figure


def told(draw: Any, columns: int = 1) -> tuple[str, dict[str, Any]]:
    """The SVG of a figure, and what it tells."""
    with drawing(PAGE):
        figure, axes = new_figure(4.0, 3.0, columns)
        draw(figure, *axes)
        links = link_legends(figure)
        svg = inline_svg(figure, "f")
        words = hover_json(figure, "Loss", links, "f")
    return svg, json.loads(words) if words else {}


def test_a_point_is_told_where_the_svg_has_it():
    svg, values = told(lambda _, axes: axes.plot([1, 2, 3], [5.0, 4.0, 4.5], label="LIF"))
    (axes,) = values["axes"]
    (series,) = axes["series"]
    assert (axes["x"], axes["y"], series["name"], series["kind"]) == ("", "Loss", "LIF", "line")
    assert [at[2:] for at in series["at"]] == [["1", "5"], ["2", "4"], ["3", "4.5"]]
    path = re.search(r'<path d="(M [^"]*)"[^>]*style="[^"]*stroke: ' + series["colour"], svg)
    assert path is not None
    drawn = np.array(re.findall(r"[ML] (\S+) (\S+)", path[1]), float)
    np.testing.assert_allclose([at[:2] for at in series["at"]], drawn, atol=0.06)


def test_lines_without_a_label_bands_and_lines_across_the_axes_are_left_out():
    def draw(_: Any, axes: Any) -> None:
        axes.plot([0, 1], [0, 1])
        axes.fill_between([0, 1], [0, 1], [1, 2], label="band")
        axes.axhline(0.5, label="reference")
        axes.axvline(0.5, label="chosen")

    assert told(draw)[1] == {}


def test_a_label_with_an_underscore_names_the_series_and_a_figure_adds_words():
    def draw(_: Any, axes: Any) -> None:
        set_hover(axes.scatter([1, 2], [30.0, np.nan], label="_lif"), ["5 seeds", "4 seeds"])
        axes.set_xlabel("T")

    (axes,) = told(draw)[1]["axes"]
    (series,) = axes["series"]
    assert (series["name"], series["kind"], axes["x"]) == ("lif", "points", "T")
    # What is no number is nowhere.
    assert [at[2:] for at in series["at"]] == [["1", "30", "5 seeds"]]


def test_places_that_have_words_are_told_by_them():
    def draw(_: Any, axes: Any) -> None:
        axes.scatter([0, 1], [-0.5, 1234.0])
        axes.set_xticks([0, 1], ["LIF", "CLIF"])

    (axes,) = told(draw)[1]["axes"]
    assert [at[2:] for at in axes["series"][0]["at"]] == [["LIF", "−0.5"], ["CLIF", "1,234"]]


def test_a_heat_map_tells_its_cells_with_the_colour_bar_s_name_and_empty_ones_not():
    def draw(figure: Any, axes: Any) -> None:
        mesh = axes.pcolormesh([[90.0, np.nan], [80.25, 70.0]])
        axes.set_xticks([0.5, 1.5], ["4", "8"])
        axes.set_yticks([0.5, 1.5], ["1.5", "2"])
        figure.colorbar(mesh, ax=axes, label="accuracy, %")

    (axes,) = told(draw)[1]["axes"]
    cells = axes["series"][0]["at"]
    assert [cell[4:] for cell in cells] == [
        ["4", "1.5", "accuracy, %: 90"],
        ["4", "2", "accuracy, %: 80.25"],
        ["8", "2", "accuracy, %: 70"],
    ]
    left, top, right, bottom = axes["box"]
    np.testing.assert_allclose(cells[0][:4], [left, (top + bottom) / 2, (left + right) / 2, bottom], atol=0.11)


def test_an_entry_of_a_legend_knows_its_line_and_its_band_by_ids_that_are_there_once():
    def draw(_: Any, axes: Any, other: Any) -> None:
        for k, name in enumerate(("LIF", "CLIF")):
            axes.fill_between([0, 1], [k, k], [k + 1, k + 1], color=PALETTE[k], alpha=0.2, linewidth=0)
            axes.plot([0, 1], [k, k], color=PALETTE[k], label=name)
            other.plot([0, 1], [k, k], color=PALETTE[k], label=name)
        axes.legend()

    svg, values = told(draw, columns=2)
    toggles = values["toggles"]
    assert [len(toggle["marks"]) for toggle in toggles] == [3, 3]
    ids = [one for toggle in toggles for one in (*toggle["entry"], *toggle["marks"])]
    assert all(svg.count(f'id="{one}"') == 1 for one in ids)
    assert all(one.startswith("f-") for one in ids)


def test_words_of_a_figure_cannot_end_the_script_that_holds_them():
    with drawing(PAGE):
        figure, (axes,) = new_figure(4.0, 3.0)
        axes.plot([0, 1], [0, 1], label="</script><b>")
        inline_svg(figure, "f")
        words = hover_json(figure, "", [], "f")
    assert "<" not in words
    assert json.loads(words)["axes"][0]["series"][0]["name"] == "</script><b>"


@pytest.mark.parametrize("points", [20_000])
def test_a_long_line_is_told_by_some_of_its_points_and_both_ends(points: int):
    _, values = told(lambda _, axes: axes.plot(range(points), range(points), label="spent"))
    at = values["axes"][0]["series"][0]["at"]
    assert len(at) == 1500
    assert (at[0][2], at[-1][2]) == ("0", "19,999")
