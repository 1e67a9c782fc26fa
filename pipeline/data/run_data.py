"""The data of a run: the frames of a data set and their splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.run_config import RunConfig
from pipeline.data.input_encoding import input_size
from pipeline.data.run_splits import split_for
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.datasets.emulated_names import is_emulated
from preprocess.datasets.splits import Splits
from preprocess.errors import ConfigError
from preprocess.store.cache_file_names import events_path, images_path
from preprocess.store.copied_cache import open_copied
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames
from preprocess.store.frame_source import EventFrames, FrameSource
from preprocess.store.image_store import find_images, open_images
from preprocess.store.imported_frames import check_input, open_imported
from preprocess.store.repeated_images import RepeatedImages
from preprocess.terminal.progress import Progress


@dataclass(frozen=True, eq=False)
class RunData:
    """The data of a configuration.

    Attributes:
        frames: The frame cache, or frames binned from the event store.
        splits: Sample numbers for training, validation and test.
        size: Height and width of the network's input.
    """

    frames: FrameSource
    splits: Splits
    size: tuple[int, int]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, by class number."""
        return self.frames.classes

    @property
    def emulated(self) -> bool:
        """Whether the recordings are emulated, which tables and reports show."""
        return is_emulated(self.frames.dataset)


def open_data(
    config: RunConfig,
    cache: Path,
    progress: Progress | None = None,
    *,
    needs_test: bool = True,
    needs_batch: bool = True,
) -> RunData:
    """Open the data of a configuration and split the samples; a missing frame cache is built.

    Args:
        config: Configuration of the run.
        cache: The folder of all caches.
        progress: Reports the progress of building a frame cache.
        needs_test: Whether a data set without a test split is refused.
        needs_batch: Whether a training set that does not fill a batch is refused; only training needs one.

    Raises:
        CacheError: If there is no event store, with the command that builds it.
        ConfigError: If the split does not exist for the data set, or the training set does not fill a batch.
    """
    frames = _open_frames(config, cache, progress)
    splits = split_for(config, frames, needs_test=needs_test)
    if needs_batch and not config.batches_per_epoch(len(splits.train)):
        raise ConfigError(
            f"batch_size: expected at most the {len(splits.train)} training samples of {config.dataset.name}, "
            f"found {config.batch_size}. Lower batch_size, or train on the incomplete batch with keep_last."
        )
    return RunData(frames, splits, input_size(config.input, frames.height, frames.width))


def _open_frames(config: RunConfig, cache: Path, progress: Progress | None) -> FrameSource:
    name, given = config.dataset.name, config.input
    path = find_images(cache, name)
    if path is not None:
        images = open_images(path)
        check_input(images, name, config.binning, given.source, given.encoding)
        return RepeatedImages(images, config.binning.timesteps)
    imported = open_imported(cache, name)
    if imported is not None:
        check_input(imported, name, config.binning, given.source, given.encoding)
        if imported.dtype.kind == "f" and config.input.encoding == "pil-la":
            raise ConfigError(
                f"input.encoding: expected counts or binary, because the frames of {name} are not counts, found pil-la"
            )
        return imported
    if given.static:
        # Either there are events, or nothing: both errors say what to do.
        events = events_path(cache, name)
        found = open_events(events) if events.exists() else open_images(images_path(cache, name))
        check_input(found, name, config.binning, given.source, given.encoding)
    if given.source == "events":
        return EventFrames(open_events(events_path(cache, name)), config.binning, progress=progress)
    copied = open_copied(cache, name, config.binning)
    return copied or open_frames(ensure_frames(cache, name, config.binning, progress=progress))
