"""Preprocessing compared with SpikingJelly 2.0 and tonic 1.7, on the same files: ``make bench``.

All work is first done once by both, and must give equal events and frames before it is timed. Long recordings are
emulated; cached samples are real, if the real recordings are available (``SPIKELOOM_TEST_DATA``).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks import equality, peers, recordings, scaling
from benchmarks.cached_samples import compare_samples, real_recordings
from benchmarks.measuring import Row, compare, format_table
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_every_frames, ensure_frames
from preprocess.datasets import find_layout
from preprocess.events import Events
from preprocess.freed_memory import keep_freed_memory
from preprocess.store.cache_file_names import events_path, frames_path
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames

T, OTHER_T = Binning(20), Binning(10)


@dataclass(frozen=True)
class Arguments:
    """Compare preprocessing with SpikingJelly and tonic.

    Example: python -m benchmarks.preprocessing --repeats 3
    """

    tiny: bool = False
    """Only check on small inputs that the results are equal; the printed times mean nothing."""
    full: bool = False
    """Also measure a recording of 10^8 events and a DVS128-Gesture of full size; needs 6 GB of temporary space."""
    plot: Path | None = None
    """Draw time over number of events to this file."""
    repeats: int = 3
    """Number of timings; the median counts."""


def main(arguments: Arguments) -> None:
    """Print the tables; rows are also printed on stderr as they are measured."""
    keep_freed_memory()  # As the command does; it also applies to the peers, in the same process.
    tiny = arguments.tiny
    repeats = 1 if tiny else arguments.repeats
    sizes = [10_000] if tiny else [10**5, 10**6, 10**7, *([10**8] if arguments.full else [])]
    real = real_recordings()
    with tempfile.TemporaryDirectory(prefix="spikeloom-bench-") as name:
        folder = Path(name)
        clips = recordings.emulate_gesture_clips(seed=3)
        rows = report_rows(compare_recording(folder / "one", clips, 30_000 if tiny else 4_000_000, repeats))
        if real is not None:
            rows += report_rows(compare_samples(folder / "real", real, 1 if tiny else 5 * repeats, 1 if tiny else 10))
        if not tiny:
            rows += report_rows([scaling.compare_workers(folder / "workers", clips, 128_000_000, repeats)])
        children = scaling.measure_growth(folder / "growth", clips, sizes, repeats)
        rows += report_rows(scaling.growth_rows(children))
        print(scaling.format_growth(children))
        # The last table is the one that `make bench-all` copies into docs/benchmarks.md.
        print(f"\n{format_table(rows)}")
        if real is None:
            print("\nLoading and disk were not measured: set SPIKELOOM_TEST_DATA to the folder of real recordings.")
        if arguments.plot:
            scaling.plot_growth(children, arguments.plot)
        if arguments.full:
            print(f"\n{scaling.preprocess_full(folder / 'full', clips)}")


def report_rows(rows: Iterator[Row] | list[Row]) -> list[Row]:
    """Print each row on stderr as soon as it is measured; return all of them."""
    found = []
    for row in rows:
        print(f"benchmarks: {row.work}: {row.ours}, {row.peer or 'no peer'}, {row.ratio:.3g}", file=sys.stderr)
        found.append(row)
    return found


def compare_recording(folder: Path, clips: list[Events], events: int, repeats: int) -> Iterator[Row]:
    """Compare the preprocessing of one AEDAT 3.1 recording with eleven labels, in one process."""
    source = recordings.write_gesture_folder(
        folder / "recordings", clips, recordings=1, samples=len(clips), events=events, seed=1
    )
    layout = find_layout("emulated-gestures", source)
    cache, root = folder / "cache", folder / "spikingjelly"
    paths = {b: frames_path(cache, layout.name, b, layout.height, layout.width) for b in (T, OTHER_T)}

    def ours() -> None:
        shutil.rmtree(cache, ignore_errors=True)
        build_event_store(layout, cache)
        ensure_frames(cache, layout.name, T)

    def spikingjelly() -> None:
        shutil.rmtree(root, ignore_errors=True)
        peers.spikingjelly_events(source, root)
        peers.spikingjelly_frames(root, T.timesteps, layout.height, layout.width)

    def ours_again() -> None:
        # SpikingJelly makes frames in sixteen threads.
        paths[OTHER_T].unlink(missing_ok=True)
        ensure_every_frames(cache, layout.name, [OTHER_T], workers=2)

    def spikingjelly_again() -> None:
        shutil.rmtree(equality.frames_folder(root, OTHER_T), ignore_errors=True)
        peers.spikingjelly_frames(root, OTHER_T.timesteps, layout.height, layout.width)

    for work in (ours, spikingjelly, ours_again, spikingjelly_again):
        work()
    equality.check_decoded(layout)
    equality.check_events(open_events(events_path(cache, layout.name)), root)
    for binning, path in paths.items():
        frames = open_frames(path)
        equality.check_frames(frames, equality.gesture_paths(frames, equality.frames_folder(root, binning)))

    recording, millions = layout.recordings[0], f"{events / 1e6:g} M events"
    yield compare(
        f"decode AEDAT 3.1, {millions}",
        lambda: sum(len(chunk) for chunk in layout.open(recording).chunks()),
        lambda: peers.spikingjelly_decode(recording.path),
        "SpikingJelly",
        200,
        repeats,
    )
    work = f"AEDAT 3.1, {millions}, 11 labels, to events and frames T = 20"
    yield compare(work, ours, spikingjelly, "SpikingJelly", 40, repeats)
    yield compare("another T from the events", ours_again, spikingjelly_again, "SpikingJelly", 20, repeats)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
