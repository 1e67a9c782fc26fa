"""The eleven gestures: how a shape moves, and nothing of how it looks.

Ten of them are five pairs, each a path and the same path run backwards. Backwards and with dark for bright, the film of
one is the film of the other, and shapes are dark or bright by chance: neither a moment nor the sum over all moments
tells the two apart, only the order in time does. What a pixel's hysteresis adds to that is covered up in `gestures`.
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

# Each is the other run backwards.
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
    """Where the shape is, and how large.

    Args:
        gesture: One of GESTURES.
        progress: From 0, the beginning, to 1, the end; shape (F,).
        phase: From 0 to 1: where on its path a circle or a wave begins.

    Returns:
        x (to the right) and y (downwards), in units of a user's reach, and log2 of the size, float64, shape (F,) each.
    """
    if gesture in _FORWARD_OF:
        return _FORWARD[_FORWARD_OF[gesture]](1 - progress, phase)
    return _FORWARD[gesture](progress, phase)
