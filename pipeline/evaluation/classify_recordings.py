"""Classify new recordings with a trained network, each as one sample or in windows.

Windows are cut as for the data set `folder`. The recordings are processed in the same way as training data: a temporary
event store, binning, encoding.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.loader import FrameLoader
from pipeline.evaluation.trained_network import Prediction, TrainedNetwork
from pipeline.evaluation.wilson_interval import accuracy_interval
from preprocess.building.build_event_store import build_event_store
from preprocess.datasets.images.image_file import read_image
from preprocess.datasets.layout import Layout, Sample, SourceRecording, Windows, first_errors
from preprocess.errors import ConfigError, RecordingError
from preprocess.formats import NO_OPTIONS, ReadOptions, Recording, open_recording
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_source import EventFrames
from preprocess.store.sample_table import NO_SPLIT
from preprocess.terminal.progress import Progress


@dataclass(frozen=True)
class ClassifiedWindow:
    """One window of a recording, or a complete recording.

    Attributes:
        file: The recording.
        start_us: Start of the window in the time of the recording, in µs; 0 for images.
        end_us: End of the window, exclusive; 0 for images.
        events: Number of events; 0 for images.
        prediction: Prediction of the network.
        label: Name of the true class; None if it is not known.
    """

    file: Path
    start_us: int
    end_us: int
    events: int
    prediction: Prediction
    label: str | None

    @property
    def correct(self) -> bool | None:
        """Whether the prediction is the label; None if the label is not known."""
        return None if self.label is None else self.label == self.prediction.name


@dataclass(frozen=True)
class Classified:
    """The classified windows of several recordings.

    Attributes:
        windows: All classified windows, in the order of the files.
        without_window: Files without events, that are shorter than a window, or whose windows all have too few events.
        too_few_events: Number of windows with fewer than the minimum number of events; they are not classified.
        cut_short: Number of windows that the end of a recording cuts short; they are not classified.
        failed: Files that could not be classified, each with its errors.
    """

    windows: tuple[ClassifiedWindow, ...]
    without_window: tuple[Path, ...]
    too_few_events: int = 0
    cut_short: int = 0
    failed: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)

    @property
    def errors(self) -> list[str]:
        """The errors of all files; of many, the first, and the number of the others."""
        return _lines(self.failed)

    def accuracy(self) -> dict[str, Any] | None:
        """Accuracy by window and its 95 % interval, as fractions, over the windows with a label; None without any."""
        known = [window.correct for window in self.windows if window.correct is not None]
        if not known:
            return None
        low, high = accuracy_interval(sum(known), len(known))
        share = sum(known) / len(known)
        measured = {"accuracy": share, "correct": sum(known), "windows": len(known), "low": low, "high": high}
        return measured | {"windows_without_label": len(self.windows) - len(known)}


def classify_recordings(
    trained: TrainedNetwork,
    files: Sequence[Path],
    *,
    windows: Windows | None = None,
    labels: Mapping[Path, str] | None = None,
    options: ReadOptions = NO_OPTIONS,
    orientation: str | None = None,
    salvage: bool = False,
    sort: bool = False,
    progress: Progress | None = None,
) -> Classified:
    """Classify recordings; those that cannot be read stop no others.

    Args:
        trained: A network as returned by `load_run`.
        files: Recordings of any readable format, or images if the network was trained on images; duplicates are
            classified once.
        windows: How recordings are cut into windows; None classifies each recording as one sample.
        labels: The true class of every file of which it is known.
        options: Columns, time unit and place of the events in files that do not state them.
        orientation: Orientation of CIFAR10-DVS recordings; None for that of the format.
        salvage: Whether the events before the damage are used if a recording is damaged.
        sort: Whether the events of each recording are first sorted by time.
        progress: Where to report progress.

    Raises:
        RecordingError: If no file can be classified, with a line for every recording that is damaged or has another
            sensor size than the training data; or if no recording has events.
        ConfigError: If the network was trained on imported frames, whose binning is not known, or options of recordings
            are given with images.
    """
    trained.config.binning.refuse_imported()
    asked = distinct_files(files)
    if trained.config.input.static:
        given = windows or salvage or sort or orientation or options != NO_OPTIONS
        if given:
            raise ConfigError("predict: expected no options of recordings with images, found some. Leave them out.")
        return _classify_images(trained, asked, labels)
    empty, failed = _check_recordings(trained, asked, options)
    paths = [path for path in asked if path not in failed and (windows is not None or path not in empty)]
    if not paths and not failed:
        raise RecordingError(f"{asked[0]}: expected events in at least one recording, found none. Check the files.")

    def layout_of(some: Sequence[Path]) -> Layout:
        return Layout(
            "recordings",
            "recordings",
            None,
            *trained.sensor,
            trained.classes,
            _recordings(trained, some, labels),
            orientation=orientation,
            windows=windows,
            salvage=salvage,
            options=options,
            sort=sort,
        )

    with tempfile.TemporaryDirectory(prefix="spikeloom-predict-") as temporary:
        store = open_events(_build(layout_of, paths, failed, Path(temporary), progress))
        classified = _classify_store(trained, store, labels, progress)
        notes = json.loads(store.attributes["notes"])
        store.close()
    with_window = {window.file for window in classified}
    return Classified(
        classified,
        tuple(path for path in asked if path not in with_window and path not in failed),
        notes.get("windows_of_too_few_events", 0),
        notes.get("windows_cut_short", 0),
        failed,
    )


def _recordings(
    trained: TrainedNetwork, paths: Sequence[Path], labels: Mapping[Path, str] | None
) -> tuple[SourceRecording, ...]:
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    # The path is the sample's group, by which its predictions are found again.
    return tuple(
        SourceRecording(
            path,
            str(path.relative_to(folder)),
            (Sample(_label(trained, labels, path), NO_SPLIT, k, str(path), str(path.relative_to(folder))),),
        )
        for k, path in enumerate(paths)
    )


def _build(
    layout_of: Callable[[Sequence[Path]], Layout],
    paths: Sequence[Path],
    failed: dict[Path, tuple[str, ...]],
    folder: Path,
    progress: Progress | None,
) -> Path:
    """An event store of the recordings that can be decoded; the others are added to `failed`."""
    while paths:
        try:
            return build_event_store(layout_of(paths), folder, progress=progress)
        except RecordingError as error:
            # Errors begin with the file. Of very many, the next attempt says the others.
            found = {path: tuple(line for line in error.errors if line.startswith(f"{path}: ")) for path in paths}
            if not any(found.values()):
                raise
            failed |= {path: lines for path, lines in found.items() if lines}
            paths = [path for path in paths if not found[path]]
    raise RecordingError(*_lines(failed))


def _classify_store(
    trained: TrainedNetwork, store: EventStore, labels: Mapping[Path, str] | None, progress: Progress | None
) -> tuple[ClassifiedWindow, ...]:
    config, table = trained.config, store.samples
    frames = EventFrames(store, config.binning, progress=progress)
    numbers = np.arange(len(frames))
    loader = FrameLoader(frames, numbers, config.batch_size, config.input, trained.device, seed=config.seed)
    found = [one for batch in loader.batches() for one in trained.classify(batch.frames, batch.lengths)]
    files = [Path(str(group)) for group in table.group]
    return tuple(
        ClassifiedWindow(
            files[k],
            int(table.interval_us[k, 0]),
            int(table.interval_us[k, 1]),
            int(table.events[k]),
            prediction,
            None if labels is None else labels.get(files[k]),
        )
        for k, prediction in enumerate(found)
    )


def _classify_images(trained: TrainedNetwork, paths: Sequence[Path], labels: Mapping[Path, str] | None) -> Classified:
    images = {}
    failed: dict[Path, tuple[str, ...]] = {}
    for path in paths:
        try:
            images[path] = read_image(path, *trained.sensor)
        except RecordingError as error:
            failed[path] = error.errors
    if not images:
        raise RecordingError(*_lines(failed))
    found = trained.predict(np.stack(list(images.values())))
    classified = (
        ClassifiedWindow(path, 0, 0, 0, prediction, None if labels is None else labels.get(path))
        for path, prediction in zip(images, found, strict=True)
    )
    return Classified(tuple(classified), (), failed=failed)


def _lines(failed: Mapping[Path, Sequence[str]]) -> list[str]:
    return first_errors("predict", [message for messages in failed.values() for message in messages])


def distinct_files(files: Sequence[Path]) -> list[Path]:
    """The absolute paths of the files, each file once, in order."""
    found: dict[Path, Path] = {}
    for file in files:
        path = Path(file).expanduser().absolute()
        # The system resolves .. after links, so that a path with one cannot be shortened by its text.
        found.setdefault(path.resolve(), path.resolve() if ".." in path.parts else path)
    return list(found.values())


def _label(trained: TrainedNetwork, labels: Mapping[Path, str] | None, path: Path) -> int:
    return trained.classes.index(labels[path]) if labels is not None and path in labels else 0


def _check_recordings(
    trained: TrainedNetwork, paths: Sequence[Path], options: ReadOptions
) -> tuple[set[Path], dict[Path, tuple[str, ...]]]:
    """The recordings without events, and the errors of those that are no recordings of the sensor, before decoding."""
    rows, columns = trained.sensor
    empty, failed = set(), {}
    for path in paths:
        try:
            opened = open_recording(path, size=trained.sensor, options=options)
        except RecordingError as error:
            failed[path] = error.errors
            continue
        if _is_empty(opened):
            empty.add(path)
        elif (opened.height, opened.width) != trained.sensor:
            failed[path] = (
                f"{path}: expected a sensor of {rows}x{columns} pixels (rows x columns), as in the training data, "
                f"found {opened.height}x{opened.width}. Crop or scale the recording to {rows}x{columns}, or train a "
                "network on recordings of this sensor: spikeloom preprocess folder",
            )
    return empty, failed


def _is_empty(recording: Recording) -> bool:
    try:
        return not any(len(chunk) for chunk in recording.chunks())
    except RecordingError:
        # A damaged recording: the decoder reports it, or uses what comes before the damage.
        return False
