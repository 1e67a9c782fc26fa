"""spikeloom predict: classify new recordings with a trained network."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from preprocess.datasets.layout import Windows
from preprocess.errors import RecordingError
from preprocess.formats.read_options import ReadOptions, TimeUnit
from preprocess.terminal.command_line import UsageError, parse
from preprocess.terminal.progress import Bars, Progress

if TYPE_CHECKING:
    from pipeline.evaluation.classify_recordings import Classified, ClassifiedWindow
    from pipeline.evaluation.trained_network import TrainedNetwork

# Longer tables are cut; --csv and --json contain every row.
_MOST_ROWS = 40


@dataclass(frozen=True)
class Arguments:
    """Classify new recordings of any readable format, or images, with a trained network.

    Each recording is one sample, or with --window-us is cut into windows as by preprocess folder. Events are binned as
    in training. The sensor must have the same size as that of the training data. A network that was trained on images
    classifies JPEG and PNG files of the same size. Files that cannot be classified stop no others; the exit code is
    then 2.

    Example: spikeloom predict runs/train-folder-small-1 new/*.aedat4 --window-us 500000

    With the accuracy: spikeloom predict runs/train-folder-small-1 test/*/*.raw --labels folders --csv predictions.csv
    """

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """A run folder, as written by train."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE ...")]
    """The recordings, or images."""
    labels: str | None = None
    """The true classes, to compute the accuracy by window: 'folders' for the names of the folders that contain the
    files, or a CSV file with the columns path (relative to the CSV file) and label. Files that it does not name are
    classified, but not scored."""
    csv: Path | None = None
    """Also write every window to this CSV file."""
    json: bool = False
    """Print one JSON object instead of a table."""
    window_us: int | None = None
    """Length of windows in us (default: each recording is one sample)."""
    stride_us: int | None = None
    """Distance between the starts of consecutive windows in us (default: the length of a window)."""
    min_events: int = 1
    """Minimum number of events per window; windows with fewer events are not classified."""
    columns: str | None = None
    """Order of the columns of arrays and text files without column names, such as txyp."""
    time_unit: TimeUnit | None = None
    """Unit of the times in files that do not state it (default: whole us)."""
    hdf5_path: str | None = None
    """Group or data set with the events in HDF5 files, such as davis/left/events."""
    orientation: Literal["spikingjelly", "clif"] = "spikingjelly"
    """Orientation of CIFAR10-DVS recordings, as in preprocess."""
    salvage: bool = False
    """Use the events before the damage of a damaged recording instead of stopping with an error."""
    sort: bool = False
    """Sort the events of each recording by time first, as in preprocess."""
    cache: Path | None = None
    """Folder of all caches; only needed for runs of earlier versions, which did not record the size of the sensor."""
    device: str | None = None
    """Device to compute on (default: that of the run)."""
    accept_changed_code: bool = False
    """Predict although a custom neuron or network file changed since the training."""

    def windows(self) -> Windows | None:
        """The windows to cut recordings into, or None."""
        if self.window_us is None:
            return None
        return Windows(self.window_us, self.stride_us or max(1, self.window_us), self.min_events)

    def read_options(self) -> ReadOptions:
        """What the recordings do not state."""
        return ReadOptions(self.columns, self.time_unit, self.hdf5_path)

    def errors(self) -> Iterator[str]:
        """Iterate over errors that can be found without opening the files."""
        if not self.files:
            yield "FILE: expected at least one recording, found none. Name the files to classify."
        if self.window_us is None and (self.stride_us is not None or self.min_events != 1):
            yield "--stride-us, --min-events: expected only together with --window-us, found no --window-us"
        if self.stride_us is not None and self.stride_us < 1:
            yield f"--stride-us: expected at least 1, found {self.stride_us}"
        windows = self.windows()
        yield from windows.errors() if windows else ()
        yield from self.read_options().errors()
        if self.csv is not None:
            path = self.csv.expanduser().absolute()
            if path.is_dir() or not path.parent.is_dir():
                kind = "a folder" if path.is_dir() else "no such folder"
                yield f"--csv: expected a file name in an existing folder, found '{self.csv}' ({kind})"


def run(argv: list[str]) -> None:
    """Classify, write the CSV file, and print the table or the JSON object; then RecordingError if files failed."""
    arguments = parse(Arguments, argv, prog="spikeloom predict")
    errors = list(dict.fromkeys(arguments.errors()))
    if errors:
        raise UsageError(*errors)
    from pipeline.evaluation.classify_recordings import classify_recordings, distinct_files
    from pipeline.evaluation.recording_labels import read_labels
    from pipeline.evaluation.trained_network import load_run
    from pipeline.runtime.device import compute_device

    trained = load_run(
        arguments.run_dir,
        cache=arguments.cache,
        device=arguments.device,
        accept_changed_code=arguments.accept_changed_code,
    )
    files, progress = distinct_files(arguments.files), Bars() if sys.stderr.isatty() else Progress()
    if len(files) < len(arguments.files):
        progress.note(f"each file is classified once; repeated names: {len(arguments.files) - len(files)}")
    labels = None if arguments.labels is None else read_labels(arguments.labels, files, trained.classes)
    with compute_device(trained.config):
        found = classify_recordings(
            trained,
            files,
            windows=arguments.windows(),
            labels=labels,
            options=arguments.read_options(),
            orientation=None if arguments.orientation == "spikingjelly" else arguments.orientation,
            salvage=arguments.salvage,
            sort=arguments.sort,
            progress=progress,
        )
    if found.windows and trained.window_us not in (None, arguments.window_us):
        here = "whole recordings" if arguments.window_us is None else f"windows of {arguments.window_us:,} µs"
        progress.note(
            f"trained on windows of {trained.window_us:,} µs, but these were {here}, which it may have classified "
            f"worse. To cut them as in training: --window-us {trained.window_us}"
        )
    if arguments.csv is not None:
        _write_csv(arguments.csv.expanduser().absolute(), found)
    if arguments.json:
        print(json.dumps(_answer(arguments, trained, found)))
    else:
        _print_table(found, arguments)
    if found.failed:
        raise RecordingError(*found.errors)


def _answer(arguments: Arguments, trained: TrainedNetwork, found: Classified) -> dict[str, object]:
    return {
        "run": str(arguments.run_dir.expanduser().absolute()),
        "classes": list(trained.classes),
        "windows": [
            _row(window) | {"logits": [round(float(value), 6) for value in window.prediction.logits]}
            for window in found.windows
        ],
        "accuracy": found.accuracy(),
        "files_without_window": [str(path) for path in found.without_window],
        "windows_of_too_few_events": found.too_few_events,
        "windows_cut_short": found.cut_short,
        "failed": {str(path): list(messages) for path, messages in found.failed.items()},
    }


def _row(window: ClassifiedWindow) -> dict[str, Any]:
    """The row of the CSV file, which is also an entry of the JSON object."""
    return {
        "file": str(window.file),
        "start_us": window.start_us,
        "end_us": window.end_us,
        "events": window.events,
        "class": window.prediction.name,
        "confidence": round(window.prediction.confidence, 6),
        "label": window.label,
    }


def _write_csv(path: Path, found: Classified) -> None:
    from preprocess.files import write_whole

    rows = [_row(window) for window in found.windows]

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_whole(path, write)


def _print_table(found: Classified, arguments: Arguments) -> None:
    from rich.table import Table

    from preprocess.terminal.console import console

    labelled = any(window.label is not None for window in found.windows)
    table = Table()
    table.add_column("file", overflow="fold")
    # Images have no times and events.
    timed = any(window.events for window in found.windows)
    for name in ("start, s", "end, s", "events") if timed else ():
        table.add_column(name, justify="right")
    table.add_column("class")
    table.add_column("confidence", justify="right")
    if labelled:
        table.add_column("label")
    folder = os.path.commonpath([window.file.parent for window in found.windows])
    for window in found.windows[:_MOST_ROWS]:
        table.add_row(str(window.file.relative_to(folder)), *_cells(window, labelled, timed))
    console().print(table)
    for line in _lines(found, arguments):
        print(line)


def _lines(found: Classified, arguments: Arguments) -> Iterator[str]:
    """Iterate over the lines below the table."""
    hidden = len(found.windows) - _MOST_ROWS
    if hidden > 0:
        yield f"{hidden} more windows are not shown; --csv FILE writes all of them."
    cause = "it has no events" if arguments.window_us is None else "no window of this length has enough events"
    for path in found.without_window:
        yield f"{path}: not classified, because {cause}."
    if found.too_few_events:
        few = f"too few events (--min-events {arguments.min_events})"
        yield f"Windows not classified because of {few}: {found.too_few_events}"
    if found.cut_short:
        yield f"Windows not classified because the recording ends within them: {found.cut_short}"
    accuracy = found.accuracy()
    if accuracy is not None:
        unknown = accuracy["windows_without_label"]
        yield (
            f"Accuracy by window: {100 * accuracy['accuracy']:.2f} % ({accuracy['correct']} of {accuracy['windows']}; "
            f"95 % interval {100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f} %)"
            f"{f'; windows without a label, not counted: {unknown}' if unknown else ''}"
        )
    if arguments.csv is not None:
        yield f"Written: {arguments.csv}"


def _cells(window: ClassifiedWindow, labelled: bool, timed: bool) -> list[str]:
    """The cells of a row after the name of the file."""
    times = [f"{window.start_us / 1e6:.3f}", f"{window.end_us / 1e6:.3f}", f"{window.events:,}"] if timed else []
    cells = [*times, window.prediction.name, f"{100 * window.prediction.confidence:.1f} %"]
    if labelled:
        cells.append("" if window.label is None else window.label if window.correct else f"{window.label} (wrong)")
    return cells
