"""The motions of the eleven gestures, without the appearance of the shape.

Ten gestures form five pairs, each a path and its time reversal. Reversed in time and with dark and bright exchanged,
the film of one gesture is the film of the other, and shapes are dark or bright at random. So neither single frames nor
the sum of all frames distinguish the gestures of a pair, only the temporal order does. The hysteresis of pixels breaks
this symmetry slightly; `gestures` conceals that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Columns = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _line(degrees: float, s: NDArray[np.float64]) -> Columns:
    along = 2 * s - 1
    return along * np.cos(np.radians(degrees)), along * np.sin(np.radians(degrees)), np.zeros_like(s)


def _circle(s: NDArray[np.float64], phase: float) -> Columns:
    angle = 2 * np.pi * (1.25 * s + phase)
    return 0.6 * np.cos(angle), 0.6 * np.sin(angle), np.zeros_like(s)


def _growth(s: NDArray[np.float64]) -> Columns:
    return np.zeros_like(s), np.zeros_like(s), 2 * s - 1


def _wave(s: NDArray[np.float64], phase: float) -> Columns:
    return 0.6 * np.sin(2 * np.pi * (2 * s + phase)), np.zeros_like(s), np.zeros_like(s)


_FORWARD: dict[str, Callable[[NDArray[np.float64], float], Columns]] = {
    "swipe_right": lambda s, phase: _line(0, s),
    "swipe_down": lambda s, phase: _line(90, s),
    "slash_down": lambda s, phase: _line(135, s),
    "circle_clockwise": _circle,
    "approach": lambda s, phase: _growth(s),
    "wave": _wave,
}

# The gestures of a pair are time reversals of each other.
PAIRS = (
    ("swipe_right", "swipe_left"),
    ("swipe_down", "swipe_up"),
    ("slash_down", "slash_up"),
    ("circle_clockwise", "circle_counter_clockwise"),
    ("approach", "retreat"),
)

GESTURES = (*(name for pair in PAIRS for name in pair), "wave")

_FORWARD_OF = {backward: forward for forward, backward in PAIRS}


def path_of(gesture: str, progress: NDArray[np.float64], phase: float) -> Columns:
    """Return the position and size of the shape along the path of a gesture.

    Args:
        gesture: One of GESTURES.
        progress: Progress from 0 (start) to 1 (end), shape (F,).
        phase: Where on its path a circle or a wave begins, from 0 to 1.

    Returns:
        x (to the right) and y (downwards), in units of a user's reach, and log2 of the size, float64, shape (F,) each.
    """
    if gesture in _FORWARD_OF:
        return _FORWARD[_FORWARD_OF[gesture]](1 - progress, phase)
    return _FORWARD[gesture](progress, phase)
