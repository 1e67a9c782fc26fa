"""Moving shapes as films: each frame is drawn from the distance to the shape's edge, only around the shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.jit import compile_kernel

SHAPES = ("disc", "square", "triangle", "ring", "cross")

# No shape reaches further than this times its radius.
_REACH = 1.1
# How far the lens spreads an edge, in pixels.
_BLUR = 2.0
_BLOCK_FRAMES = 32


@dataclass(frozen=True)
class Motion:
    """A shape's every frame.

    Attributes:
        shape: One of SHAPES.
        poses: x, y, radius (pixels), angle (radians, clockwise) and contrast, float64, shape (F, 5). Contrast is the
            natural logarithm of the shape's luminance over the background's: below 0 is a dark shape.
    """

    shape: str
    poses: NDArray[np.float64]

    def faded(self, frames: int) -> Motion:
        """The same, but the shape appears during the first frames, and vanishes during as many at the end."""
        poses = self.poses.copy()
        fade = np.linspace(0, 1, frames)
        poses[:frames, 4] *= fade
        poses[-frames:, 4] *= fade[::-1]
        return Motion(self.shape, poses)


def film(
    motion: Motion, height: int, width: int, behind: Sequence[Motion] = ()
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """The film in pieces: which frames, and their luminance, float32, shape (f, height, width); the background is 1.

    A piece is good until the next: they share their memory.

    Args:
        motion: What is in front.
        height: Rows.
        width: Columns.
        behind: Further shapes of as many frames, the farthest first; what is nearer covers them.
    """
    frames = np.empty((_BLOCK_FRAMES, height, width), np.float32)
    for start in range(0, len(motion.poses), _BLOCK_FRAMES):
        piece = frames[: len(motion.poses) - start]
        piece[:] = 1.0
        for one in (*behind, motion):
            _draw(piece, SHAPES.index(one.shape), one.poses[start : start + len(piece)])
        yield slice(start, start + len(piece)), piece


@compile_kernel
def _distance(kind: int, x: float, y: float) -> float:
    """To the edge of a shape of radius 1 about 0, negative inside; near the edge in every case, exact for the disc."""
    if kind == 0:
        return np.sqrt(x * x + y * y) - 1.0
    if kind == 1:
        return max(abs(x), abs(y)) - 0.75
    if kind == 2:
        return max(abs(x) * 0.8660254 + y * 0.5, -y) - 0.5
    if kind == 3:
        return abs(np.sqrt(x * x + y * y) - 0.7) - 0.3
    x, y = abs(x), abs(y)
    return min(max(x - 1.0, y - 0.35), max(y - 1.0, x - 0.35))


@compile_kernel
def _draw(frames: Any, kind: int, poses: Any) -> None:
    """Draw a shape over what the frames show: in log luminance, its edge goes smoothly from the one to the other."""
    height, width = frames.shape[1], frames.shape[2]
    for f in range(len(frames)):
        frame = frames[f]
        x, y, radius, angle, contrast = poses[f]
        if contrast == 0.0:
            continue
        reach = radius * _REACH + _BLUR
        cosine, sine = np.cos(angle) / radius, np.sin(angle) / radius
        for row in range(max(0, int(y - reach)), min(height, int(y + reach) + 2)):
            for column in range(max(0, int(x - reach)), min(width, int(x + reach) + 2)):
                dx, dy = column - x, row - y
                inside = 0.5 - _distance(kind, cosine * dx + sine * dy, cosine * dy - sine * dx) * radius / _BLUR
                if inside > 0.0:
                    share = min(inside, 1.0)
                    behind = (1.0 - share) * np.log(np.float64(frame[row, column]))
                    frame[row, column] = np.exp(contrast * share + behind)
