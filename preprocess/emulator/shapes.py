"""Films of moving shapes, drawn from the distance of each pixel to the edge of the shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.jit import compile_kernel

SHAPES = ("disc", "square", "triangle", "ring", "cross")

# Maximum extent of a shape, as a multiple of its radius.
_REACH = 1.1
# Width of the blur of an edge by the lens in pixels.
_BLUR = 2.0
_BLOCK_FRAMES = 32


@dataclass(frozen=True)
class Motion:
    """The motion of a shape, frame by frame.

    Attributes:
        shape: One of SHAPES.
        poses: x, y, radius (pixels), angle (radians, clockwise) and contrast, float64, shape (F, 5). Contrast is the
            natural logarithm of the ratio of the luminance of the shape to that of the background; negative for a dark
            shape.
    """

    shape: str
    poses: NDArray[np.float64]

    def faded(self, frames: int) -> Motion:
        """Return the motion with the shape fading in during the first `frames` frames, and out during the last ones."""
        poses = self.poses.copy()
        fade = np.linspace(0, 1, frames)
        poses[:frames, 4] *= fade
        poses[-frames:, 4] *= fade[::-1]
        return Motion(self.shape, poses)


def film(
    motion: Motion, height: int, width: int, behind: Sequence[Motion] = ()
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield a film in segments: the frames of the segment, and their luminance, float32, shape (f, height, width).

    The luminance of the background is 1. Segments share their memory: each is valid until the next.

    Args:
        motion: The shape in front.
        height: Rows.
        width: Columns.
        behind: Further shapes with the same number of frames, the farthest first; nearer shapes cover farther ones.
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
    """Distance to the edge of a shape of radius 1 at the origin, negative inside; approximate except for the disc."""
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
    """Draw a shape over frames; log luminance changes linearly across its blurred edge."""
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
