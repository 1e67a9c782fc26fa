"""spikeloom preprocess: convert recordings to an event store and frame caches."""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from preprocess.binning.binning_config import Binning
from preprocess.binning.frame_ranges import EventRule
from preprocess.building.worker_pool import DEFAULT_WORKERS
from preprocess.datasets.layout import Windows
from preprocess.datasets.registry import DATASETS, IMAGE_DATASETS
from preprocess.default_cache_folder import default_cache
from preprocess.formats.read_options import ReadOptions, TimeUnit, flags
from preprocess.nearest_name import nearest_name
from preprocess.terminal.command_line import UsageError, parse

_KNOWN = [*DATASETS, *IMAGE_DATASETS]

FRAMES = "frames"
"""The name under which frames are imported, in place of a data set's."""

if TYPE_CHECKING:
    from preprocess.store.event_store import EventStore


@dataclass(frozen=True)
class Arguments:
    """Decode all recordings into an event store and bin it into frames, once for each number of time steps.

    Existing caches that still match their recordings are reused, and an interrupted run is resumed. Static images
    (cifar10, cifar100, tiny-imagenet) become one image store, which serves every number of time steps.

    Example: spikeloom preprocess n-mnist --source n-mnist --timesteps 4 10
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="{" + ",".join(_KNOWN) + "}")]
    """The data set; folder for your own recordings. Frames of other programs: spikeloom preprocess frames --help."""
    source: Path
    """The folder with the recordings, or the archive that contains them."""
    cache: Path | None = None
    """The folder of all caches (default: $SPIKELOOM_CACHE or ./cache). If it is read-only, frames are written to
    $SPIKELOOM_CACHE_FRAMES, or spikeloom/frames in $XDG_CACHE_HOME or ~/.cache."""
    timesteps: tuple[int, ...] = ()
    """Numbers of frames T; train and tune create missing frame caches by themselves."""
    split_by: EventRule = "number"
    """How events are divided into frames. As in SpikingJelly: number (T frames with equal numbers of events), time (T
    frames of equal duration), duration (frames of --duration-us). As in tonic: time_window, event_count, n_time_bins,
    n_event_bins. fixed_window: T frames of --duration-us from --start-us on."""
    duration_us: int | None = None
    """Duration of a frame in us, for --split-by duration, time_window and fixed_window."""
    event_count: int | None = None
    """Number of events per frame, for --split-by event_count."""
    overlap: int = 0
    """Overlap between consecutive frames, in us (time_window) or events (event_count)."""
    include_incomplete: bool = False
    """Keep an incomplete last frame, for --split-by time_window and event_count."""
    start_us: int = 0
    """Start of the first frame in us after the first event, for --split-by fixed_window."""
    downsample: int = 1
    """Spatial downsampling factor k: sum the events of k x k pixels."""
    orientation: Literal["spikingjelly", "clif"] = "spikingjelly"
    """Orientation of the CIFAR10-DVS images: as in SpikingJelly or as in the CLIF and SLTT repositories."""
    window_us: int | None = None
    """Window length in us: cut each recording of a folder into windows, which become the samples."""
    stride_us: int | None = None
    """Time from the start of a window to the start of the next in us (default: the window length, no overlap)."""
    min_events: int = 1
    """Minimum number of events per window; windows with fewer are left out."""
    sensor_size: tuple[int, int] | None = None
    """Sensor rows and columns of a folder, for files that do not store them, such as .npy, .txt and .bin."""
    columns: str | None = None
    """Order of the columns in a folder's arrays and text files without column names, such as txyp."""
    time_unit: TimeUnit | None = None
    """Unit of the timestamps in a folder's files that do not state it (default: us, as integers)."""
    hdf5_path: str | None = None
    """Group or data set with the events in a folder's HDF5 files, such as davis/left/events."""
    topic: str | None = None
    """Topic with the events in a folder's ROS bags, if they have several, such as /davis/left/events."""
    salvage: bool = False
    """Read damaged recordings up to the damage instead of stopping with an error."""
    sort: bool = False
    """Sort the events of each recording by time (stably) before cutting samples and frames. Without it, frames equal
    those of SpikingJelly and tonic bit by bit, but events out of order may be counted twice or not at all."""
    workers: int = DEFAULT_WORKERS
    """Number of processes for decoding, and of threads for binning and compression."""
    name: str | None = None
    """Name of the cache (default: the data set's name; required for folder)."""
    json: bool = False
    """Print one JSON object instead of tables."""

    def check(self) -> None:
        """Raise a UsageError with every error that can be found without reading files."""
        errors = []
        if self.dataset == FRAMES:
            errors.append("frames: expected it before all options. Run: spikeloom preprocess frames --help")
        elif self.dataset not in (*DATASETS, *IMAGE_DATASETS):
            # Registered data sets are among them.
            known = [*DATASETS, *IMAGE_DATASETS]
            near = nearest_name(self.dataset, known)
            hint = f"Did you mean '{near}'?" if near else "See: spikeloom preprocess --help"
            errors.append(f"expected a data set ({', '.join(known)}), found '{self.dataset}'. {hint}")
        errors += self._image_errors()
        errors += self._binning_errors()
        errors += self._folder_errors()
        if self.workers < 1:
            errors.append(f"--workers: expected at least 1, found {self.workers}")
        if self.name is not None and (not self.name or "/" in self.name or self.name.startswith(".")):
            errors.append(f"--name: expected the name of a folder, such as my-gestures, found '{self.name}'")
        if errors:
            raise UsageError(*dict.fromkeys(errors))

    def binnings(self) -> list[Binning]:
        """One binning per requested T, or a single one if the rule determines T for each sample."""
        first = self._binning(Binning.timesteps)
        return [first] if first.varies else [self._binning(t) for t in dict.fromkeys(self.timesteps)]

    def _binning(self, timesteps: int) -> Binning:
        names = (field.name for field in dataclasses.fields(Binning) if field.name != "timesteps")
        return Binning(timesteps, **{name: getattr(self, name) for name in names})

    def windows(self) -> Windows | None:
        """How recordings are cut into windows, or None."""
        if self.window_us is None:
            return None
        return Windows(self.window_us, self.stride_us or self.window_us, self.min_events)

    def read_options(self) -> ReadOptions:
        """What the recordings do not state."""
        return ReadOptions(self.columns, self.time_unit, self.hdf5_path, self.topic)

    def _folder_errors(self) -> Iterator[str]:
        if self.dataset != "folder" and self.read_options().given:
            given = flags(self.read_options().given)
            yield f"{given}: expected with folder only, found with {self.dataset}. Leave it out."
        yield from self.read_options().errors()
        if self.dataset != "folder" and (self.window_us is not None or self.sensor_size is not None):
            yield f"--window-us, --sensor-size: expected with folder only, found with {self.dataset}. Leave them out."
        if self.dataset == "folder" and self.name is None:
            yield "--name: expected a name for the cache of a folder, such as my-gestures, found none. Add --name NAME."
        if self.window_us is None and (self.stride_us is not None or self.min_events != 1):
            yield "--stride-us, --min-events: expected with --window-us only, found without it. Add --window-us."
        if self.stride_us is not None and self.stride_us < 1:
            yield f"--stride-us: expected at least 1, found {self.stride_us}"
        windows = self.windows()
        yield from windows.errors() if windows else ()
        if self.sensor_size is not None and not all(1 <= side <= 1 << 15 for side in self.sensor_size):
            yield f"--sensor-size: expected 1 to {1 << 15} rows and columns, found {self.sensor_size}"

    def _image_errors(self) -> Iterator[str]:
        if self.dataset not in IMAGE_DATASETS:
            return
        ours = {"dataset", "source", "cache", "workers", "name", "json"}
        fields = (field for field in dataclasses.fields(self) if field.name not in ours)
        given = ["--" + field.name.replace("_", "-") for field in fields if getattr(self, field.name) != field.default]
        if given:
            hint = "Leave them out; --binning.timesteps of train repeats an image."
            yield f"{', '.join(given)}: expected with data sets of events only, found with {self.dataset}. {hint}"

    def _binning_errors(self) -> Iterator[str]:
        first = self._binning(Binning.timesteps)
        if first.varies and self.timesteps:
            yield (
                f"--timesteps: expected none, because --split-by {self.split_by} determines T for each sample, found "
                f"{' '.join(map(str, self.timesteps))}. Leave it out."
            )
        elif not first.varies and not self.timesteps and self.split_by != "number":
            yield f"--split-by {self.split_by}: expected --timesteps, found none. Add, for example, --timesteps 10."
        for binning in self.binnings() or [first]:
            yield from binning.errors()
        for name, value in dataclasses.asdict(first.plain()).items():
            if name != "timesteps" and getattr(first, name) != value:
                flag = "--" + name.replace("_", "-")
                yield (
                    f"{flag}: expected none, because --split-by {self.split_by} does not use it, found "
                    f"{getattr(first, name)}. Leave it out, or choose another --split-by."
                )


def run(argv: list[str]) -> None:
    """Build the missing caches, then print a summary; frames are imported by a command of their own."""
    if argv[:1] == [FRAMES]:
        from preprocess.commands import preprocess_frames

        preprocess_frames.run(argv[1:])
        return
    arguments = parse(Arguments, argv, prog="spikeloom preprocess")
    arguments.check()
    if arguments.dataset in IMAGE_DATASETS:
        from preprocess.commands.preprocess_images import build_images

        build_images(
            arguments.dataset,
            arguments.source,
            arguments.cache,
            name=arguments.name,
            workers=arguments.workers,
            as_json=arguments.json,
        )
        return
    from preprocess.building.build_event_store import build_event_store, ensure_every_frames
    from preprocess.building.time_unit_check import check_sample_times
    from preprocess.commands.left_out_notes import Remark, remarks
    from preprocess.commands.preprocess_summary import print_summary
    from preprocess.datasets import find_layout, find_unread
    from preprocess.freed_memory import keep_freed_memory
    from preprocess.jit import start_numba
    from preprocess.store.event_store import open_events
    from preprocess.store.user_frame_caches import own_frames_folder
    from preprocess.terminal.progress import progress_on_stderr

    keep_freed_memory()
    start_numba()
    # What was imported stays, so that the garbage collector need not go through it again and again.
    gc.freeze()
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
        options=arguments.read_options(),
        sort=arguments.sort,
        notify=progress.note,
    )
    before = _states(cache / layout.name) | _states(own_frames_folder())
    events = build_event_store(layout, cache, workers=arguments.workers, progress=progress)
    frames = ensure_every_frames(cache, layout.name, arguments.binnings(), workers=arguments.workers, progress=progress)
    seconds = time.perf_counter() - start
    built = [path for path in (events, *frames) if before.get(path) != _states(path.parent).get(path)]
    store = open_events(events)
    found = remarks(layout, find_unread(layout, cache), store, frames, built)
    warning = check_sample_times(layout, store)
    if warning is not None:
        progress.note(warning)
    found.append(Remark("warnings", [warning] if warning else []))
    if arguments.json:
        answer = _answer(store, [events, *frames], seconds)
        print(json.dumps(answer | {remark.field: remark.value for remark in found}))
    else:
        print_summary(events, frames, built, seconds, found)


def _states(folder: Path) -> dict[Path, tuple[int, int]]:
    """Inode and modification time of each cache file; a rebuilt file has others."""
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
