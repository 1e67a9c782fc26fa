"""RandAugment's operations are Pillow's with timm's strengths, but for the interpolation of pixels that move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from image_files import crops
from PIL import Image, ImageEnhance, ImageOps

from pipeline.data.rand_augment import OPERATIONS, operate, rand_augment

FILL = (125, 123, 114)
SHARE = 0.9


def pillow(image: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.asarray(change(Image.fromarray(image.transpose(1, 2, 0)))).transpose(2, 0, 1)


def moved(matrix: tuple[float, ...]) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, 0, FILL)


# timm's arguments for a strength of 9 of 10, in the positive direction.
EXACT: dict[str, Callable[[Image.Image], Image.Image]] = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "posterize": lambda image: ImageOps.posterize(image, 1),
    "solarize": lambda image: ImageOps.solarize(image, 26),
    "solarize-add": lambda image: image.point([min(255, i + 99) if i < 128 else i for i in range(256)] * 3),
    "translate-x": moved((1, 0, round(0.405 * 32), 0, 1, 0)),
    "translate-y": moved((1, 0, 0, 0, 1, round(0.405 * 32))),
}
ENHANCED: dict[str, Any] = {
    "colour": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}
TURNED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "rotate": lambda image: image.rotate(27, Image.Resampling.BILINEAR, fillcolor=FILL),
    "shear-x": moved((1, 0.27, 0, 0, 1, 0)),
    "shear-y": moved((1, 0, 0, 0.27, 1, 0)),
}
IMAGES = crops(4, 32, test=False)[0]


@pytest.mark.parametrize("operation", EXACT)
def test_values_are_those_of_pillow(operation: str):
    for image in IMAGES:
        found = operate(operation, torch.from_numpy(image), SHARE, FILL).numpy()
        # Pillow counts and rounds in another order.
        tolerance = {"autocontrast": 1, "equalize": 3}.get(operation, 0)
        np.testing.assert_allclose(found.astype(int), pillow(image, EXACT[operation]), atol=tolerance)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("operation", ENHANCED)
def test_factors_are_those_of_pillow(operation: str, direction: int):
    factor = {1: 1.81, -1: 0.19}[direction]
    for image in IMAGES:
        found = operate(operation, torch.from_numpy(image), direction * SHARE, FILL).numpy()
        expected = pillow(image, lambda picture: ENHANCED[operation](picture).enhance(factor))
        np.testing.assert_allclose(found.astype(int), expected, atol=3)


@pytest.mark.parametrize("operation", TURNED)
def test_pixels_move_as_in_pillow(operation: str):
    """Up to the rounding of their positions, which Pillow does at pixels' centres."""
    for image in IMAGES:
        found = operate(operation, torch.from_numpy(image), SHARE, FILL).numpy().astype(int)
        expected, other = pillow(image, TURNED[operation]), operate(operation, torch.from_numpy(image), -SHARE, FILL)
        error = np.abs(found - expected).mean()
        assert error < 0.25 * np.abs(other.numpy() - expected.astype(int)).mean()


def test_strengths_and_directions_are_drawn_as_in_timm(monkeypatch: pytest.MonkeyPatch):
    drawn: list[tuple[str, float]] = []

    def record(operation: str, image: torch.Tensor, share: float, fill: tuple[int, ...]) -> torch.Tensor:
        drawn.append((operation, share))
        return image

    monkeypatch.setattr("pipeline.data.rand_augment.operate", record)
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    for seed in range(3000):
        rand_augment(image, np.random.default_rng(seed), FILL)
    assert 1400 < len(drawn) < 1600
    counts = Counter(operation for operation, _ in drawn)
    assert set(counts) == set(OPERATIONS) and min(counts.values()) > 60
    strengths = np.abs([share for _, share in drawn]) * 10
    assert strengths.max() == 10 and abs(strengths.mean() - 9) < 0.05 and 0.35 < strengths.std() < 0.42
    directions = {name: {share > 0 for operation, share in drawn if operation == name} for name in OPERATIONS}
    assert {name for name, signs in directions.items() if len(signs) == 2} == {
        *ENHANCED,
        *TURNED,
        "translate-x",
        "translate-y",
    }
