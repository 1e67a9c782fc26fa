"""Classify new recordings with a trained network, each as one sample or in windows.

Windows are cut as for the data set `folder`. The recordings are processed in the same way as training data: a temporary
event store, binning, encoding.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from preprocess.store.event_store import open_events
from preprocess.store.frame_source import EventFrames
from preprocess.store.sample_table import NO_SPLIT
from preprocess.terminal.progress import Progress

_MOST_ERRORS = 20


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
    """

    windows: tuple[ClassifiedWindow, ...]
    without_window: tuple[Path, ...]
    too_few_events: int = 0
    cut_short: int = 0

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
    """Classify recordings.

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
        RecordingError: With a line for every recording that is damaged or has another sensor size than the training
            data; or if no recording has events.
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
    empty = _check_recordings(trained, asked, options)
    paths = [path for path in asked if windows is not None or path not in empty]
    if not paths:
        raise RecordingError(f"{asked[0]}: expected events in at least one recording, found none. Check the files.")
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    names = {str(path.relative_to(folder)): path for path in paths}
    recordings = tuple(
        SourceRecording(path, name, (Sample(_label(trained, labels, path), NO_SPLIT, k, name, name),))
        for k, (name, path) in enumerate(names.items())
    )
    height, width = trained.sensor
    layout = Layout(
        "recordings",
        "recordings",
        None,
        height,
        width,
        trained.classes,
        recordings,
        orientation=orientation,
        windows=windows,
        salvage=salvage,
        options=options,
        sort=sort,
    )
    with tempfile.TemporaryDirectory(prefix="spikeloom-predict-") as temporary:
        store = open_events(build_event_store(layout, Path(temporary), progress=progress))
        frames = EventFrames(store, trained.config.binning, progress=progress)
        config = trained.config
        numbers = np.arange(len(frames))
        loader = FrameLoader(frames, numbers, config.batch_size, config.input, trained.device, seed=config.seed)
        found = [one for batch in loader.batches() for one in trained.classify(batch.frames, batch.lengths)]
        table = store.samples
        classified = tuple(
            ClassifiedWindow(
                names[str(table.group[k])],
                int(table.interval_us[k, 0]),
                int(table.interval_us[k, 1]),
                int(table.events[k]),
                prediction,
                None if labels is None else labels.get(names[str(table.group[k])]),
            )
            for k, prediction in enumerate(found)
        )
        notes = json.loads(store.attributes["notes"])
        store.close()
    with_window = {window.file for window in classified}
    return Classified(
        classified,
        tuple(path for path in asked if path not in with_window),
        notes.get("windows_of_too_few_events", 0),
        notes.get("windows_cut_short", 0),
    )


def _classify_images(trained: TrainedNetwork, paths: Sequence[Path], labels: Mapping[Path, str] | None) -> Classified:
    images = []
    errors: list[str] = []
    for path in paths:
        try:
            images.append(read_image(path, *trained.sensor))
        except RecordingError as error:
            errors += error.errors
    if errors:
        raise RecordingError(*first_errors("predict", errors))
    found = trained.predict(np.stack(images))
    classified = (
        ClassifiedWindow(path, 0, 0, 0, prediction, None if labels is None else labels.get(path))
        for path, prediction in zip(paths, found, strict=True)
    )
    return Classified(tuple(classified), ())


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


def _check_recordings(trained: TrainedNetwork, paths: Sequence[Path], options: ReadOptions) -> set[Path]:
    """Check the sensor size of all recordings before decoding any of them; returns those without events."""
    rows, columns = trained.sensor
    errors: list[str] = []
    empty = set()
    for path in paths:
        try:
            opened = open_recording(path, size=trained.sensor, options=options)
        except RecordingError as error:
            errors += error.errors
            continue
        if _is_empty(opened):
            empty.add(path)
        elif (opened.height, opened.width) != trained.sensor:
            errors.append(
                f"{path}: expected a sensor of {rows}x{columns} pixels (rows x columns), as in the training data, "
                f"found {opened.height}x{opened.width}. Crop or scale the recording to {rows}x{columns}, or train a "
                "network on recordings of this sensor: spikeloom preprocess folder"
            )
    if len(errors) > _MOST_ERRORS:
        errors[_MOST_ERRORS:] = [f"predict: {len(errors) - _MOST_ERRORS} more errors of this kind."]
    if errors:
        raise RecordingError(*errors)
    return empty


def _is_empty(recording: Recording) -> bool:
    try:
        return not any(len(chunk) for chunk in recording.chunks())
    except RecordingError:
        # A damaged recording: the decoder reports it, or uses what comes before the damage.
        return False
