"""spikeloom preprocess: recordings -> event store and frame caches."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from preprocess.binning import Binning, SplitBy
from preprocess.command_line import UsageError, default_cache, parse


@dataclass(frozen=True)
class Arguments:
    """Decode every recording once into an event store, and bin it for each number of time steps.

    What is there already and still fits its recordings is kept; what an interrupted run decoded is used.

    Example: spikeloom preprocess n-mnist --source n-mnist --timesteps 4 10
    """

    dataset: Annotated[str, tyro.conf.Positional]
    """n-mnist, dvs-gesture, cifar10-dvs, emulated-gestures or emulated-digits."""
    source: Path
    """The folder of the recordings."""
    cache: Path | None = None
    """The folder of all caches; $SPIKELOOM_CACHE or ./cache if not given."""
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
    workers: int = 1
    """Processes that decode."""
    name: str | None = None
    """The cache's name, where the data set's own will not do."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def check(self) -> None:
        """Raise a UsageError with every fault that can be seen without the files."""
        from preprocess.datasets import DATASETS

        faults = []
        if self.dataset not in DATASETS:
            import difflib

            near = difflib.get_close_matches(self.dataset, DATASETS, n=1, cutoff=0.4)
            hint = f"Did you mean '{near[0]}'?" if near else "See: spikeloom preprocess --help"
            faults.append(f"unknown data set '{self.dataset}', expected one of: {', '.join(DATASETS)}. {hint}")
        faults += self._binning_faults()
        if self.workers < 1:
            faults.append(f"--workers: expected at least 1, found {self.workers}")
        if self.name is not None and (not self.name or "/" in self.name or self.name.startswith(".")):
            faults.append(f"--name: expected the name of a folder, such as my-gestures, found '{self.name}'")
        if faults:
            raise UsageError(*dict.fromkeys(faults))

    def binnings(self) -> list[Binning]:
        """One for each T asked for, or one where the rule finds T by itself."""
        first = self._binning(Binning.timesteps)
        return [first] if first.varies else [self._binning(t) for t in dict.fromkeys(self.timesteps)]

    def _binning(self, timesteps: int) -> Binning:
        names = (field.name for field in dataclasses.fields(Binning) if field.name != "timesteps")
        return Binning(timesteps, **{name: getattr(self, name) for name in names})

    def _binning_faults(self) -> Iterator[str]:
        first = self._binning(Binning.timesteps)
        if first.varies and self.timesteps:
            yield f"--timesteps: expected none, as --split-by {self.split_by} finds T for each sample. Leave it out."
        elif not first.varies and not self.timesteps and self.split_by != "number":
            yield f"--split-by {self.split_by}: expected --timesteps, found none. Add, for example, --timesteps 10"
        for binning in self.binnings() or [first]:
            yield from binning.faults()
        for name, value in dataclasses.asdict(first.plain()).items():
            if name != "timesteps" and getattr(first, name) != value:
                flag = "--" + name.replace("_", "-")
                yield f"{flag}: --split-by {self.split_by} does not use it. Leave it out, or give another --split-by."


def run(words: list[str]) -> None:
    """Build what is missing, then say what there is."""
    arguments = parse(Arguments, words, prog="spikeloom preprocess")
    arguments.check()
    from preprocess.build import build_event_store, ensure_every_frames
    from preprocess.datasets import find_layout
    from preprocess.progress import progress_on_stderr
    from preprocess.summary import print_summary

    start = time.perf_counter()
    progress = progress_on_stderr()
    cache = default_cache(arguments.cache)
    source = arguments.source.expanduser().absolute()
    layout = find_layout(arguments.dataset, source, orientation=arguments.orientation, name=arguments.name)
    before = _states(cache / layout.name)
    events = build_event_store(layout, cache, workers=arguments.workers, progress=progress)
    frames = ensure_every_frames(cache, layout.name, arguments.binnings(), progress=progress)
    seconds = time.perf_counter() - start
    built = [path for path in (events, *frames) if before.get(path) != _states(path.parent).get(path)]
    if arguments.json:
        print(json.dumps(_answer(events, frames, seconds)))
    else:
        print_summary(events, frames, built, seconds)


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


def _answer(events: Path, frames: list[Path], seconds: float) -> dict[str, Any]:
    from preprocess.event_store import open_events

    store = open_events(events)
    return {
        "dataset": store.dataset,
        "samples": len(store),
        "events": int(store.samples.offset[-1]),
        "seconds": round(seconds, 3),
        "caches": [str(path) for path in (events, *frames)],
    }
