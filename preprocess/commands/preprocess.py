"""spikeloom preprocess: recordings -> event store and frame caches."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from preprocess.binning.binning import Binning, SplitBy
from preprocess.datasets.layout import Windows
from preprocess.formats.array_columns import ArrayOptions, TimeUnit
from preprocess.paths import default_cache
from preprocess.terminal.command_line import UsageError, parse

if TYPE_CHECKING:
    from preprocess.store.event_store import EventStore


@dataclass(frozen=True)
class Arguments:
    """Decode every recording once into an event store, and bin it for each number of time steps.

    What is there already and still fits its recordings is kept; what an interrupted run decoded is used.

    Example: spikeloom preprocess n-mnist --source n-mnist --timesteps 4 10
    """

    dataset: Annotated[str, tyro.conf.Positional]
    """n-mnist, dvs-gesture, cifar10-dvs, emulated-gestures, emulated-digits or emulated-cue; folder for your own
    recordings."""
    source: Path
    """The folder of the recordings, or the archive they came in."""
    cache: Path | None = None
    """The folder of all caches; $SPIKELOOM_CACHE or ./cache if not given. Frames of one that you cannot write go to
    $SPIKELOOM_CACHE_FRAMES, or spikeloom/frames in $XDG_CACHE_HOME or ~/.cache."""
    timesteps: tuple[int, ...] = ()
    """Numbers of frames T to bin for; train and tune bin what they lack by themselves."""
    split_by: SplitBy = "number"
    """SpikingJelly's number (equally many events a frame), time (equally long frames) and duration; tonic's
    time_window, event_count, n_time_bins and n_event_bins; fixed_window: T frames from a start."""
    duration_us: int | None = None
    """Length of a frame in us: duration, time_window, fixed_window."""
    event_count: int | None = None
    """Events of a frame: event_count."""
    overlap: int = 0
    """What a frame shares with the next, in us (time_window) or events (event_count)."""
    include_incomplete: bool = False
    """Keep a last frame that is not full: time_window, event_count."""
    start_us: int = 0
    """Where the first frame begins, after the first event: fixed_window."""
    downsample: int = 1
    """Sum k x k blocks of pixels."""
    orientation: Literal["spikingjelly", "clif"] = "spikingjelly"
    """Which way up CIFAR10-DVS is."""
    window_us: int | None = None
    """Cut the recordings of a folder into samples of this length in us."""
    stride_us: int | None = None
    """From the start of a window to the start of the next; the window's length if not given."""
    min_events: int = 1
    """What a window needs to become a sample."""
    sensor_size: tuple[int, int] | None = None
    """Rows and columns, where the recordings of a folder do not tell them: .npy, .npz, .bin."""
    columns: str | None = None
    """Order of the columns of a folder's .npy and .npz files without column names, such as txyp."""
    time_unit: TimeUnit | None = None
    """Unit of the times in a folder's .npy and .npz files; whole us if not given."""
    salvage: bool = False
    """Keep the events before the damage of damaged recordings instead of stopping."""
    sort: bool = False
    """Sort the events of each recording by time before they are cut into samples and frames. Events of equal times keep
    their order. Not sorted, frames are those of SpikingJelly and tonic bit by bit, and events out of order may be
    counted twice or not at all."""
    workers: int = 1
    """Processes that decode, and threads that bin and compress."""
    name: str | None = None
    """The cache's name, where the data set's own will not do."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def check(self) -> None:
        """Raise a UsageError with every fault that can be seen without the files."""
        from preprocess.datasets import DATASETS

        errors = []
        if self.dataset not in DATASETS:
            import difflib

            near = difflib.get_close_matches(self.dataset, DATASETS, n=1, cutoff=0.4)
            hint = f"Did you mean '{near[0]}'?" if near else "See: spikeloom preprocess --help"
            errors.append(f"unknown data set '{self.dataset}', expected one of: {', '.join(DATASETS)}. {hint}")
        errors += self._binning_errors()
        errors += self._folder_errors()
        if self.workers < 1:
            errors.append(f"--workers: expected at least 1, found {self.workers}")
        if self.name is not None and (not self.name or "/" in self.name or self.name.startswith(".")):
            errors.append(f"--name: expected the name of a folder, such as my-gestures, found '{self.name}'")
        if errors:
            raise UsageError(*dict.fromkeys(errors))

    def binnings(self) -> list[Binning]:
        """One for each T asked for, or one where the rule finds T by itself."""
        first = self._binning(Binning.timesteps)
        return [first] if first.varies else [self._binning(t) for t in dict.fromkeys(self.timesteps)]

    def _binning(self, timesteps: int) -> Binning:
        names = (field.name for field in dataclasses.fields(Binning) if field.name != "timesteps")
        return Binning(timesteps, **{name: getattr(self, name) for name in names})

    def windows(self) -> Windows | None:
        """How recordings are cut, or None."""
        if self.window_us is None:
            return None
        return Windows(self.window_us, self.stride_us or self.window_us, self.min_events)

    def arrays(self) -> ArrayOptions:
        """What is said of the columns and times of arrays."""
        return ArrayOptions(self.columns, self.time_unit)

    def _folder_errors(self) -> Iterator[str]:
        if self.dataset != "folder" and (self.columns is not None or self.time_unit is not None):
            yield "--columns, --time-unit: expected for folder only, where they say what arrays do not"
        yield from self.arrays().errors()
        if self.dataset != "folder" and (self.window_us is not None or self.sensor_size is not None):
            yield "--window-us, --sensor-size: expected for folder only, where they say what recordings do not"
        if self.dataset == "folder" and self.name is None:
            yield "--name: expected a name for the caches of a folder, such as my-gestures, found none"
        if self.window_us is None and (self.stride_us is not None or self.min_events != 1):
            yield "--stride-us, --min-events: expected with --window-us only"
        if self.stride_us is not None and self.stride_us < 1:
            yield f"--stride-us: expected at least 1, found {self.stride_us}"
        windows = self.windows()
        yield from windows.errors() if windows else ()
        if self.sensor_size is not None and not all(1 <= side <= 1 << 15 for side in self.sensor_size):
            yield f"--sensor-size: expected 1 to {1 << 15} rows and columns, found {self.sensor_size}"

    def _binning_errors(self) -> Iterator[str]:
        first = self._binning(Binning.timesteps)
        if first.varies and self.timesteps:
            yield f"--timesteps: expected none, as --split-by {self.split_by} finds T for each sample. Leave it out."
        elif not first.varies and not self.timesteps and self.split_by != "number":
            yield f"--split-by {self.split_by}: expected --timesteps, found none. Add, for example, --timesteps 10"
        for binning in self.binnings() or [first]:
            yield from binning.errors()
        for name, value in dataclasses.asdict(first.plain()).items():
            if name != "timesteps" and getattr(first, name) != value:
                flag = "--" + name.replace("_", "-")
                yield f"{flag}: --split-by {self.split_by} does not use it. Leave it out, or give another --split-by."


def run(words: list[str]) -> None:
    """Build what is missing, then say what there is."""
    arguments = parse(Arguments, words, prog="spikeloom preprocess")
    arguments.check()
    from preprocess.building.build_event_store import build_event_store, ensure_every_frames
    from preprocess.building.plausibility import doubt_samples
    from preprocess.commands.preprocess_summary import print_summary
    from preprocess.commands.remarks import Remark, remarks
    from preprocess.datasets import find_layout, find_unread
    from preprocess.jit import start_numba
    from preprocess.malloc import keep_freed_memory
    from preprocess.store.event_store import open_events
    from preprocess.store.own_frames import own_frames_folder
    from preprocess.terminal.progress import progress_on_stderr

    keep_freed_memory()
    start_numba()
    start = time.perf_counter()
    progress = progress_on_stderr()
    cache = default_cache(arguments.cache)
    source = arguments.source.expanduser().absolute()
    layout = find_layout(
        arguments.dataset,
        source,
        orientation=arguments.orientation,
        name=arguments.name,
        windows=arguments.windows(),
        size=arguments.sensor_size,
        salvage=arguments.salvage,
        arrays=arguments.arrays(),
        sort=arguments.sort,
        tell=progress.note,
    )
    before = _states(cache / layout.name) | _states(own_frames_folder())
    events = build_event_store(layout, cache, workers=arguments.workers, progress=progress)
    frames = ensure_every_frames(cache, layout.name, arguments.binnings(), workers=arguments.workers, progress=progress)
    seconds = time.perf_counter() - start
    built = [path for path in (events, *frames) if before.get(path) != _states(path.parent).get(path)]
    store = open_events(events)
    said = remarks(layout, find_unread(layout, cache), store, frames, built)
    warning = doubt_samples(layout, store)
    if warning is not None:
        progress.note(warning)
    said.append(Remark("warnings", [warning] if warning else []))
    if arguments.json:
        answer = _answer(store, [events, *frames], seconds)
        print(json.dumps(answer | {remark.field: remark.value for remark in said}))
    else:
        print_summary(events, frames, built, seconds, said)


def _states(folder: Path) -> dict[Path, tuple[int, int]]:
    """Which file is which: a rebuilt one has another inode or time."""
    found = {}
    for path in folder.rglob("*.h5"):
        try:
            state = path.stat()
        except OSError:
            continue
        found[path] = (state.st_ino, state.st_mtime_ns)
    return found


def _answer(store: EventStore, caches: list[Path], seconds: float) -> dict[str, Any]:
    return {
        "dataset": store.dataset,
        "samples": len(store),
        "events": int(store.samples.offset[-1]),
        "seconds": round(seconds, 3),
        "caches": [str(path) for path in caches],
    }
