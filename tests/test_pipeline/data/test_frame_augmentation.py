"""Augmented frames equal a plain NumPy twin's, sample by sample, and depend on seed, epoch and sample alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.config.augmentation_names import BATCH_AUGMENTATIONS, FRAME_AUGMENTATIONS, IMAGE_AUGMENTATIONS
from pipeline.data import frame_augmentation
from pipeline.data.frame_augmentation import augment_frames

Sequence = NDArray[np.float64]

# Non-square, odd and even sides; smaller than the largest shift and pad in one, larger in the other.
SHAPES = [(3, 4, 2, 12, 17), (1, 3, 2, 5, 4), (4, 2, 1, 16, 16)]

# Part of what a seed means: other numbers would give every published augmented run other draws.
NUMBERS = {"flip": 1, "roll": 2, "rotation": 3, "shear": 4, "crop": 5, "cutout": 6, "event-drop": 7}


def frames_of(shape: tuple[int, ...]) -> torch.Tensor:
    """Counts, never zero, so that what was emptied shows."""
    return torch.from_numpy(np.random.default_rng(0).integers(1, 9, shape).astype(np.float32))


def numbers_of(shape: tuple[int, ...], first: int = 40) -> NDArray[np.int64]:
    return np.arange(first, first + shape[1], dtype=np.int64)


def augmented(names: list[str] | tuple[str, ...], frames: torch.Tensor, samples: Any, seed: int = 5, epoch: int = 2):
    return augment_frames(names, seed, epoch)(frames, np.asarray(samples, np.int64))


# The twin: one sequence (T, C, H, W) in float64 and its generator at a time.


def flip(frames: Sequence, rng: Generator) -> Sequence:
    return np.flip(frames, -1) if rng.random() < 0.5 else frames


def roll(frames: Sequence, rng: Generator) -> Sequence:
    down, right = rng.integers(-5, 6, 2)
    return np.roll(frames, (down, right), (-2, -1))


def crop(frames: Sequence, rng: Generator) -> Sequence:
    top, left = rng.integers(0, 9, 2)
    height, width = frames.shape[-2:]
    padded = np.pad(frames, ((0, 0), (0, 0), (4, 4), (4, 4)))
    return padded[..., top : top + height, left : left + width]


def cutout(frames: Sequence, rng: Generator) -> Sequence:
    side = rng.integers(1, 9)
    height, width = frames.shape[-2:]
    middle_y, middle_x = (rng.random(2) * (height, width)).astype(int)
    out = frames.copy()
    for y, x in itertools.product(range(height), range(width)):
        if 0 <= y - middle_y + side // 2 < side and 0 <= x - middle_x + side // 2 < side:
            out[..., y, x] = 0
    return out


def event_drop(frames: Sequence, rng: Generator) -> Sequence:
    steps, _, height, width = frames.shape
    kind = rng.integers(4)
    out = frames.copy()
    if kind == 1:
        start = rng.random()
        end = start + rng.integers(1, 10) / 10
        for t in range(steps):
            if start <= (t + 0.5) / steps < end:
                out[t] = 0
        return out if out.any() else frames
    if kind == 2:
        share = rng.integers(1, 6) / 20
        v, u = rng.random(2)
        for y, x in itertools.product(range(height), range(width)):
            # Whether the pixel [y, y + 1) x [x, x + 1) and the rectangle meet.
            meets_y = y + 1 > (v - share / 2) * height and y < (v + share / 2) * height
            if meets_y and x + 1 > (u - share / 2) * width and x < (u + share / 2) * width:
                out[..., y, x] = 0
    if kind == 3:
        probability = rng.uniform(0.1, 0.5)
        out[rng.random(frames.shape, dtype=np.float32) < probability] = 0
    return out


def rotated_from(x: float, y: float, rng: Generator) -> tuple[float, float]:
    """Where the pixel (x, y) of a frame turned counter-clockwise was; y points down."""
    angle = math.radians(rng.uniform(-15, 15))
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def sheared_from(x: float, y: float, rng: Generator) -> tuple[float, float]:
    return x + math.tan(math.radians(rng.uniform(-30, 30))) * y, y


def interpolated(frames: Sequence, source: Callable[[float, float], tuple[float, float]]) -> Sequence:
    """Each pixel from its source, both from the centre, weighed over the four pixels around; zero outside."""
    height, width = frames.shape[-2:]
    out = np.zeros_like(frames)
    for row, column in itertools.product(range(height), range(width)):
        x, y = source(column - (width - 1) / 2, row - (height - 1) / 2)
        x, y = x + (width - 1) / 2, y + (height - 1) / 2
        for j, i in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
            if 0 <= j < height and 0 <= i < width:
                out[..., row, column] += frames[..., j, i] * (1 - abs(y - j)) * (1 - abs(x - i))
    return out


EXACT = {"flip": flip, "roll": roll, "crop": crop, "cutout": cutout, "event-drop": event_drop}


def twin(names: tuple[str, ...], frames: torch.Tensor, samples: NDArray[np.int64], seed: int, epoch: int) -> Sequence:
    out = []
    for sequence, sample in zip(frames.double().numpy().swapaxes(0, 1), samples.tolist(), strict=True):

        def drawing(name: str, sample: int = sample) -> Generator:
            return np.random.default_rng([seed, epoch, sample, NUMBERS[name]])

        def source(x: float, y: float, drawing: Callable[[str], Generator] = drawing) -> tuple[float, float]:
            if "shear" in names:
                x, y = sheared_from(x, y, drawing("shear"))
            return rotated_from(x, y, drawing("rotation")) if "rotation" in names else (x, y)

        for name in [name for name in ("flip", "roll", "crop") if name in names]:
            sequence = EXACT[name](sequence, drawing(name))
        if "rotation" in names or "shear" in names:
            sequence = interpolated(sequence, source)
        for name in [name for name in ("cutout", "event-drop") if name in names]:
            sequence = EXACT[name](sequence, drawing(name))
        out.append(sequence)
    return np.stack(out, 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_what_only_moves_or_empties_equals_the_twin_exactly(name: str, shape: tuple[int, ...]):
    frames, samples = frames_of(shape), numbers_of(shape)
    for epoch in range(8):
        found = augmented([name], frames, samples, epoch=epoch)
        np.testing.assert_array_equal(found.numpy(), twin((name,), frames, samples, 5, epoch))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("names", [("rotation",), ("shear",), ("rotation", "shear")], ids="+".join)
def test_rotation_and_shear_equal_the_twin_in_one_interpolation(names: tuple[str, ...], shape: tuple[int, ...]):
    frames, samples = frames_of(shape), numbers_of(shape)
    found = augmented(names, frames, samples)
    np.testing.assert_allclose(found.numpy(), twin(names, frames, samples, 5, 2), atol=1e-4)


def test_rotation_equals_torchvisions():
    from torchvision.transforms import InterpolationMode, functional

    frames, samples = frames_of(SHAPES[0]), numbers_of(SHAPES[0])
    found = augmented(["rotation"], frames, samples)
    for b, sample in enumerate(samples.tolist()):
        angle = np.random.default_rng([5, 2, sample, NUMBERS["rotation"]]).uniform(-15, 15)
        expected = functional.rotate(frames[:, b], angle, InterpolationMode.BILINEAR)
        torch.testing.assert_close(found[:, b], expected, rtol=0, atol=1e-4)


def test_all_together_apply_in_the_documented_order_whatever_order_they_are_given_in():
    frames, samples = frames_of(SHAPES[0]), numbers_of(SHAPES[0])
    found = augmented(FRAME_AUGMENTATIONS, frames, samples)
    np.testing.assert_allclose(found.numpy(), twin(FRAME_AUGMENTATIONS, frames, samples, 5, 2), atol=1e-4)
    assert torch.equal(augmented(FRAME_AUGMENTATIONS[::-1], frames, samples), found)


@pytest.mark.parametrize("name", FRAME_AUGMENTATIONS)
def test_input_stays_and_output_is_new_with_its_shape_and_dtype(name: str):
    frames = frames_of(SHAPES[0])
    before = frames.clone()
    for names in ([name], []):
        found = augmented(names, frames, numbers_of(SHAPES[0]))
        assert found.shape == frames.shape and found.dtype == torch.float32 and found.is_contiguous()
        found.fill_(-1)
        assert torch.equal(frames, before)


@pytest.mark.parametrize("name", [name for name in FRAME_AUGMENTATIONS if name != "event-drop"])
def test_all_steps_and_both_polarities_change_alike(name: str):
    frame = frames_of((1, 6, 1, 12, 17))
    found = augmented([name], frame.expand(4, 6, 2, 12, 17), numbers_of(frame.shape))
    assert torch.equal(found, found[:1, :, :1].expand_as(found))
    assert not torch.equal(found[:1, :, :1], frame)


@pytest.mark.parametrize("names", [*[(name,) for name in FRAME_AUGMENTATIONS], FRAME_AUGMENTATIONS], ids="+".join)
def test_a_sample_changes_alike_in_every_batch_to_the_bit(names: tuple[str, ...]):
    frames = frames_of((4, 9, 2, 13, 18))
    samples = np.array([7, 3, 900, 12, 0, 55, 8, 21, 4])
    whole = augmented(names, frames, samples)
    for chosen in ([0], [8], [5, 2], [3, 1, 0, 7, 6]):
        assert torch.equal(augmented(names, frames[:, chosen], samples[chosen]), whole[:, chosen])


@pytest.mark.parametrize("name", [name for name in FRAME_AUGMENTATIONS if name != "event-drop"])
def test_the_first_steps_change_alike_for_every_number_of_steps(name: str):
    frames = frames_of((5, 4, 2, 12, 12))
    found = augmented([name], frames, range(4))
    assert torch.equal(augmented([name], frames[:2], range(4)), found[:2])


def test_draws_do_not_depend_on_which_other_augmentations_are_chosen():
    # Even frames stay as they are when flipped or shifted.
    frames = torch.ones(2, 16, 2, 24, 24)
    alone = augmented(["cutout"], frames, range(16)) == 0
    for other in ("flip", "roll", "event-drop"):
        found = augmented([other, "cutout"], frames, range(16)) == 0
        assert torch.all(found | ~alone), other


@pytest.mark.parametrize("name", FRAME_AUGMENTATIONS)
def test_another_seed_epoch_or_sample_draws_anew(name: str):
    frames = frames_of((4, 1, 2, 12, 12)).expand(4, 12, 2, 12, 12)
    found = augmented([name], frames, range(12))
    assert torch.equal(augmented([name], frames, range(12)), found)
    assert not torch.equal(augmented([name], frames, range(12), seed=6), found)
    assert not torch.equal(augmented([name], frames, range(12), epoch=3), found)
    assert not torch.equal(augmented([name], frames, range(12, 24)), found)
    assert len({found[:, b].numpy().tobytes() for b in range(12)}) > 1


def test_no_draws_repeat_those_of_the_order_or_of_augmented_events():
    """NumPy takes a seed that ends in zeros for one without them."""
    assert np.random.default_rng([5, 2, 3]).random() == np.random.default_rng([5, 2, 3, 0]).random()
    of_images = {"autoaugment-cifar10": 8, "autoaugment-imagenet": 9, "trivialaugment": 10, "randaugment": 14}
    of_batches = {"random-erasing": 11, "mixup": 12, "cutmix": 13}
    every = NUMBERS | of_images | of_batches
    assert every == frame_augmentation.NUMBERS and min(every.values()) > 0
    assert set(NUMBERS) == set(FRAME_AUGMENTATIONS)
    assert {*IMAGE_AUGMENTATIONS, *BATCH_AUGMENTATIONS} <= frame_augmentation.NUMBERS.keys()
    assert len(set(frame_augmentation.NUMBERS.values())) == len(frame_augmentation.NUMBERS)


def test_flip_and_roll_keep_every_count_and_others_add_none():
    frames = frames_of((3, 32, 2, 12, 17))
    total = frames.sum((2, 3, 4))
    for name in FRAME_AUGMENTATIONS:
        found = augmented([name], frames, range(32)).sum((2, 3, 4))
        if name in ("flip", "roll"):
            assert torch.equal(found, total)
        elif name in EXACT:
            assert torch.all(found <= total) and not torch.equal(found, total)


def test_flips_are_as_likely_as_not_and_shifts_cover_their_range():
    frames = torch.zeros(1, 600, 1, 16, 16)
    frames[..., 8, 3] = 1
    flipped = augmented(["flip"], frames, range(600))[..., 8, 12].sum().item()
    assert 250 < flipped < 350
    for name, reach in (("roll", 5), ("crop", 4)):
        _, _, _, rows, columns = torch.nonzero(augmented([name], frames.roll(4, -1), range(600)), as_tuple=True)
        assert (rows - 8).unique().tolist() == list(range(-reach, reach + 1))
        assert (columns - 7).unique().tolist() == list(range(-reach, reach + 1))


def test_cutout_squares_have_one_to_eight_pixels_a_side_unless_cut_off():
    emptied = augmented(["cutout"], torch.ones(1, 600, 1, 40, 40), range(600))[0, :, 0] == 0
    inside = ~(emptied[:, [0, -1]].any((1, 2)) | emptied[:, :, [0, -1]].any((1, 2)))
    assert emptied[inside].sum((1, 2)).unique().tolist() == [side * side for side in range(1, 9)]
    assert emptied.sum((1, 2)).min() >= 1 and not inside.all()


def test_event_drop_keeps_or_drops_time_or_area_or_cells_equally_often():
    frames = torch.ones(10, 800, 2, 20, 20)
    emptied = augmented(["event-drop"], frames, range(800)) == 0
    kinds = {"nothing": 0, "time": 0, "area": 0, "cells": 0}
    for sample in emptied.unbind(1):
        steps, pixels = sample.all((1, 2, 3)), sample.all((0, 1))
        share = sample.float().mean().item()
        if not sample.any():
            kinds["nothing"] += 1
        elif steps.any():
            kinds["time"] += 1
            (at,) = torch.nonzero(steps, as_tuple=True)
            # One stretch of whole steps, and no other cell.
            assert at[-1] - at[0] + 1 == len(at) <= 9 and share == pytest.approx(len(at) / 10)
        elif pixels.any():
            kinds["area"] += 1
            rows, columns = pixels.any(1).sum().item(), pixels.any(0).sum().item()
            assert share == pytest.approx(rows * columns / 400) and max(rows, columns) <= 6
        else:
            kinds["cells"] += 1
            assert 0.05 < share < 0.55
    # Late and short stretches of time hold no step's middle, and then nothing is dropped.
    assert min(kinds.values()) > 140 and sum(kinds.values()) == 800, kinds


def test_dropped_cells_of_the_first_steps_are_those_of_fewer_steps():
    kinds = [np.random.default_rng([5, 2, sample, NUMBERS["event-drop"]]).integers(4) for sample in range(60)]
    samples = [sample for sample, kind in enumerate(kinds) if kind == 3]
    frames = torch.ones(5, len(samples), 2, 7, 7)
    found = augmented(["event-drop"], frames, samples)
    assert torch.equal(augmented(["event-drop"], frames[:3], samples), found[:3])


def test_one_step_is_never_emptied_wholly():
    found = augmented(["event-drop"], torch.ones(1, 200, 2, 8, 8), range(200))
    assert torch.all(found.sum((0, 2, 3, 4)) > 0)


def test_samples_that_are_not_turned_come_out_bit_for_bit(monkeypatch: pytest.MonkeyPatch):
    frames = torch.rand((3, 4, 2, 11, 19), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(frame_augmentation, "ROTATION_DEGREES", 0.0)
    assert torch.equal(augmented(["rotation"], frames, range(4)), frames)
    assert not torch.equal(augmented(["rotation", "shear"], frames, range(4)), frames)


def test_beside_turned_samples_others_come_out_bit_for_bit():
    class Still:
        def uniform(self, low: float, high: float) -> float:
            return 0.0

    frames = torch.rand((3, 3, 2, 11, 19), generator=torch.Generator().manual_seed(0))
    turning = np.random.default_rng
    found = frame_augmentation._turn(frames, [Still(), turning(1), Still()], [])  # type: ignore[list-item]
    assert torch.equal(found[:, [0, 2]], frames[:, [0, 2]])
    assert torch.equal(found[:, [1]], frame_augmentation._turn(frames[:, [1]], [turning(1)], []))
    assert not torch.equal(found[:, 1], frames[:, 1])


def test_names_of_events_and_wrong_numbers_of_samples_are_refused():
    with pytest.raises(ValueError, match=r"^expected names of flip, roll, .*, found time-jitter$"):
        augment_frames(["flip", "time-jitter"], 0, 0)
    with pytest.raises(ValueError, match=r"^expected 4 sample numbers, one per sequence, found 3$"):
        augmented(["flip"], frames_of(SHAPES[0]), range(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives():
    frames, samples = frames_of((4, 9, 2, 13, 18)), numbers_of((4, 9))
    for names in [*[(name,) for name in FRAME_AUGMENTATIONS], FRAME_AUGMENTATIONS]:
        found = augmented(names, frames.cuda(), samples)
        tolerance = 1e-4 if {"rotation", "shear"} & set(names) else 0
        torch.testing.assert_close(found.cpu(), augmented(names, frames, samples), rtol=0, atol=tolerance)
