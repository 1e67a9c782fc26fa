"""The style of figures: one palette, and themes for files and for the page, whose style sheet sets the text colour."""

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

# Distinguishable with colour blindness, and readable on white and on near black.
PALETTE = ("#3b7dd8", "#e07b27", "#2f9e77", "#c2508d", "#8a6fd1", "#9a8a2c", "#5d6b7a")

# Placeholders that become variables of the page's style sheet, so that figures follow the light and dark themes.
_PAGE_COLOURS = {"#010203": "var(--ink)", "#040506": "var(--soft)", "#070809": "var(--line)"}


_PIXELS_PER_INCH = 108


@dataclass(frozen=True)
class Theme:
    """The colours of everything but the data: text, labels and ticks of the axes, grid."""

    ink: str
    soft: str
    line: str


PAPER = Theme("#1c2127", "#5b6570", "#d9dee3")
PAGE = Theme(*_PAGE_COLOURS)


def colour_of(names: Sequence[str], name: str) -> str:
    """The colour of one of several series, by its position."""
    return PALETTE[list(names).index(name) % len(PALETTE)]


def neurons_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The neurons of the rows, LIF first as in comparisons, so that it has the same colour in all figures."""
    return sorted({row["neuron.name"] for row in rows}, key=lambda name: (name != "lif", name))


def page_colour(colour: str) -> str:
    """A colour on the page: for the placeholders of `PAGE` the variable of its style sheet."""
    return _PAGE_COLOURS.get(colour, colour)


def set_title(figure: Figure, lines: str) -> None:
    """Set the lines above all axes of a figure."""
    figure.suptitle(lines, x=0.01, ha="left", fontsize=10.5)


@contextlib.contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Draw figures in this theme; text in SVG files stays text."""
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
        # Type 42 fonts, because publishers refuse Type 3.
        "pdf.fonttype": 42,
        "svg.hashsalt": "spikeloom",
    }
    with mpl.rc_context(settings):
        yield


def drawing_ink() -> str:
    """The text colour of the current theme."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches with axes, row by row; it has no window and need not be closed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


# No date in files, so that the same numbers give the same bytes.
_DATELESS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save(figure: Figure, folder: Path, name: str, kinds: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write ``<name>.svg`` and ``<name>.png``, or files of other kinds, each atomically; returns their paths."""
    import matplotlib as mpl

    from preprocess.files import write_whole

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in kinds]
    for path, kind in zip(paths, kinds, strict=True):
        options: Any = {"format": kind, "metadata": _DATELESS.get(kind), "dpi": 160 if kind == "png" else "figure"}
        write_whole(path, partial(figure.savefig, **options))
        # The layout, half of the work, is reused for the next file; with any engine Matplotlib would draw it twice.
        with mpl.rc_context({"figure.constrained_layout.use": False, "figure.autolayout": False}):
            figure.set_layout_engine(None)
    return paths


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element for a page: unique ids, no metadata, the font and colours of the page.

    Args:
        figure: Drawn in the theme `PAGE`.
        name: Letters, digits and dashes, unique on the page.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    # The XML and document type declarations are not allowed inside HTML.
    opening, rest = svg[svg.index("<svg") :].strip().split(">", 1)
    # As wide as the page allows, until its text would be larger than the page's; the viewBox gives the height.
    opening = re.sub(r' (?:width|height)="[^"]*"', "", opening)
    opening += f' style="max-width: {_PIXELS_PER_INCH * figure.get_figwidth():.0f}px"'
    rest = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", rest, flags=re.DOTALL)
    rest = re.sub(r" font-family: [^;\"]*;", "", rest)
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", rest)
    for sentinel, variable in _PAGE_COLOURS.items():
        rest = rest.replace(sentinel, variable)
    return f"{opening}>{rest}"
