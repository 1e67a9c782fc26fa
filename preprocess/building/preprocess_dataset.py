"""One call from a folder of recordings to an event store and frame caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.binning.binning import Binning
from preprocess.building.build_event_store import build_event_store, ensure_every_frames
from preprocess.datasets import find_layout
from preprocess.datasets.layout import Windows
from preprocess.errors import ConfigError
from preprocess.formats import ArrayOptions, Size
from preprocess.formats.array_columns import TimeUnit
from preprocess.paths import default_cache
from preprocess.store.event_store import open_events
from preprocess.store.sample_table import TEST, TRAIN
from preprocess.terminal.progress import Progress


@dataclass(frozen=True)
class PreprocessedDataset:
    """The caches of a data set, and what they contain.

    Attributes:
        name: Of the caches: what `RunConfig` calls `dataset.name`.
        cache: The folder of all caches.
        events_path: The event store, for `open_events`.
        frames_paths: A frame cache for each binning, in the order asked for, for `open_frames`.
        classes: Names, by class number.
        height: Sensor rows.
        width: Sensor columns.
        samples: Number of samples.
        train_samples: Of them, those of the official training split; 0 where the data set has no official split.
        test_samples: Likewise of the official test split.
        events: Number of events of all samples.
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
    salvage: bool = False,
    sort: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> PreprocessedDataset:
    """Decode every recording into an event store and bin it; caches that still match their recordings are kept.

    The same as ``spikeloom preprocess``; training builds frame caches that are missing by itself.

    Args:
        source: The folder of the recordings, or the archive in which they were published.
        dataset: A built-in data set, ``folder`` for a folder of your own recordings, or a registered one.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None.
        timesteps: T, or several of them: frames with equal numbers of events, a frame cache for each T.
        downsample: Sum k x k blocks of pixels, for `timesteps`.
        binnings: Any other rules that turn events into frames.
        name: Of the caches; the data set's own if None. Required for ``folder``.
        orientation: ``spikingjelly`` or ``clif``: which way up CIFAR10-DVS is.
        window_us: Cut the recordings of a ``folder`` into samples of this length in µs.
        stride_us: From the start of a window to the start of the next, in µs; the window's length if None.
        min_events: Minimum number of events of a window.
        sensor_size: Rows and columns of the sensor of a ``folder`` whose files do not contain them.
        columns: Order of the columns of arrays without column names, such as ``txyp``.
        time_unit: Unit of the times of arrays; whole µs if None.
        salvage: Whether damaged recordings give the events before the damage instead of an error.
        sort: Whether the events of each recording are sorted by time first.
        workers: Processes that decode, and threads that bin.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        LayoutError: If the folder is missing or not laid out as the data set demands.
        RecordingError: For every recording that is damaged and every sample without events.
        ConfigError: If a binning, window or array option is not valid.
        CacheError: If the cache cannot be written.
    """
    steps = (timesteps,) if isinstance(timesteps, int) else tuple(timesteps)
    wanted = [*(Binning(t, downsample=downsample) for t in steps), *binnings]
    windows = None if window_us is None else Windows(window_us, stride_us or window_us, min_events)
    arrays = ArrayOptions(columns, time_unit)
    errors = [error for binning in wanted for error in binning.errors()]
    errors += [*(windows.errors() if windows else ()), *arrays.errors()]
    if workers < 1:
        errors.append(f"workers: expected at least 1, found {workers}")
    if windows is None and (stride_us is not None or min_events != 1):
        errors.append("stride_us, min_events: expected only together with window_us, found no window_us")
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
        arrays=arrays,
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
