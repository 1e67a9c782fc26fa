"""The input of a dry run: a few real samples, or random frames in the format of a known data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.config.run_config import RunConfig
from pipeline.data.input_encoding import encode, input_size
from pipeline.data.loader import Batch, FrameLoader
from pipeline.data.run_data import open_data
from preprocess.datasets.dataset_description import Published
from preprocess.datasets.registry import find_published
from preprocess.errors import ConfigError
from preprocess.store.cache_file_names import events_path
from preprocess.terminal.progress import Progress

# Events per pixel and polarity in a frame, about as in DVS128-Gesture at T = 20.
_MEAN_COUNT = 0.4


@dataclass(frozen=True, eq=False)
class TinyFrames:
    """The input of a dry run.

    Attributes:
        batch: A few encoded samples, on the device.
        source: ``event store`` or ``made up``.
        path: Path of the event store, which may be missing.
        size: Height and width of the network's input.
        timesteps: T; that of the longest sample if it varies.
        classes: Number of classes.
        train_samples: Number of training samples; None if unknown.
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
        """Return a copy of the first samples."""
        batch = self.batch
        lengths = None if batch.lengths is None else batch.lengths[:samples]
        return Batch(batch.frames[:, :samples].clone(), batch.labels[:samples], lengths)


def tiny_frames(
    config: RunConfig, cache: Path, samples: int, device: torch.device, progress: Progress | None = None
) -> TinyFrames:
    """Return a few samples of a run's training split; writes nothing.

    Args:
        config: Configuration of the run; frames are binned from the event store even if it uses a frame cache.
        cache: The folder of all caches.
        samples: Number of samples, at most the batch size.
        device: Device of the batch.
        progress: Reports how many samples have been read to find T, where it varies.

    Raises:
        CacheError: If there is no event store, and the data set is not a known one or T depends on its samples.
        ConfigError: If the configuration does not fit the data.
    """
    path = events_path(cache, config.dataset.name)
    form = find_published(config.dataset.name)
    if path.exists() or form is None or config.binning.varies:
        return _real(config, cache, samples, device, progress)
    return _made_up(config, path, form, samples, device)


def _real(config: RunConfig, cache: Path, samples: int, device: torch.device, progress: Progress | None) -> TinyFrames:
    from_events = replace(config, input=replace(config.input, source="events"))
    data = open_data(from_events, cache, progress, needs_test=False)
    chosen = np.random.default_rng(config.seed).permutation(data.splits.train)[:samples]
    loader = FrameLoader(
        data.frames,
        chosen,
        samples,
        config.input,
        device,
        seed=config.seed,
        training=True,
        augmentation=config.dataset.augmentation,
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
    train, source = _official_number(config, form)
    return TinyFrames(
        Batch(encode(counts.to(device), config.input), torch.arange(samples, device=device) % form.classes),
        "made up",
        path,
        input_size(config.input, height, width),
        binning.timesteps,
        form.classes,
        train,
        source,
    )


def _official_number(config: RunConfig, form: Published) -> tuple[int | None, str | None]:
    dataset = config.dataset
    if form.train is None:
        return None, None
    if config.selection != "validation":
        return form.train, "official number"
    # An approximation where whole groups are held out.
    return round(form.train * (1 - dataset.validation_fraction)), "official number less the validation share"
