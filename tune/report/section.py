"""What the page shows of one run, search or comparison, as plain values that the template lays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.run_config import RunConfig, flatten
from tune.rendering.hover import hover_json, link_legends
from tune.rendering.panels import Panel, draw_panels
from tune.rendering.style import PAGE, drawing, inline_svg
from tune.rendering.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Card:
    """One number that matters: what it is, the number, and what it was measured on."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure as an ``<svg>`` element, with what it shows in words; `draw_picture` makes one.

    Attributes:
        title: Above it.
        svg: The element.
        caption: Below it.
        wide: Whether it takes the page's whole width.
        hover: Its values for the page's script; see `tune.rendering.hover`.
        draw: Draws it again, for a file, under the theme that is on; its argument is what it was measured on.
        about: What that is, where it is not all that the section is about.
        opens: Whether the section opens with it: of several it says the most at a glance.
    """

    title: str
    svg: str
    caption: str
    wide: bool = False
    hover: str = ""
    draw: Callable[[str], Figure] | None = None
    about: str = ""
    opens: bool = False


@dataclass(frozen=True)
class Spikes:
    """How many of a network's neurons fire while it sees a sample: a row a layer, a column a frame of the strip.

    Attributes:
        network: Its name on the page.
        png: The cells in a data URI, as wide as the strip's frames.
        layers: How many rows.
        hover: The cells' values for the page's script.
    """

    network: str
    png: str
    layers: int
    hover: str


@dataclass(frozen=True)
class Strip:
    """One sample's frames side by side, as a PNG in a data URI, and what networks made of it.

    Attributes:
        name: Class and name of the sample.
        png: The frames.
        predictions: Network, class it answered, whether that is right.
        spikes: Of the networks whose weights are there.
    """

    name: str
    png: str
    predictions: tuple[tuple[str, str, bool], ...] = ()
    spikes: tuple[Spikes, ...] = ()


@dataclass(frozen=True)
class Section:
    """One run, search or comparison.

    Attributes:
        kind: ``run``, ``search`` or ``comparison``.
        folder: Where it is.
        dataset: The data set's name.
        title: Names it, without saying that data are emulated.
        emulated: Whether an emulator made the recordings.
        lead: The sentence that sums it up.
        sentences: What else the data do and do not show.
        cards: The numbers that matter.
        tables: In the order of the page.
        pictures: In the order of the page.
        strips: Samples as the network sees them.
        strips_note: What the strips show, or why there are none.
        faults: Runs that are damaged, failed or missing, and why; no number includes them.
        settings: Field path and value of what was run.
        environment: What it ran on.
    """

    kind: str
    folder: Path
    dataset: str
    title: str
    emulated: bool
    lead: str
    sentences: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    strips: tuple[Strip, ...] = ()
    strips_note: str = ""
    errors: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def draw_picture(
    title: str, draw: Callable[[str], Figure], name: str, caption: str, *, wide: bool = False, about: str = ""
) -> Picture:
    """A figure as a picture for the page.

    Args:
        title: What stands above it.
        draw: Draws the figure; given what it was measured on where it stands alone, "" where the page says so.
        name: The SVG's ids begin with it; unique on the page.
        caption: What stands below it.
        wide: Whether it takes the page's whole width.
        about: What it was measured on, where it is not all that the section is about.
    """
    with drawing(PAGE):
        figure = draw("")
        links = link_legends(figure)
        svg = inline_svg(figure, name)
        return Picture(title, svg, caption, wide, hover_json(figure, title, links, name), draw, about)


def draw_pictures(panels: Sequence[Panel], name: str, *, about: str = "", where: str = "") -> tuple[Picture, ...]:
    """Each panel as a picture for the page.

    Args:
        panels: In the order of the page.
        name: The SVGs' ids begin with it; unique on the page.
        about: What they were measured on, where it is not all that the section is about.
        where: A setting's name, which titles on the page end with.
    """
    end = f": {where}" if where else ""
    return tuple(
        draw_picture(panel.title + end, partial(_draw_panel, panel), f"{name}-{k}", panel.caption, about=about)
        for k, panel in enumerate(panels)
    )


def _draw_panel(panel: Panel, about: str) -> Figure:
    return draw_panels(panel, about=about)


def settings_of(config: RunConfig, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Field path to value, as the page lists them."""
    return {path: _word(value) for path, value in flatten(config).items() if path not in leave_out}


def environment_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """`environment.json` as lines of words; what it nests is joined."""
    lines = {}
    for name, value in environment.items():
        if isinstance(value, Mapping):
            lines[name] = ", ".join(f"{inner} {_word(content)}" for inner, content in value.items())
        elif isinstance(value, list):
            lines[name] = " ".join(_word(item) for item in value)
        else:
            lines[name] = _word(value)
    return lines


def _word(value: Any) -> str:
    return "–" if value is None else str(value)
