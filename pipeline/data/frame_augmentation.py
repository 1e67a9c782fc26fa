"""Augmentation of whole frame sequences on the device that trains, drawn anew for every sample and epoch.

What is drawn depends on the run's seed, the epoch, the sample's number and the augmentation, and on nothing else: not
on the batch, the other augmentations, the device, or T. One draw holds for all T steps and both polarities of a sample.

Whatever order the names are given in, they apply in that of `FRAME_AUGMENTATIONS`, in three passes: flip, roll and crop
only move pixels and are one exact gather; rotation, then shear, are one interpolation, because two blur more; cutout
and event-drop empty what they choose. Every chosen one applies to every sample. Where the ranges come from:

- flip, with probability 0.5 and left to right, and crop, a window of the frame's own size out of the frame with 4
  pixels of zeros around it: PSN's code for VGGSNN on CIFAR10-DVS (Fang et al., NeurIPS 2023).
- roll, -5 to 5 pixels each way, wrapping round, and shear, horizontal, -30 to 30 degrees: the released code of NDA
  (neuromorphic data augmentation, Li et al., ECCV 2022) for CIFAR10-DVS. It applies one of roll, rotation and shear to
  a sample, takes the nearest pixel, and rotates by up to 30 degrees.
- rotation, -15 to 15 degrees: the CLIF authors' loader. It expands the frame, which gives sizes that cannot batch;
  keeping the size is ours.
- cutout, a square of zeros about any pixel: after NDA, whose released loaders leave it out; its 1 to 8 pixels are ours.
- event-drop: EventDrop (Gu et al., IJCAI 2021), here on frames. Nothing, a share of 0.1 to 0.9 of the time, 0.05 to
  0.25 of each side's length, or each cell (step, polarity, pixel) with a probability of 0.1 to 0.5; its released code
  drops up to 0.9 of the events. The time is that of all T steps, padding included where T varies.

Milliseconds a batch on one shared CPU thread, (10, 32, 2, 48, 48) / (20, 16, 2, 128, 128), best of 25: a plain copy
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

FLIP_PROBABILITY = 0.5
ROLL_PIXELS = 5
CROP_PADDING = 4
ROTATION_DEGREES = 15.0
SHEAR_DEGREES = 30.0
CUTOUT_PIXELS = 8

# Kept when names come or go, so that a run's draws stay. None is 0: NumPy pads seeds with zeros, and (seed, epoch,
# sample, 0) would repeat the draws of `pipeline.data.event_augmentation`, which is seeded by (seed, epoch, sample).
_NUMBERS = {"flip": 1, "roll": 2, "rotation": 3, "shear": 4, "crop": 5, "cutout": 6, "event-drop": 7}

_OUTSIDE = -1


def augment_frames(
    names: Sequence[str], seed: int, epoch: int
) -> Callable[[torch.Tensor, NDArray[np.int64]], torch.Tensor]:
    """What changes a batch of frames in one epoch.

    The function returned takes frames, float32, shape (T, B, C, H, W), as they would enter the network, and the B
    samples' numbers. It gives a new tensor of that shape, dtype and device, and leaves its input as it was.

    Args:
        names: Some of `FRAME_AUGMENTATIONS`; their order does not matter.
        seed: Of the run.
        epoch: Of training.

    Raises:
        ValueError: If a name is none of `FRAME_AUGMENTATIONS`.
    """
    unknown = [name for name in names if name not in FRAME_AUGMENTATIONS]
    if unknown:
        raise ValueError(f"expected names of {', '.join(FRAME_AUGMENTATIONS)}, found {', '.join(unknown)}")

    def change(frames: torch.Tensor, samples: NDArray[np.int64]) -> torch.Tensor:
        if len(samples) != frames.shape[1]:
            raise ValueError(f"expected {frames.shape[1]} sample numbers, one a sequence, found {len(samples)}")

        def generators(name: str) -> list[Generator]:
            """One for each sample, or none at all where the augmentation is not chosen."""
            chosen = samples if name in names else ()
            return [np.random.default_rng([seed, epoch, int(sample), _NUMBERS[name]]) for sample in chosen]

        out = _move(frames, generators("flip"), generators("roll"), generators("crop"))
        out = _turn(out, generators("rotation"), generators("shear"))
        if out is frames:
            out = frames.clone()
        _cut_out(out, generators("cutout"))
        _drop(out, generators("event-drop"))
        return out

    return change


def _move(frames: torch.Tensor, flips: list[Generator], rolls: list[Generator], crops: list[Generator]) -> torch.Tensor:
    """Flip, roll and crop; what they do to a row of pixels, they do to the row's pixel numbers, and those gather."""
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
    """Frames whose pixel (y, x) is the one at (rows[b, y], columns[b, x]) of the given ones, or zero outside.

    Args:
        frames: Shape (T, B, C, H, W).
        rows: Shape (B, H).
        columns: Shape (B, W).
    """
    y = torch.from_numpy(rows).to(frames.device)[:, :, None]
    x = torch.from_numpy(columns).to(frames.device)[:, None, :]
    pixels = (y.clamp(min=0) * frames.shape[-1] + x.clamp(min=0)).flatten(1)
    flat = frames.flatten(-2)
    out = flat.gather(-1, pixels[None, :, None].expand_as(flat)).unflatten(-1, frames.shape[-2:])
    if (rows < 0).any() or (columns < 0).any():
        out.masked_fill_(((y < 0) | (x < 0))[:, None], 0)
    return out


def _turn(frames: torch.Tensor, rotations: list[Generator], shears: list[Generator]) -> torch.Tensor:
    """Rotate counter-clockwise about the centre, then shear the upper half to the right, with zeros outside."""
    if not (rotations or shears):
        return frames
    none = [0.0] * frames.shape[1]
    angles = [math.radians(g.uniform(-ROTATION_DEGREES, ROTATION_DEGREES)) for g in rotations] or none
    slants = [math.tan(math.radians(g.uniform(-SHEAR_DEGREES, SHEAR_DEGREES))) for g in shears] or none
    # Where a pixel of the result comes from, in pixels from the centre, x to the right and y down.
    matrices = np.array(
        [
            [[math.cos(a), math.cos(a) * s - math.sin(a)], [math.sin(a), math.sin(a) * s + math.cos(a)]]
            for a, s in zip(angles, slants, strict=True)
        ]
    )
    turned = np.flatnonzero(np.any(matrices != np.eye(2), axis=(1, 2)))
    if len(turned) == len(matrices):
        return _interpolate(frames, matrices)
    # Interpolating in place would still round.
    out = frames.clone()
    out[:, turned] = _interpolate(frames[:, turned], matrices[turned])
    return out


def _interpolate(frames: torch.Tensor, matrices: NDArray[np.float64]) -> torch.Tensor:
    """Bilinear: each pixel of the result from where its sample's matrix points, both seen from the centre.

    Args:
        frames: Shape (T, B, C, H, W).
        matrices: Shape (B, 2, 2); x before y.
    """
    height, width = frames.shape[-2:]
    x = torch.arange(width, dtype=torch.float32, device=frames.device) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float32, device=frames.device)[:, None] - (height - 1) / 2
    # grid_sample takes edges as -1 and 1. A product by a matrix might run in TF32, which would move whole pixels.
    scaled = matrices * (2 / np.array([width, height]))[:, None]
    factors = torch.from_numpy(scaled.astype(np.float32)).to(frames.device)[..., None, None]
    grid = factors[:, :, 0] * x + factors[:, :, 1] * y
    images = frames.transpose(0, 1).flatten(1, 2)
    found = functional.grid_sample(images, grid.movedim(1, -1), "bilinear", "zeros", align_corners=False)
    return found.unflatten(1, (len(frames), -1)).transpose(0, 1).contiguous()


def _cut_out(frames: torch.Tensor, generators: list[Generator]) -> None:
    """Empty a square of each sample, in place; what of it lies outside is cut off."""
    height, width = frames.shape[-2:]
    for b, generator in enumerate(generators):
        side = int(generator.integers(1, CUTOUT_PIXELS + 1))
        v, u = generator.random(2)
        top, left = int(v * height) - side // 2, int(u * width) - side // 2
        frames[:, b, :, max(top, 0) : top + side, max(left, 0) : left + side] = 0


def _drop(frames: torch.Tensor, generators: list[Generator]) -> None:
    """Empty some time, an area or single cells of each sample, or nothing, with equal chance and in place."""
    kinds = (_drop_time, _drop_area, _drop_cells)
    for b, generator in enumerate(generators):
        kind = generator.integers(len(kinds) + 1)
        if kind > 0:
            kinds[kind - 1](frames[:, b], generator)


def _drop_time(frames: torch.Tensor, generator: Generator) -> None:
    """Empty the steps whose middles lie in a part of the unit interval; never all, as EventDrop keeps samples."""
    start = generator.random()
    end = start + int(generator.integers(1, 10)) / 10
    steps = [t for t in range(len(frames)) if start <= (t + 0.5) / len(frames) < end]
    if steps and len(steps) < len(frames):
        frames[steps[0] : steps[-1] + 1] = 0


def _drop_area(frames: torch.Tensor, generator: Generator) -> None:
    """Empty every pixel that a rectangle touches, of the frame's own shape and with its centre inside."""
    share = int(generator.integers(1, 6)) / 20
    window = []
    for centre, size in zip(generator.random(2), frames.shape[-2:], strict=True):
        low, high = (centre - share / 2) * size, (centre + share / 2) * size
        window.append(slice(max(math.floor(low), 0), math.ceil(high)))
    frames[..., window[0], window[1]] = 0


def _drop_cells(frames: torch.Tensor, generator: Generator) -> None:
    """Empty each cell with one probability. Steps draw one after another, so that more of them change no others."""
    probability = generator.uniform(0.1, 0.5)
    cells = generator.random(tuple(frames.shape), dtype=np.float32) < probability
    frames.masked_fill_(torch.from_numpy(cells).to(frames.device), 0)
