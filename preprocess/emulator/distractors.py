"""Distractors: unrelated shapes that cross the scene."""

from __future__ import annotations

import numpy as np

from preprocess.emulator.shapes import SHAPES, Motion

# Range of the time in s in which a distractor crosses the scene.
_CROSSING_S = (0.5, 1.5)


def random_distractor(
    rng: np.random.Generator, radius: float, contrast: float, frames: int, frame_us: int, size: int
) -> Motion:
    """Return a random shape on a straight path that passes a random point of the scene at a random time.

    Point, time and direction are uniform, so that a path and its reversal are equally likely.

    Args:
        rng: Random number generator.
        radius: Radius of the shape in pixels.
        contrast: Contrast of the shape; its sign is random (dark or bright).
        frames: Number of frames of the film.
        frame_us: Time between frames in µs.
        size: Rows and columns of the scene.
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
