"""Moving handwritten digits, recorded as CIFAR10-DVS was: one recording per image.

    OUT/0/emulated_0_0.aedat .. emulated_0_39.aedat      AEDAT 2.0
    ..
    OUT/9/emulated_9_0.aedat ..
    OUT/emulated.json                                    marks the recordings as emulated

The images are the 8x8 digits of scikit-learn (Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998),
enlarged with smooth interpolation. Each moves repeatedly along the four straight sides of a diamond, the "repeated
closed-loop smooth movement" of Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, 2017. Lengths
and times are our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.emulator.aedat_writers import DVS128_SIZE, write_aedat2
from preprocess.emulator.noise import DIGITS_SHOT_HZ
from preprocess.emulator.output_folder import make_folder
from preprocess.emulator.sensor import PixelModel, Sensor
from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.jit import compile_kernel
from preprocess.terminal.progress import Progress

CLASSES = 10

_FRAME_US = 4000
_BLOCK_FRAMES = 25
_LOOPS = 3
_LOOP_FRAMES = 100
# Distance of the corners of the diamond from its centre in pixels.
_SWING = 8
_DIGIT = 96
_MARGIN = (DVS128_SIZE - _DIGIT) // 2 + _SWING + 1


def emulate_digits(out: Path, *, samples_per_class: int, seed: int, progress: Progress | None = None) -> Path:
    """Emulate recordings of the first `samples_per_class` images of every digit.

    Args:
        out: The folder to create.
        samples_per_class: Number of recordings per digit.
        seed: Random seed; the same seed gives identical files.
        progress: Where to report progress.

    Returns:
        The folder.

    Raises:
        ConfigError: If there are not enough images of a digit.
        LayoutError: If the folder contains something else or cannot be written.
    """
    images = _load_images()
    most = min(len(of_class) for of_class in images)
    if not 1 <= samples_per_class <= most:
        raise ConfigError(
            f"samples per class: expected 1 to {most} (scikit-learn has no more images of some digits), found "
            f"{samples_per_class}"
        )
    progress = progress or Progress()

    def fill(folder: Path) -> dict[str, int]:
        events = 0
        count = CLASSES * samples_per_class
        with progress.task("emulating digits", count, "recordings") as advance:
            for digit in range(CLASSES):
                (folder / str(digit)).mkdir()
                for i in range(samples_per_class):
                    path = folder / str(digit) / f"emulated_{digit}_{i}.aedat"
                    comment = f"emulated by spikeloom: no camera recorded this; digit {digit}, image {i}, seed {seed}"
                    chunks = _record(images[digit][i], [seed, digit, i])
                    events += write_aedat2(path, chunks, [comment])
                    advance(1)
        return {"recordings": count, "samples": count, "events": events}

    make_folder(out, "digits", samples_per_class, seed, fill)
    return out


def _load_images() -> list[NDArray[np.float64]]:
    """Load the images of each digit, shape (n, 8, 8), from 0 (paper) to 1 (ink)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return [found.images[found.target == digit] / 16.0 for digit in range(CLASSES)]


def _record(image: NDArray[np.float64], seed: list[int]) -> Iterator[Events]:
    """Yield the events of one recording."""
    rng = np.random.default_rng(seed)
    contrast = rng.uniform(0.8, 1.2)
    luminance = np.exp(contrast * enlarge(image, _DIGIT)).astype(np.float32)
    scene = np.pad(luminance, _MARGIN, constant_values=1.0)
    sensor = Sensor(PixelModel(shot_hz=rng.uniform(*DIGITS_SHOT_HZ)), DVS128_SIZE, DVS128_SIZE, [*seed, 1])
    x, y = diamond(_LOOPS, _LOOP_FRAMES)
    times = _FRAME_US * np.arange(len(x))
    frames = np.empty((_BLOCK_FRAMES, DVS128_SIZE, DVS128_SIZE), np.float32)
    for start in range(0, len(x), _BLOCK_FRAMES):
        which = slice(start, start + _BLOCK_FRAMES)
        piece = frames[: len(x[which])]
        shift(scene, x[which], y[which], piece)
        yield sensor.expose(piece, times[which])


def enlarge(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Enlarge an image to size x size pixels with cubic B-splines; it is 0 outside."""
    pixels = len(image)
    where = (np.arange(size) + 0.5) * pixels / size - 0.5
    distance = np.abs(where[:, None] - np.arange(pixels))
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return weights @ image @ weights.T


def diamond(loops: int, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the displacement of a scene that moves along a diamond at constant speed, in pixels.

    Args:
        loops: Number of loops.
        frames: Number of frames per loop, a multiple of four.

    Returns:
        x (to the right) and y (downwards), float64, shape (loops * frames + 1,); the last position equals the first.
    """
    corners = np.arange(4 * loops + 1)
    when = np.linspace(0, 4 * loops, loops * frames + 1)
    x = np.interp(when, corners, _SWING * np.array([0, 1, 0, -1])[corners % 4])
    y = np.interp(when, corners, _SWING * np.array([-1, 0, 1, 0])[corners % 4])
    return x, y


@compile_kernel
def shift(scene: Any, x: Any, y: Any, frames: Any) -> None:
    """Fill frames, (F, H, W), with the centre of a scene that is shifted right by x and down by y pixels, (F,).

    Interpolation is bilinear. The scene, float32, must be larger than the frames by more than the largest shift on
    each side.
    """
    height, width = frames.shape[1], frames.shape[2]
    for f in range(len(frames)):
        left = (scene.shape[1] - width) / 2 - x[f]
        top = (scene.shape[0] - height) / 2 - y[f]
        column, row = int(np.floor(left)), int(np.floor(top))
        right, below = np.float32(left - column), np.float32(top - row)
        for i in range(height):
            upper, lower = scene[row + i], scene[row + i + 1]
            for j in range(width):
                k = column + j
                above = upper[k] + right * (upper[k + 1] - upper[k])
                under = lower[k] + right * (lower[k + 1] - lower[k])
                frames[f, i, j] = above + below * (under - above)
