"""How figures look: one palette, drawn for a file or for a page whose style sheet gives the ink its colour."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by people who see no red or no green, and readable on white and on near black.
PALETTE = ("#3b7dd8", "#e07b27", "#2f9e77", "#c2508d", "#8a6fd1", "#9a8a2c", "#5d6b7a")

# What a page draws in these is replaced by the variables of its style sheet, so that it follows light and dark.
_PAGE_COLOURS = {"#010203": "var(--ink)", "#040506": "var(--soft)", "#070809": "var(--line)"}


_PIXELS_PER_INCH = 108


@dataclass(frozen=True)
class Theme:
    """The colours of what is not data: text, axes' labels and ticks, grid."""

    ink: str
    soft: str
    line: str


PAPER = Theme("#1c2127", "#5b6570", "#d9dee3")
PAGE = Theme(*_PAGE_COLOURS)


def colour_of(names: Sequence[str], name: str) -> str:
    """The colour of one of several series, by its place among them."""
    return PALETTE[list(names).index(name) % len(PALETTE)]


def neurons_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """LIF first, as in comparisons, so that it has the same colour in all figures."""
    return sorted({row["neuron.name"] for row in rows}, key=lambda name: (name != "lif", name))


def page_colour(colour: str) -> str:
    """A colour as the page has it: the variable of its style sheet for what is drawn in one of `PAGE`."""
    return _PAGE_COLOURS.get(colour, colour)


def tell(artist: Any, words: Sequence[str], row: str = "") -> None:
    """Words that the page shows beside the values of each point of a line or of scattered points, such as "5 seeds".

    Args:
        artist: The line or the points.
        words: One for each point.
        row: What the page calls their y where they lie beside the tick of their row.
    """
    artist._told = tuple(words)
    artist._row = row


def told(artist: Any) -> tuple[str, ...]:
    """What `tell` was given."""
    return getattr(artist, "_told", ())


def row_of(artist: Any) -> str:
    """The row that `tell` was given, or ""."""
    return getattr(artist, "_row", "")


def head(figure: Figure, words: str) -> None:
    """The lines above all axes of a figure."""
    figure.suptitle(words, x=0.01, ha="left", fontsize=10.5)


@contextlib.contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Figures made inside look as the theme says; the text of SVG files stays text."""
    import matplotlib as mpl

    settings: Any = {
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none" if theme is PAGE else "white",
        "figure.constrained_layout.use": True,
        "font.size": 10,
        "font.family": ["sans-serif"],
        "text.color": theme.ink,
        "axes.labelcolor": theme.soft,
        "axes.titlecolor": theme.ink,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.edgecolor": theme.line,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": theme.line,
        "grid.linewidth": 0.7,
        "xtick.color": theme.line,
        "ytick.color": theme.line,
        "xtick.labelcolor": theme.soft,
        "ytick.labelcolor": theme.soft,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
        "svg.fonttype": "none",
        # Type 42 fonts: publishers refuse Type 3.
        "pdf.fonttype": 42,
        "svg.hashsalt": "spikeloom",
    }
    with mpl.rc_context(settings):
        yield


def drawing_ink() -> str:
    """The colour of text under the theme that is drawn with."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches with axes side by side; no window, and nothing that must be closed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


# No date in a file: the same numbers give the same bytes.
_DATELESS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save(figure: Figure, folder: Path, name: str, kinds: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write ``<name>.svg`` and ``<name>.png``, or files of other kinds, each whole or not at all; their paths."""
    from preprocess.files import write_whole

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in kinds]
    for path, kind in zip(paths, kinds, strict=True):
        words: Any = {"format": kind, "metadata": _DATELESS.get(kind), "dpi": 160 if kind == "png" else "figure"}
        write_whole(path, partial(figure.savefig, **words))
        # The next file has the same layout, which is half of the work.
        figure.set_layout_engine("none")
    return paths


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element for a page: no ids that clash, no metadata, the page's font and colours.

    Args:
        figure: Drawn under `PAGE`.
        name: Letters, digits and dashes, unique on the page.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    # The XML and document type declarations have no place inside HTML.
    opening, rest = svg[svg.index("<svg") :].strip().split(">", 1)
    # As wide as the page has room, up to where its text would be larger than the page's; the viewBox gives the height.
    opening = re.sub(r' (?:width|height)="[^"]*"', "", opening)
    opening += f' style="max-width: {_PIXELS_PER_INCH * figure.get_figwidth():.0f}px"'
    rest = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", rest, flags=re.DOTALL)
    rest = re.sub(r" font-family: [^;\"]*;", "", rest)
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", rest)
    for sentinel, variable in _PAGE_COLOURS.items():
        rest = rest.replace(sentinel, variable)
    return f"{opening}>{rest}"
