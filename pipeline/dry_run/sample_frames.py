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
from pipeline.kernels.tensors import is_repeated, repeated
from preprocess.datasets.dataset_description import Published
from preprocess.datasets.images.image_layout import Normalisation
from preprocess.datasets.registry import find_published
from preprocess.datasets.splits import in_folds
from preprocess.errors import ConfigError
from preprocess.store.cache_file_names import events_path
from preprocess.store.image_store import find_images
from preprocess.store.imported_frames import find_imported
from preprocess.terminal.progress import Progress

# Events per pixel and polarity in a frame, about as in DVS128-Gesture at T = 20.
_MEAN_COUNT = 0.4
# About that of photographs.
_MADE_UP = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


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
        frames = batch.frames[:, :samples]
        # The time steps of an image share their memory.
        copied = repeated(frames[0].clone(), len(frames)) if is_repeated(frames) else frames.clone()
        return Batch(copied, batch.labels[:samples], lengths)


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
    name = config.dataset.name
    present = path.exists() or find_imported(cache, name) or find_images(cache, name)
    if present or form is None or config.binning.varies:
        return _real(config, cache, samples, device, progress)
    return _made_up(config, path, form, samples, device)


def _real(config: RunConfig, cache: Path, samples: int, device: torch.device, progress: Progress | None) -> TinyFrames:
    # Imported frames and images have no events, and are there already.
    if not config.input.static and find_imported(cache, config.dataset.name) is None:
        config = replace(config, input=replace(config.input, source="events"))
    data = open_data(config, cache, progress, needs_test=False)
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
    if form.train is not None and dataset.split not in form.splits and not in_folds(dataset.split):
        raise ConfigError(
            f"dataset.split: expected one of {', '.join(form.splits)} for {dataset.name}, found {dataset.split}"
        )
    if form.images != config.input.static:
        kind, expected = ("images", "direct") if form.images else ("events", "counts, binary or pil-la")
        found = f"because {dataset.name} has {kind}, found {config.input.encoding}"
        raise ConfigError(f"input.encoding: expected {expected}, {found}. Choose another preset.")
    height, width = binning.size(form.height, form.width)
    generator = torch.Generator().manual_seed(config.seed)
    if form.images:
        images = torch.randint(0, 256, (1, samples, 3, height, width), generator=generator, dtype=torch.uint8)
        frames = repeated(encode(images.to(device), config.input, _MADE_UP)[0], binning.timesteps)
    else:
        # Downsampling sums over blocks of pixels.
        mean = torch.full((binning.timesteps, samples, 2, height, width), _MEAN_COUNT * binning.downsample**2)
        counts = torch.poisson(mean, generator=generator).to(torch.int32)
        frames = encode(counts.to(device), config.input)
    train, source = _official_number(config, form)
    return TinyFrames(
        Batch(frames, torch.arange(samples, device=device) % form.classes),
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
    if form.train is None or in_folds(dataset.split):
        return None, None
    if config.selection != "validation":
        return form.train, "official number"
    # An approximation where whole groups are held out.
    return round(form.train * (1 - dataset.validation_fraction)), "official number less the validation share"
