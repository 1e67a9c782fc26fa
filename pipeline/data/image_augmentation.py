"""Augmentation of static images, redrawn for every sample and epoch.

The random numbers depend only on the run's seed, the epoch, the sample's number and the augmentation, as for frames
(`pipeline.data.frame_augmentation`). Images are augmented as bytes, before they are normalised, in the order of
`IMAGE_AUGMENTATIONS`:

- crop: a window of the size of the image from the image padded with 4 black pixels. flip: left to right, with
  probability 0.5. Both as in the code of the CLIF authors for CIFAR.
- autoaugment-cifar10, autoaugment-imagenet: AutoAugment (Cubuk et al., CVPR 2019), with one of the 25 learned policies
  for that data set, by torchvision.transforms.v2, with nearest-pixel interpolation.
- trivialaugment: TrivialAugment with its wide ranges (Müller and Hutter, ICCV 2021), by torchvision.transforms.v2:
  one random operation with a random strength, with bilinear interpolation, as in the code of the CLIF authors and of
  PSN (Fang et al., NeurIPS 2023) for CIFAR. There it is applied to images of Pillow, whose bilinear rotation rounds
  differently.
- randaugment: RandAugment in the strength of the spiking transformers' authors; see `pipeline.data.rand_augment`.
- cutout: with probability 0.5, a rectangle of one random grey value, as the CLIF authors use it for CIFAR (Cutout of
  torchtoolbox): its area is uniform in 0.02 to 0.4 of the image, height / width uniform in 0.4 to 2.5, its place
  uniform within the image. There it precedes the flip, which gives the same distribution of images.

Milliseconds for 128 images of 32x32 on one shared CPU thread: crop+flip+cutout 13 to 25, 129 by the classes of
torchvision; autoaugment-cifar10 124. In another run side by side, medians: crop+flip+cutout 16, autoaugment-cifar10 96,
trivialaugment 85.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.config.augmentation_names import IMAGE_AUGMENTATIONS
from pipeline.data.frame_augmentation import CROP_PADDING, FLIP_PROBABILITY, NUMBERS
from pipeline.data.rand_augment import rand_augment
from pipeline.data.torch_draws import DrawingFrom

CUTOUT_PROBABILITY = 0.5
CUTOUT_AREA = (0.02, 0.4)
CUTOUT_RATIO = (0.4, 2.5)

Image = NDArray[np.uint8]
"""(3, H, W)."""


def augment_images(
    names: Sequence[str], seed: int, epoch: int, mean: Sequence[float] = (0.0, 0.0, 0.0)
) -> Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[np.uint8]]:
    """Return the function that augments a batch of images in one epoch.

    That function accepts images, uint8 (B, 3, H, W), and the B sample numbers. It returns new images of the same shape,
    and may run in any thread.

    Args:
        names: Names from `IMAGE_AUGMENTATIONS`, in any order.
        seed: Seed of the run.
        epoch: Number of the epoch.
        mean: Mean of each channel of the data set, from 0 to 1: the colour outside of what randaugment moves.

    Raises:
        ValueError: If a name is not in `IMAGE_AUGMENTATIONS`.
    """
    unknown = [name for name in names if name not in IMAGE_AUGMENTATIONS]
    if unknown:
        raise ValueError(f"expected names of {', '.join(IMAGE_AUGMENTATIONS)}, found {', '.join(unknown)}")
    fill = tuple(min(255, round(255 * value)) for value in mean)
    changes = _CHANGES | {"randaugment": functools.partial(_rand_augment, fill)}
    chosen = [(NUMBERS[name], changes[name]) for name in IMAGE_AUGMENTATIONS if name in names]

    def change(images: NDArray[np.uint8], samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        out = np.empty_like(images)
        for image, sample, changed in zip(images, samples, out, strict=True):
            for number, augment in chosen:
                image = augment(image, np.random.default_rng([seed, epoch, int(sample), number]))
            changed[...] = image
        return out

    return change


def _crop(image: Image, generator: Generator) -> Image:
    height, width = image.shape[1:]
    top, left = generator.integers(0, 2 * CROP_PADDING + 1, 2)
    padded = np.zeros((len(image), height + 2 * CROP_PADDING, width + 2 * CROP_PADDING), np.uint8)
    padded[:, CROP_PADDING:-CROP_PADDING, CROP_PADDING:-CROP_PADDING] = image
    return padded[:, top : top + height, left : left + width]


def _flip(image: Image, generator: Generator) -> Image:
    return image[..., ::-1] if generator.random() < FLIP_PROBABILITY else image


def _cut_out(image: Image, generator: Generator) -> Image:
    if generator.random() >= CUTOUT_PROBABILITY:
        return image
    rows, columns = image.shape[1:]
    area, ratio = generator.uniform(*CUTOUT_AREA) * rows * columns, generator.uniform(*CUTOUT_RATIO)
    # Clipped for images that are not square.
    height, width = min(rows, int(math.sqrt(area * ratio))), min(columns, int(math.sqrt(area / ratio)))
    top, left = int(generator.integers(0, rows - height + 1)), int(generator.integers(0, columns - width + 1))
    out = image.copy()
    out[:, top : top + height, left : left + width] = generator.integers(0, 256)
    return out


def _by_torchvision(name: str, image: Image, generator: Generator) -> Image:
    with DrawingFrom(generator):
        found: Image = _transform(name)(torch.from_numpy(np.ascontiguousarray(image))).numpy()
    return found


def _rand_augment(fill: tuple[int, ...], image: Image, generator: Generator) -> Image:
    found: Image = rand_augment(torch.from_numpy(np.ascontiguousarray(image)), generator, fill).numpy()
    return found


_CHANGES: dict[str, Callable[[Image, Generator], Image]] = {
    "crop": _crop,
    "flip": _flip,
    "autoaugment-cifar10": functools.partial(_by_torchvision, "autoaugment-cifar10"),
    "autoaugment-imagenet": functools.partial(_by_torchvision, "autoaugment-imagenet"),
    "trivialaugment": functools.partial(_by_torchvision, "trivialaugment"),
    "cutout": _cut_out,
}


@functools.cache
def _transform(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    # Imported here, because it takes a second.
    from torchvision.transforms import v2

    transform: Callable[[torch.Tensor], torch.Tensor] = (
        v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
        if name == "trivialaugment"
        else v2.AutoAugment(v2.AutoAugmentPolicy[name.removeprefix("autoaugment-").upper()])
    )
    return transform
