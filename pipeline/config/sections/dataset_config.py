"""The section `dataset`: which data set, split and augmentation, with the default of each field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.augmentation_names import augmentation_errors
from preprocess.datasets.splits import Resampling, SplitName, title_of_split


@dataclass(frozen=True)
class DatasetConfig:
    """Which data set is used, and how it is split and augmented."""

    name: str = "n-mnist"
    """Data set: the name of its folder in the cache, such as n-mnist or dvs-gesture."""
    split: SplitName = "official"
    """How test samples are chosen. official: the split that comes with the data set. random-0.9: a random tenth of each
    class. by-group: a fifth, in whole recordings or subjects. leave-groups-out: one of dataset.folds parts, in whole
    recordings or subjects, whatever the official split. split-in-time: the last fifth of every recording.
    first-900-train and first-100-test: by the number of a sample within its class."""
    fold: int = 0
    """The part of the recordings or subjects that is tested with split leave-groups-out: 0 to dataset.folds - 1."""
    folds: int = 5
    """Number of parts of leave-groups-out. Over all folds, each recording or subject is tested exactly once."""
    split_seed: int = 0
    """Draws other test samples with split random-0.9 or by-group, and divides groups into other folds with
    leave-groups-out. Independent of seed."""
    validation_fraction: float = 0.1
    """Share of the training samples that is held out for validation, in whole groups where the data set has groups."""
    augmentation: str = "none"
    """Augmentation of training samples, redrawn every epoch; join several with +, such as flip+rotation. On frames:
    flip, roll, rotation, shear, crop, cutout, event-drop. On events (needs input.source events): time-jitter,
    spatial-jitter, drop-events. On images: crop, flip, cutout, autoaugment-cifar10, autoaugment-imagenet,
    trivialaugment, randaugment, random-erasing, and mixup and cutmix, which mix the images and labels of a batch."""
    mixup_alpha: float = 0.2
    """Parameter alpha of mixup, whose shares have the distribution Beta(alpha, alpha)."""
    mixing_epochs: int | None = None
    """Number of epochs, from the first, in which mixup and cutmix mix images (default: all)."""

    @property
    def split_title(self) -> str:
        """The name of the split for people, marked where training and test samples share recordings."""
        return title_of_split(self.split, [self.resampling])

    @property
    def resampling(self) -> Resampling:
        """Which of several splits of one kind is used."""
        return Resampling(self.split_seed, self.fold, self.folds)

    def errors(self) -> Iterator[str]:
        """A line for every field that is out of range, or that the split would ignore."""
        if not self.name or "/" in self.name:
            yield f"dataset.name: expected a cache name such as n-mnist, found '{self.name}'"
        if not 0.0 < self.validation_fraction < 1.0:
            yield f"dataset.validation_fraction: expected a share in (0, 1), found {self.validation_fraction}"
        yield from self.resampling.errors(self.split)
        yield from augmentation_errors(self.augmentation)
        if not 0 < self.mixup_alpha < math.inf:
            yield f"dataset.mixup_alpha: expected more than 0, found {self.mixup_alpha}"
        if self.mixing_epochs is not None and self.mixing_epochs < 0:
            yield f"dataset.mixing_epochs: expected at least 0, found {self.mixing_epochs}"
