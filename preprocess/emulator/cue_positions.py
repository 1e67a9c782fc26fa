"""The eight places of a cue, evenly spaced on a ring around the centre of the scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Clockwise, starting at the right.
PLACES = ("right", "lower_right", "lower", "lower_left", "left", "upper_left", "upper", "upper_right")


def ring(radius: float) -> NDArray[np.float64]:
    """Return x (to the right) and y (downwards) of each place relative to the centre, in pixels, float64 (8, 2)."""
    angles = 2 * np.pi * np.arange(len(PLACES)) / len(PLACES)
    return radius * np.column_stack([np.cos(angles), np.sin(angles)])
