"""The content of the page for one run, search or comparison, as plain values that the template lays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """A key number: its name, its value and what it was measured on."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure as an ``<svg>`` element with its title and caption; `draw_picture` makes one.

    Attributes:
        title: The title above it.
        svg: The element.
        caption: The caption below it.
        wide: Whether it spans the page's full width.
        hover: Its values for the page's script; see `tune.rendering.hover`.
        draw: Draws it again in the current theme, for a file; its argument is the data that it was measured on.
        about: These data, if they are not those of the complete section.
        opens: Whether the section opens with it, as its most informative figure.
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
    """The share of a network's neurons that fire for a sample: a row per layer, a column per frame of the strip.

    Attributes:
        network: The network's name on the page.
        png: The cells in a data URI, as wide as the strip's frames.
        layers: The number of rows.
        hover: The cells' values for the page's script.
    """

    network: str
    png: str
    layers: int
    hover: str


@dataclass(frozen=True)
class Strip:
    """One sample's frames side by side, as a PNG in a data URI, with the networks' predictions.

    Attributes:
        name: Class and name of the sample.
        png: The frames.
        predictions: Network, predicted class, whether it is correct.
        spikes: For the networks whose weights are available.
    """

    name: str
    png: str
    predictions: tuple[tuple[str, str, bool], ...] = ()
    spikes: tuple[Spikes, ...] = ()


@dataclass(frozen=True)
class Part:
    """A part of a section with a heading of its own, such as an analysis of a run.

    Attributes:
        title: Its heading.
        lead: Its main finding.
        sentences: Notes on what it does and does not show.
        tables: Its tables.
        pictures: Its figures.
    """

    title: str
    lead: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Section:
    """One run, search or comparison.

    Attributes:
        kind: ``run``, ``search`` or ``comparison``.
        folder: Its folder.
        dataset: The data set's name.
        title: Its title, which does not mention whether data are emulated.
        emulated: Whether an emulator made the recordings.
        lead: The headline sentence.
        warning: Why the headline must be read with care, shown above it; "" if there is nothing to warn of.
        sentences: Notes on what the data do and do not show.
        cards: The key numbers.
        tables: In the order of the page; the first is shown before the notes.
        pictures: In the order of the page.
        strips: Samples as the network sees them.
        strips_note: What the strips show, or why there are none.
        parts: Further parts with their own headings.
        errors: Excluded runs (damaged, failed or missing), with the cause.
        settings: Field path and value of the configuration.
        environment: The software and hardware of the runs.
    """

    kind: str
    folder: Path
    dataset: str
    title: str
    emulated: bool
    lead: str
    warning: str = ""
    sentences: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    strips: tuple[Strip, ...] = ()
    strips_note: str = ""
    parts: tuple[Part, ...] = ()
    errors: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def draw_picture(
    title: str, draw: Callable[[str], Figure], name: str, caption: str, *, wide: bool = False, about: str = ""
) -> Picture:
    """A figure as a picture for the page.

    Args:
        title: The title above it.
        draw: Draws the figure; its argument is the data for a figure that stands alone, "" on the page.
        name: Prefix of the SVG's ids, unique on the page.
        caption: The caption below it.
        wide: Whether it spans the page's full width.
        about: The data that it was measured on, if they are not those of the complete section.
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
        name: Prefix of the SVGs' ids, unique on the page.
        about: The data that they were measured on, if they are not those of the complete section.
        where: A setting's name to append to the titles.
    """
    end = f": {where}" if where else ""
    return tuple(
        draw_picture(panel.title + end, partial(_draw_panel, panel), f"{name}-{k}", panel.caption, about=about)
        for k, panel in enumerate(panels)
    )


def open_with(pictures: Sequence[Picture], title: str) -> tuple[Picture, ...]:
    """The pictures with the one of this title as the figure that opens the section."""
    return tuple(replace(picture, opens=picture.title == title) for picture in pictures)


def _draw_panel(panel: Panel, about: str) -> Figure:
    return draw_panels(panel, about=about)


def settings_of(config: RunConfig, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Field path to the text of its value."""
    return {path: _text(value) for path, value in flatten(config).items() if path not in leave_out}


def environment_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """The entries of `environment.json` as texts, with nested values joined."""
    lines = {}
    for name, value in environment.items():
        if isinstance(value, Mapping):
            lines[name] = ", ".join(f"{inner} {_text(content)}" for inner, content in value.items())
        elif isinstance(value, list):
            lines[name] = " ".join(_text(item) for item in value)
        else:
            lines[name] = _text(value)
    return lines


def _text(value: Any) -> str:
    return "–" if value is None else str(value)
