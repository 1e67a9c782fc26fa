"""RandAugment (Cubuk et al., NeurIPS 2020) as the spiking transformers' authors use it: timm's rand-m9-n1-mstd0.4-inc1.

One of 15 operations, applied with probability 0.5 at a strength from a normal distribution of mean 9 and standard
deviation 0.4, cut to 0 to 10. Operations with a direction take either one with equal probability. Their ranges are
those of timm's "increasing" operations, which are stronger at a higher strength; torchvision's class has others.
Pixels are moved by torchvision with bilinear interpolation, instead of Pillow's bicubic one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy.random import Generator

STRENGTH = 9.0
STRENGTH_DEVIATION = 0.4
PROBABILITY = 0.5
_STRONGEST = 10.0

OPERATIONS = (
    "autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize-add",
    "colour", "contrast", "brightness", "sharpness", "shear-x", "shear-y", "translate-x", "translate-y",
)  # fmt: skip
_WITH_DIRECTION = frozenset(OPERATIONS) - {
    "autocontrast",
    "equalize",
    "invert",
    "posterize",
    "solarize",
    "solarize-add",
}


def rand_augment(image: torch.Tensor, generator: Generator, fill: tuple[int, ...]) -> torch.Tensor:
    """Augment an image.

    Args:
        image: uint8, shape (3, H, W); not changed.
        generator: Source of the random numbers.
        fill: Colour of what lies outside of the image.
    """
    operation = OPERATIONS[int(generator.integers(len(OPERATIONS)))]
    if generator.random() >= PROBABILITY:
        return image
    share = min(max(generator.normal(STRENGTH, STRENGTH_DEVIATION), 0.0), _STRONGEST) / _STRONGEST
    if operation in _WITH_DIRECTION and generator.random() < 0.5:
        share = -share
    return operate(operation, image, share, fill)


def operate(operation: str, image: torch.Tensor, share: float, fill: tuple[int, ...]) -> torch.Tensor:
    """Apply an operation with a share of its greatest strength; a negative one is in the other direction.

    Args:
        operation: A name from `OPERATIONS`.
        image: uint8, shape (3, H, W); not changed.
        share: From 0 to 1, or from -1 for operations with a direction.
        fill: Colour of what lies outside of the image.
    """
    # Imported here, because it takes a second.
    from torchvision.transforms.v2 import functional

    height, width = image.shape[-2:]
    moved: dict[str, dict[str, Any]] = {
        "rotate": {"angle": -30.0 * share},
        "shear-x": {"shear": [math.degrees(math.atan(0.3 * share)), 0.0]},
        "shear-y": {"shear": [0.0, math.degrees(math.atan(0.3 * share))]},
        "translate-x": {"translate": [round(-0.45 * share * width), 0]},
        "translate-y": {"translate": [0, round(-0.45 * share * height)]},
    }
    if operation in moved:
        return _move(image, fill, **moved[operation])
    # Colours, contrast and the others are unchanged at 1, and grow or fade from there.
    factor = max(0.1, 1.0 + 0.9 * share)
    changes: dict[str, Callable[[], torch.Tensor]] = {
        "autocontrast": lambda: functional.autocontrast(image),
        "equalize": lambda: functional.equalize(image),
        "invert": lambda: functional.invert(image),
        "posterize": lambda: functional.posterize(image, 4 - int(4 * share)),
        "solarize": lambda: functional.solarize(image, 256 - int(256 * share)),
        "solarize-add": lambda: _solarize_add(image, int(110 * share)),
        "colour": lambda: functional.adjust_saturation(image, factor),
        "contrast": lambda: functional.adjust_contrast(image, factor),
        "brightness": lambda: functional.adjust_brightness(image, factor),
        "sharpness": lambda: functional.adjust_sharpness(image, factor),
    }
    return changes[operation]()


def _move(image: torch.Tensor, fill: tuple[int, ...], **changed: Any) -> torch.Tensor:
    """Rotate about the centre, shear about the top left corner, or translate."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    still: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    centre = [0.0, 0.0] if "shear" in changed else None
    found: torch.Tensor = functional.affine(
        image, **(still | changed), interpolation=InterpolationMode.BILINEAR, fill=list(map(float, fill)), center=centre
    )
    return found


def _solarize_add(image: torch.Tensor, amount: int) -> torch.Tensor:
    """Brighten the dark half of the values."""
    return torch.where(image < 128, (image.to(torch.int16) + amount).clamp_(max=255).to(torch.uint8), image)
