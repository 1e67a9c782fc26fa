"""Augmentation of frame sequences on the device, redrawn for every sample and epoch.

The random numbers depend only on the run's seed, the epoch, the sample's number and the augmentation, and not on the
batch, the other augmentations, the device or T. All T time steps and both polarities of a sample are augmented in the
same way.

Augmentations are applied in the order of `FRAME_AUGMENTATIONS`, in whatever order their names are given, in three
passes. Flip, roll and crop only move pixels and are one exact gather operation. Rotation and shear are combined into
one interpolation, because two would blur more. Cutout and event-drop set pixels to zero. Each selected augmentation is
applied to every sample. Ranges and sources:

- flip: left to right, with probability 0.5. crop: a window of the size of the frame from the frame zero-padded by 4
  pixels. Both as in PSN's code for VGGSNN on CIFAR10-DVS (Fang et al., NeurIPS 2023).
- roll: by -5 to 5 pixels in each direction, with wrap-around. shear: horizontal, by -30 to 30 degrees. Both as in the
  released code of NDA (neuromorphic data augmentation, Li et al., ECCV 2022) for CIFAR10-DVS, which applies only one of
  roll, rotation and shear to a sample, uses nearest-pixel interpolation, and rotates by up to 30 degrees.
- rotation: by -15 to 15 degrees, as in the CLIF authors' loader. That loader enlarges the frame, so that sizes differ
  within a batch; here, the size is kept.
- cutout: a square of zeros centred on any pixel, after NDA, whose released loaders do not use it. The side of 1 to 8
  pixels is our choice.
- event-drop: EventDrop (Gu et al., IJCAI 2021), applied to frames. It drops, with equal probability, nothing, a share
  of 0.1 to 0.9 of the time, an area of 0.05 to 0.25 of each side, or each cell (step, polarity, pixel) with a
  probability of 0.1 to 0.5; the released code drops up to 0.9 of the events. The time is that of all T steps,
  including padding if T varies.

Milliseconds per batch on one shared CPU thread, (10, 32, 2, 48, 48) / (20, 16, 2, 128, 128), best of 25: plain copy
0.4 / 20, flip+crop 5 / 39, rotation 9 / 107, cutout 1 / 23, event-drop 2 / 27, all seven 26 / 189.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.config.augmentation_names import FRAME_AUGMENTATIONS
from pipeline.data.on_device import on_device

FLIP_PROBABILITY = 0.5
ROLL_PIXELS = 5
CROP_PADDING = 4
ROTATION_DEGREES = 15.0
SHEAR_DEGREES = 30.0
CUTOUT_PIXELS = 8

# Never renumbered, so that existing runs can be reproduced. No number is 0: NumPy pads seeds with zeros, so (seed,
# epoch, sample, 0) would give the same random numbers as (seed, epoch, sample) in `pipeline.data.event_augmentation`.
NUMBERS = {
    "flip": 1, "roll": 2, "rotation": 3, "shear": 4, "crop": 5, "cutout": 6, "event-drop": 7,
    "autoaugment-cifar10": 8, "autoaugment-imagenet": 9, "trivialaugment": 10, "random-erasing": 11, "mixup": 12,
    "cutmix": 13, "randaugment": 14,
}  # fmt: skip
"""The random stream of each augmentation, of frames and of images."""

_OUTSIDE = -1


def augment_frames(
    names: Sequence[str], seed: int, epoch: int
) -> Callable[[torch.Tensor, NDArray[np.int64]], torch.Tensor]:
    """Return the function that augments a batch of frames in one epoch.

    That function accepts encoded frames, float32, shape (T, B, C, H, W), and the B sample numbers. It returns a new
    tensor of the same shape, dtype and device, and does not change its input.

    Args:
        names: Names from `FRAME_AUGMENTATIONS`, in any order.
        seed: Seed of the run.
        epoch: Number of the epoch.

    Raises:
        ValueError: If a name is not in `FRAME_AUGMENTATIONS`.
    """
    unknown = [name for name in names if name not in FRAME_AUGMENTATIONS]
    if unknown:
        raise ValueError(f"expected names of {', '.join(FRAME_AUGMENTATIONS)}, found {', '.join(unknown)}")

    def change(frames: torch.Tensor, samples: NDArray[np.int64]) -> torch.Tensor:
        if len(samples) != frames.shape[1]:
            raise ValueError(f"expected {frames.shape[1]} sample numbers, one per sequence, found {len(samples)}")

        def generators(name: str) -> list[Generator]:
            """One generator per sample; an empty list if the augmentation is not selected."""
            chosen = samples if name in names else ()
            return [np.random.default_rng([seed, epoch, int(sample), NUMBERS[name]]) for sample in chosen]

        out = _move(frames, generators("flip"), generators("roll"), generators("crop"))
        out = _turn(out, generators("rotation"), generators("shear"))
        if out is frames:
            out = frames.clone()
        _cut_out(out, generators("cutout"))
        _drop(out, generators("event-drop"))
        return out

    return change


def _move(frames: torch.Tensor, flips: list[Generator], rolls: list[Generator], crops: list[Generator]) -> torch.Tensor:
    """Flip, roll and crop: apply them to row and column numbers, then gather the pixels once."""
    if not (flips or rolls or crops):
        return frames
    batch, _, height, width = frames.shape[1:]
    rows = np.tile(np.arange(height), (batch, 1))
    columns = np.tile(np.arange(width), (batch, 1))
    for b, generator in enumerate(flips):
        if generator.random() < FLIP_PROBABILITY:
            columns[b] = columns[b, ::-1].copy()
    for b, generator in enumerate(rolls):
        down, right = generator.integers(-ROLL_PIXELS, ROLL_PIXELS + 1, 2)
        rows[b], columns[b] = np.roll(rows[b], down), np.roll(columns[b], right)
    for b, generator in enumerate(crops):
        top, left = generator.integers(0, 2 * CROP_PADDING + 1, 2)
        rows[b] = np.pad(rows[b], CROP_PADDING, constant_values=_OUTSIDE)[top : top + height]
        columns[b] = np.pad(columns[b], CROP_PADDING, constant_values=_OUTSIDE)[left : left + width]
    return _gather(frames, rows, columns)


def _gather(frames: torch.Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> torch.Tensor:
    """Gather each pixel (y, x) from (rows[b, y], columns[b, x]) of the given frames; zero outside of them.

    Args:
        frames: Shape (T, B, C, H, W).
        rows: Shape (B, H).
        columns: Shape (B, W).
    """
    y = on_device(rows, frames.device)[:, :, None]
    x = on_device(columns, frames.device)[:, None, :]
    pixels = (y.clamp(min=0) * frames.shape[-1] + x.clamp(min=0)).flatten(1)
    flat = frames.flatten(-2)
    out = flat.gather(-1, pixels[None, :, None].expand_as(flat)).unflatten(-1, frames.shape[-2:])
    if (rows < 0).any() or (columns < 0).any():
        out.masked_fill_(((y < 0) | (x < 0))[:, None], 0)
    return out


def _turn(frames: torch.Tensor, rotations: list[Generator], shears: list[Generator]) -> torch.Tensor:
    """Rotate counter-clockwise about the centre, then shear the upper half to the right; zeros outside the frame."""
    if not (rotations or shears):
        return frames
    none = [0.0] * frames.shape[1]
    angles = [math.radians(g.uniform(-ROTATION_DEGREES, ROTATION_DEGREES)) for g in rotations] or none
    slants = [math.tan(math.radians(g.uniform(-SHEAR_DEGREES, SHEAR_DEGREES))) for g in shears] or none
    # Maps the position of an output pixel to its source, both relative to the centre, with x to the right and y down.
    matrices = np.array(
        [
            [[math.cos(a), math.cos(a) * s - math.sin(a)], [math.sin(a), math.sin(a) * s + math.cos(a)]]
            for a, s in zip(angles, slants, strict=True)
        ]
    )
    turned = np.flatnonzero(np.any(matrices != np.eye(2), axis=(1, 2)))
    if len(turned) == len(matrices):
        return _interpolate(frames, matrices)
    # Samples that do not move are copied, because interpolation would round them.
    out = frames.clone()
    out[:, turned] = _interpolate(frames[:, turned], matrices[turned])
    return out


def _interpolate(frames: torch.Tensor, matrices: NDArray[np.float64]) -> torch.Tensor:
    """Bilinear interpolation; the matrix of a sample maps each output position to its source, relative to the centre.

    Args:
        frames: Shape (T, B, C, H, W).
        matrices: Shape (B, 2, 2), x before y.
    """
    height, width = frames.shape[-2:]
    x = torch.arange(width, dtype=torch.float32, device=frames.device) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float32, device=frames.device)[:, None] - (height - 1) / 2
    # grid_sample places the edges at -1 and 1. A matrix product might use TF32, with errors of whole pixels.
    scaled = matrices * (2 / np.array([width, height]))[:, None]
    factors = on_device(scaled.astype(np.float32), frames.device)[..., None, None]
    grid = factors[:, :, 0] * x + factors[:, :, 1] * y
    images = frames.transpose(0, 1).flatten(1, 2)
    found = functional.grid_sample(images, grid.movedim(1, -1), "bilinear", "zeros", align_corners=False)
    return found.unflatten(1, (len(frames), -1)).transpose(0, 1).contiguous()


def _cut_out(frames: torch.Tensor, generators: list[Generator]) -> None:
    """Set a square of each sample to zero, in place; the part outside the frame is ignored."""
    height, width = frames.shape[-2:]
    for b, generator in enumerate(generators):
        side = int(generator.integers(1, CUTOUT_PIXELS + 1))
        v, u = generator.random(2)
        top, left = int(v * height) - side // 2, int(u * width) - side // 2
        frames[:, b, :, max(top, 0) : top + side, max(left, 0) : left + side] = 0


def _drop(frames: torch.Tensor, generators: list[Generator]) -> None:
    """Drop time steps, an area, single cells or nothing of each sample, with equal probability and in place."""
    kinds = (_drop_time, _drop_area, _drop_cells)
    for b, generator in enumerate(generators):
        kind = generator.integers(len(kinds) + 1)
        if kind > 0:
            kinds[kind - 1](frames[:, b], generator)


def _drop_time(frames: torch.Tensor, generator: Generator) -> None:
    """Drop the steps whose centres are in a random part of [0, 1]; never all, because EventDrop keeps every sample."""
    start = generator.random()
    end = start + int(generator.integers(1, 10)) / 10
    steps = [t for t in range(len(frames)) if start <= (t + 0.5) / len(frames) < end]
    if steps and len(steps) < len(frames):
        frames[steps[0] : steps[-1] + 1] = 0


def _drop_area(frames: torch.Tensor, generator: Generator) -> None:
    """Drop every pixel that a rectangle overlaps; it has the proportions of the frame and its centre inside it."""
    share = int(generator.integers(1, 6)) / 20
    window = []
    for centre, size in zip(generator.random(2), frames.shape[-2:], strict=True):
        low, high = (centre - share / 2) * size, (centre + share / 2) * size
        window.append(slice(max(math.floor(low), 0), math.ceil(high)))
    frames[..., window[0], window[1]] = 0


def _drop_cells(frames: torch.Tensor, generator: Generator) -> None:
    """Drop each cell with the same probability, drawn step by step, so that the first steps do not depend on T."""
    probability = generator.uniform(0.1, 0.5)
    cells = generator.random(tuple(frames.shape), dtype=np.float32) < probability
    frames.masked_fill_(on_device(cells, frames.device), 0)
