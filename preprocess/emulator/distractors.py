"""Passers-by: shapes that cross the picture while somebody gestures, and have nothing to do with it."""

from __future__ import annotations

import numpy as np

from preprocess.emulator.shapes import SHAPES, Motion

# From one border of the picture to the other they take this many seconds.
_CROSSING_S = (0.5, 1.5)


def passer(rng: np.random.Generator, radius: float, contrast: float, frames: int, frame_us: int, size: int) -> Motion:
    """A shape on a straight way through a random place of the picture, where it is at a random frame.

    Place, time and direction are uniform, so that the way backwards is as likely as the way itself.

    Args:
        rng: Where chance comes from.
        radius: In pixels.
        contrast: Of the shape; dark or bright by chance.
        frames: How many the film has.
        frame_us: From one to the next.
        size: Rows and columns of the picture.
    """
    speed = size / rng.uniform(*_CROSSING_S) * frame_us / 1e6
    angle = rng.uniform(0, 2 * np.pi)
    x, y = rng.uniform(0, size, 2)
    along = speed * (np.arange(frames) - rng.uniform(0, frames))
    poses = np.empty((frames, 5))
    poses[:, 0] = x + along * np.cos(angle)
    poses[:, 1] = y + along * np.sin(angle)
    poses[:, 2] = radius
    poses[:, 3] = rng.uniform(0, 2 * np.pi)
    poses[:, 4] = contrast * rng.choice([-1, 1])
    return Motion(SHAPES[rng.integers(len(SHAPES))], poses)
