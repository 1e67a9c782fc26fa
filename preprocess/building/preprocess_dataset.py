"""Preprocess a data set in one call: from a folder of recordings to an event store and frame caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_every_frames
from preprocess.building.worker_pool import DEFAULT_WORKERS
from preprocess.datasets import find_layout
from preprocess.datasets.layout import Windows
from preprocess.default_cache_folder import default_cache
from preprocess.errors import ConfigError
from preprocess.formats import ReadOptions, Size
from preprocess.formats.read_options import TimeUnit
from preprocess.store.event_store import open_events
from preprocess.store.sample_table import TEST, TRAIN
from preprocess.terminal.progress import Progress


@dataclass(frozen=True)
class PreprocessedDataset:
    """The caches of a data set and their contents.

    Attributes:
        name: Name of the caches, as given to `RunConfig` in `dataset.name`.
        cache: The folder of all caches.
        events_path: The event store, for `open_events`.
        frames_paths: The frame cache of each requested binning, in the order of the request, for `open_frames`.
        classes: Class names, by class number.
        height: Sensor rows.
        width: Sensor columns.
        samples: Number of samples.
        train_samples: Number of samples in the official training split; 0 if the data set has no official split.
        test_samples: Number of samples in the official test split; 0 if the data set has no official split.
        events: Total number of events.
    """

    name: str
    cache: Path
    events_path: Path
    frames_paths: tuple[Path, ...]
    classes: tuple[str, ...]
    height: int
    width: int
    samples: int
    train_samples: int
    test_samples: int
    events: int


def preprocess_dataset(
    source: Path | str,
    dataset: str,
    cache: Path | str | None = None,
    *,
    timesteps: int | Sequence[int] = (),
    downsample: int = 1,
    binnings: Sequence[Binning] = (),
    name: str | None = None,
    orientation: str = "spikingjelly",
    window_us: int | None = None,
    stride_us: int | None = None,
    min_events: int = 1,
    sensor_size: Size | None = None,
    columns: str | None = None,
    time_unit: TimeUnit | None = None,
    hdf5_path: str | None = None,
    topic: str | None = None,
    salvage: bool = False,
    sort: bool = False,
    workers: int = DEFAULT_WORKERS,
    progress: Progress | None = None,
) -> PreprocessedDataset:
    """Decode all recordings into an event store and bin its events into frame caches.

    This is what ``spikeloom preprocess`` does. Caches that still match their recordings are reused. Training builds
    missing frame caches by itself.

    Args:
        source: The folder of the recordings, or the archive in which they were published.
        dataset: A built-in data set, ``folder`` for a folder of your own recordings, or a registered one.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None.
        timesteps: One or several T: frames with equal numbers of events, one frame cache per T.
        downsample: Sum k x k blocks of pixels, for `timesteps`.
        binnings: Further rules that bin events into frames.
        name: Name of the caches; the data set's name if None. Required for ``folder``.
        orientation: Orientation of CIFAR10-DVS, ``spikingjelly`` or ``clif``.
        window_us: Cut the recordings of a ``folder`` into samples of this length in µs.
        stride_us: Time from the start of a window to the start of the next, in µs; the window length if None.
        min_events: Minimum number of events per window.
        sensor_size: Sensor rows and columns, for a ``folder`` whose files do not store them.
        columns: Order of the columns of arrays and text without column names, such as ``txyp``.
        time_unit: Unit of the timestamps; if None, the one that the files state, else integer µs.
        hdf5_path: Group or data set of HDF5 files with the events.
        topic: Topic of ROS bags with the events, if they have several.
        salvage: Read damaged recordings up to the damage instead of raising an error.
        sort: Sort the events of each recording by time first.
        workers: Number of processes for decoding, and of threads for binning.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        LayoutError: If the folder is missing or does not have the layout of the data set.
        RecordingError: If recordings are damaged or samples have no events; lists all of them.
        ConfigError: If a binning, window or array option is invalid.
        CacheError: If the cache cannot be written.
    """
    steps = (timesteps,) if isinstance(timesteps, int) else tuple(timesteps)
    wanted = [*(Binning(t, downsample=downsample) for t in steps), *binnings]
    windows = None if window_us is None else Windows(window_us, stride_us or window_us, min_events)
    options = ReadOptions(columns, time_unit, hdf5_path, topic)
    errors = [error for binning in wanted for error in binning.errors()]
    errors += [*(windows.errors() if windows else ()), *options.errors()]
    if workers < 1:
        errors.append(f"workers: expected at least 1, found {workers}")
    if name is not None and (not name or "/" in name or name.startswith(".")):
        errors.append(f"name: expected the name of a folder, such as my-gestures, found '{name}'")
    if sensor_size is not None and not _is_size(sensor_size):
        errors.append(f"sensor_size: expected rows and columns, such as (128, 128), found {sensor_size!r}")
    if windows is None and (stride_us is not None or min_events != 1):
        errors.append("stride_us, min_events: expected with window_us only, found without it")
    if errors:
        raise ConfigError(*dict.fromkeys(errors))
    layout = find_layout(
        dataset,
        Path(source).expanduser().absolute(),
        orientation=orientation,
        name=name,
        windows=windows,
        size=sensor_size,
        salvage=salvage,
        options=options,
        sort=sort,
        notify=None if progress is None else progress.note,
    )
    folder = default_cache(None if cache is None else Path(cache))
    events = build_event_store(layout, folder, workers=workers, progress=progress)
    frames = ensure_every_frames(folder, layout.name, wanted, workers=workers, progress=progress)
    store = open_events(events)
    return PreprocessedDataset(
        name=layout.name,
        cache=folder,
        events_path=events,
        frames_paths=tuple(frames),
        classes=store.classes,
        height=store.height,
        width=store.width,
        samples=len(store),
        train_samples=int(np.sum(store.samples.split == TRAIN)),
        test_samples=int(np.sum(store.samples.split == TEST)),
        events=int(store.samples.offset[-1]),
    )


def _is_size(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(isinstance(n, int) and n > 0 for n in value)
