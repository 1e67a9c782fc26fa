"""What a dry run puts into the network: a few real samples, or made-up ones of a data set's known form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.config.run_config import RunConfig
from pipeline.data.encoding import encode, input_size
from pipeline.data.loader import Batch, FrameLoader
from pipeline.data.run_data import open_data
from preprocess.datasets.dataset import Published
from preprocess.datasets.registry import find_published
from preprocess.errors import ConfigError
from preprocess.store.event_store import events_path
from preprocess.terminal.progress import Progress

# Events of a pixel and polarity in a frame, about as many as DVS128-Gesture has at T = 20.
_MEAN_COUNT = 0.4


@dataclass(frozen=True, eq=False)
class TinyFrames:
    """Attributes:
    batch: A few samples as they enter the network, on the device.
    source: ``event store`` or ``made up``.
    path: Of the event store, which is there or not.
    size: Height and width of what enters the network.
    timesteps: T, the longest sample's where it varies.
    classes: How many.
    train_samples: How many samples an epoch has; None where nothing says.
    train_samples_from: ``event store``, ``official number``, or ``official number less the validation share``.
    """

    batch: Batch
    source: str
    path: Path
    size: tuple[int, int]
    timesteps: int
    classes: int
    train_samples: int | None
    train_samples_from: str | None

    def first(self, samples: int) -> Batch:
        """The first of the samples, in memory of their own."""
        batch = self.batch
        lengths = None if batch.lengths is None else batch.lengths[:samples]
        return Batch(batch.frames[:, :samples].clone(), batch.labels[:samples], lengths)


def tiny_frames(
    config: RunConfig, cache: Path, samples: int, device: torch.device, progress: Progress | None = None
) -> TinyFrames:
    """A few samples of a run's training split; nothing is written.

    Args:
        config: Whatever it reads from, a frame cache too, these frames are binned from the event store.
        cache: The folder of all caches.
        samples: How many, at most the batch size.
        device: Where the batch goes.
        progress: Where to tell how far the reading of times is, where T varies.

    Raises:
        CacheError: If there is no event store and nothing is known of the data set, or T depends on its samples.
        ConfigError: If the configuration does not fit the data.
    """
    path = events_path(cache, config.dataset.name)
    form = find_published(config.dataset.name)
    if path.exists() or form is None or config.binning.varies:
        return _real(config, cache, samples, device, progress)
    return _made_up(config, path, form, samples, device)


def _real(config: RunConfig, cache: Path, samples: int, device: torch.device, progress: Progress | None) -> TinyFrames:
    of_events = replace(config, input=replace(config.input, source="events"))
    data = open_data(of_events, cache, progress, needs_test=False)
    chosen = np.random.default_rng(config.seed).permutation(data.splits.train)[:samples]
    augmentation = config.dataset.augmentation
    loader = FrameLoader(
        data.frames, chosen, samples, config.input, device, shuffle_seed=config.seed, augmentation=augmentation
    )
    (batch,) = loader.batches(1)
    data.frames.close()
    return TinyFrames(
        batch,
        "event store",
        data.frames.path,
        data.size,
        data.frames.timesteps,
        len(data.classes),
        len(data.splits.train),
        "event store",
    )


def _made_up(config: RunConfig, path: Path, form: Published, samples: int, device: torch.device) -> TinyFrames:
    binning, dataset = config.binning, config.dataset
    if form.train is not None and dataset.split not in form.splits:
        raise ConfigError(
            f"dataset.split: expected one of {', '.join(form.splits)} for {dataset.name}, found {dataset.split}"
        )
    height, width = binning.size(form.height, form.width)
    # Downsampling sums over blocks of pixels.
    mean = torch.full((binning.timesteps, samples, 2, height, width), _MEAN_COUNT * binning.downsample**2)
    counts = torch.poisson(mean, generator=torch.Generator().manual_seed(config.seed)).to(torch.int32)
    train, told = _official_number(config, form)
    return TinyFrames(
        Batch(encode(counts.to(device), config.input), torch.arange(samples, device=device) % form.classes),
        "made up",
        path,
        input_size(config.input, height, width),
        binning.timesteps,
        form.classes,
        train,
        told,
    )


def _official_number(config: RunConfig, form: Published) -> tuple[int | None, str | None]:
    dataset = config.dataset
    if form.train is None:
        return None, None
    if config.selection != "validation":
        return form.train, "official number"
    # Nearly: whole groups validate where there are groups.
    return round(form.train * (1 - dataset.validation_fraction)), "official number less the validation share"
