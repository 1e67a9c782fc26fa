"""Augmentation of batches of normalised images on the device, redrawn for every epoch: random erasing, Mixup, CutMix.

Sources: the code of PSN (Fang et al., NeurIPS 2023) for CIFAR-10, which the CLIF authors use for the rows with an
asterisk of their Table 1; both take it from torchvision's reference scripts for classification.

- random-erasing (Zhong et al., AAAI 2020): with probability 0.1, a rectangle of zeros, the mean of the data set. Its
  area is uniform in 0.02 to 0.33 of the image, the logarithm of height / width uniform between those of 0.3 and 3.3,
  its place uniform within the image; up to ten rectangles are drawn until one is smaller than the image. The random
  numbers depend on the run's seed, the epoch and the sample's number only.
- mixup (Zhang et al., ICLR 2018): the images and labels of a batch are averaged with those of their neighbours in it,
  with one share for all, drawn from the distribution Beta(alpha, alpha), in those codes Beta(0.2, 0.2).
- cutmix (Yun et al., ICCV 2019): a rectangle of each image is that of its neighbour, with the same place in all images
  of a batch; its share of the image is drawn from Beta(1, 1), and is less where it crosses the edge. Labels are
  averaged with the share of the pixels.

With mixup and cutmix, one of them is drawn for every batch, each with probability 0.5. The random numbers depend on the
run's seed, the epoch and the first sample of the batch. Both are torchvision's (transforms.v2).

Milliseconds for 128 images of 32x32 on one shared CPU thread, medians of 15 side by side: mixup or cutmix 1,
random-erasing 2.4 (19 by torchvision's class, image by image).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.config.augmentation_names import BATCH_AUGMENTATIONS
from pipeline.config.sections.dataset_config import DatasetConfig
from pipeline.data.frame_augmentation import NUMBERS
from pipeline.data.torch_draws import DrawingFrom

ERASING_PROBABILITY = 0.1
ERASING_AREA = (0.02, 0.33)
ERASING_RATIO = (0.3, 3.3)
_ERASING_TRIES = 10
CUTMIX_ALPHA = 1.0

_Mixing = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def augment_batch(
    names: Sequence[str], classes: int, seed: int, epoch: int, mixup_alpha: float = DatasetConfig.mixup_alpha
) -> Callable[[torch.Tensor, torch.Tensor, NDArray[np.int64]], tuple[torch.Tensor, torch.Tensor | None]]:
    """Return the function that augments a batch of images in one epoch.

    That function accepts normalised images, float32 (B, C, H, W), the class numbers, int64 (B,), and the B sample
    numbers. It returns images of the same shape and device, and the share of each class, float32 (B, classes), or None
    without mixup and cutmix. It may change the given images.

    Args:
        names: Names from `BATCH_AUGMENTATIONS`, in any order.
        classes: Number of classes.
        seed: Seed of the run.
        epoch: Number of the epoch.
        mixup_alpha: Parameter of the distribution of Mixup's shares; 1 is uniform, and less is nearer to 0 and 1.

    Raises:
        ValueError: If a name is not in `BATCH_AUGMENTATIONS`.
    """
    unknown = [name for name in names if name not in BATCH_AUGMENTATIONS]
    if unknown:
        raise ValueError(f"expected names of {', '.join(BATCH_AUGMENTATIONS)}, found {', '.join(unknown)}")
    mixing = [name for name in ("mixup", "cutmix") if name in names]

    def change(
        images: torch.Tensor, labels: torch.Tensor, samples: NDArray[np.int64]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if "random-erasing" in names:
            for image, sample in zip(images, samples, strict=True):
                _erase(image, np.random.default_rng([seed, epoch, int(sample), NUMBERS["random-erasing"]]))
        if not mixing:
            return images, None
        generator = np.random.default_rng([seed, epoch, int(samples[0]), NUMBERS[mixing[0]]])
        name = mixing[int(generator.integers(len(mixing)))]
        with DrawingFrom(generator):
            return _mixing(name, classes, mixup_alpha)(images, labels)

    return change


def _erase(image: torch.Tensor, generator: Generator) -> None:
    """Set a rectangle of an image (C, H, W) to zero, in place."""
    if generator.random() >= ERASING_PROBABILITY:
        return
    rows, columns = image.shape[1:]
    low, high = map(math.log, ERASING_RATIO)
    for _ in range(_ERASING_TRIES):
        area, ratio = generator.uniform(*ERASING_AREA) * rows * columns, math.exp(generator.uniform(low, high))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if height < rows and width < columns:
            top, left = int(generator.integers(0, rows - height + 1)), int(generator.integers(0, columns - width + 1))
            image[:, top : top + height, left : left + width] = 0
            return


@functools.cache
def _mixing(name: str, classes: int, mixup_alpha: float) -> _Mixing:
    # Imported here, because it takes a second.
    from torchvision.transforms import v2

    mixing: _Mixing = (
        v2.MixUp(alpha=mixup_alpha, num_classes=classes)
        if name == "mixup"
        else v2.CutMix(alpha=CUTMIX_ALPHA, num_classes=classes)
    )
    return mixing
