"""Augmentation of static images with torchvision.transforms.v2, redrawn for every sample and epoch.

The random numbers depend only on the run's seed, the epoch, the sample's number and the augmentation, as for frames
(`pipeline.data.frame_augmentation`): torchvision draws from torch's global generator, and here each draw is made from
the sample's own. Images are augmented as bytes, before they are normalised, in the order of `IMAGE_AUGMENTATIONS`:

- crop: a window of the size of the image from the image padded with 4 black pixels. flip: left to right, with
  probability 0.5. Both as in the code of the CLIF authors for CIFAR.
- autoaugment-cifar10, autoaugment-imagenet: AutoAugment (Cubuk et al., CVPR 2019), with one of the 25 learned policies
  for that data set; torchvision's, with nearest-pixel interpolation.
- cutout: with probability 0.5, a rectangle of one random grey value, as the CLIF authors use it for CIFAR (Cutout of
  torchtoolbox): its area is uniform in 0.02 to 0.4 of the image, height / width uniform in 0.4 to 2.5, its place
  uniform within the image. There it precedes the flip, which gives the same distribution of images.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from pipeline.config.augmentation_names import IMAGE_AUGMENTATIONS
from pipeline.data.frame_augmentation import CROP_PADDING, FLIP_PROBABILITY, NUMBERS

CUTOUT_PROBABILITY = 0.5
CUTOUT_AREA = (0.02, 0.4)
CUTOUT_RATIO = (0.4, 2.5)
_GREYS = 255

_Transform = Callable[[torch.Tensor], torch.Tensor]
_DRAWS = frozenset({torch.rand, torch.randint, torch.randn, torch.randperm, torch.Tensor.uniform_})


def augment_images(
    names: Sequence[str], seed: int, epoch: int
) -> Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[np.uint8]]:
    """Return the function that augments a batch of images in one epoch.

    That function accepts images, uint8 (B, 3, H, W), and the B sample numbers. It returns new images of the same shape,
    and may run in any thread.

    Args:
        names: Names from `IMAGE_AUGMENTATIONS`, in any order.
        seed: Seed of the run.
        epoch: Number of the epoch.

    Raises:
        ValueError: If a name is not in `IMAGE_AUGMENTATIONS`.
    """
    unknown = [name for name in names if name not in IMAGE_AUGMENTATIONS]
    if unknown:
        raise ValueError(f"expected names of {', '.join(IMAGE_AUGMENTATIONS)}, found {', '.join(unknown)}")
    chosen = [name for name in IMAGE_AUGMENTATIONS if name in names]

    def change(images: NDArray[np.uint8], samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        out = np.empty_like(images)
        for image, sample, changed in zip(images, samples, out, strict=True):
            found = torch.from_numpy(image)
            for name in chosen:
                with _Drawing([seed, epoch, int(sample), NUMBERS[name]]):
                    found = _transform(name, image.shape[1:])(found)
            changed[...] = found.numpy()
        return out

    return change


class _Drawing(TorchFunctionMode):
    """Random numbers that are drawn in the block, in this thread, come from a generator with this seed."""

    def __init__(self, seed: list[int]) -> None:
        super().__init__()
        number = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
        # torch's seeds are signed.
        self._generator = torch.Generator().manual_seed(number >> 1)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS:
            kwargs = {"generator": self._generator} | kwargs
        return func(*args, **kwargs)


@functools.cache
def _transform(name: str, size: tuple[int, int]) -> _Transform:
    # Imported here, because it takes a second.
    from torchvision.transforms import v2

    transforms: dict[str, Callable[[], Any]] = {
        "crop": lambda: v2.RandomCrop(size, padding=CROP_PADDING),
        "flip": lambda: v2.RandomHorizontalFlip(FLIP_PROBABILITY),
        "autoaugment-cifar10": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        "autoaugment-imagenet": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
        "cutout": lambda: cut_out,
    }
    return transforms[name]()


def cut_out(image: torch.Tensor) -> torch.Tensor:
    """With the probability of cutout, a copy of an image, uint8 (3, H, W), with a grey rectangle in it."""
    from torchvision.transforms.v2 import functional

    if float(torch.rand(())) >= CUTOUT_PROBABILITY:
        return image
    rows, columns = image.shape[1:]
    area, ratio = (low + (high - low) * float(torch.rand(())) for low, high in (CUTOUT_AREA, CUTOUT_RATIO))
    # Clipped for images that are not square.
    height = min(rows, int(math.sqrt(area * rows * columns * ratio)))
    width = min(columns, int(math.sqrt(area * rows * columns / ratio)))
    top, left = (int(torch.randint(0, room + 1, ())) for room in (rows - height, columns - width))
    grey = torch.randint(0, _GREYS + 1, (), dtype=torch.uint8)
    return functional.erase(image, top, left, height, width, grey.expand(3, height, width))
