"""Texts that a figure attaches to its points, which the page shows with their values; independent of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary


class HoverText(NamedTuple):
    """The texts of a line or of scattered points.

    Attributes:
        points: One text per point, such as "5 seeds"; () for none.
        row: The name that the page shows for y, if the points are drawn on the row of a tick; "" to show the number.
    """

    points: tuple[str, ...] = ()
    row: str = ""


# Entries vanish with their artist.
_TEXTS: WeakKeyDictionary[Any, HoverText] = WeakKeyDictionary()


def set_hover(artist: Any, points: Sequence[str], row: str = "") -> None:
    """Attach texts to the points of a line or a scatter plot; see `HoverText`."""
    _TEXTS[artist] = HoverText(tuple(points), row)


def get_hover(artist: Any) -> HoverText:
    """The texts of an artist, empty if it has none."""
    return _TEXTS.get(artist, HoverText())
