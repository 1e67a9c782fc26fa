"""The eight places at which a cue may blink: evenly spread on a ring about the middle of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# From the right on, clockwise on a screen.
PLACES = ("right", "lower_right", "lower", "lower_left", "left", "upper_left", "upper", "upper_right")


def ring(radius: float) -> NDArray[np.float64]:
    """x (to the right) and y (downwards) of every place from the middle, in pixels, float64, shape (8, 2)."""
    angles = 2 * np.pi * np.arange(len(PLACES)) / len(PLACES)
    return radius * np.column_stack([np.cos(angles), np.sin(angles)])
