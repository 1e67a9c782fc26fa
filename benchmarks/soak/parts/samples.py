"""100,000 small samples in one cache: from as many files to events and frames, every event and count compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.watching import Place, run
from preprocess.binning.binning_config import Binning
from preprocess.store.cache_file_names import frames_path
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames

_SAMPLES = 100_000
_EVENTS = 100
_SIZE = 34
_TIMESTEPS = 10
_PEAK_MB = 1500


def run_part(setting: Setting) -> Outcome:
    """Write the files, preprocess them, and compare events and frames with what was written."""
    samples = setting.count(_SAMPLES, 200)
    columns = write_files(setting.folder / "raw", samples)
    cache = setting.folder / "cache"
    words = ["n-mnist", "--source", setting.folder / "raw", "--cache", cache, "--timesteps", _TIMESTEPS]
    # The files of an interrupted part are used again, but the work that is timed is not.
    shutil.rmtree(cache, ignore_errors=True)
    with Place() as place:
        ended = run(place, ["-m", "preprocess", "preprocess", *words, "--workers", 2])
        again = run(place, ["-m", "preprocess", "preprocess", *words, "--workers", 2])
    outcome = Outcome(f"{samples:,} files of {_EVENTS} events to events and frames, T = {_TIMESTEPS}", ended.usage)
    for end in (ended, again):
        outcome.expect("exit code 0", end.code == 0, f"{end.code}: {end.last_line}")
    if not outcome.failures:
        rate = samples / ended.usage.seconds
        outcome.figures = f"{rate:,.0f} files/s; {again.usage.seconds:.1f} s when all is up to date"
        outcome.failures += first_lines(cache_errors(cache, columns))
    outcome.expect(f"at most {_PEAK_MB} MB", ended.usage.peak_mb <= _PEAK_MB, f"{ended.usage.peak_mb:.0f} MB")
    return outcome


def write_files(folder: Path, samples: int) -> dict[str, NDArray[np.int64]]:
    """Write N-MNIST's folders with random events; returns the columns t, x, y and p, each int64 (samples, events)."""
    rng = np.random.default_rng(samples)
    shape = (samples, _EVENTS)
    columns = {"t": np.sort(rng.integers(0, 300_000, shape)), "x": rng.integers(0, _SIZE, shape)}
    columns |= {"y": rng.integers(0, _SIZE, shape), "p": rng.integers(0, 2, shape)}
    t = columns["t"]
    words = np.stack([columns["x"], columns["y"], columns["p"] << 7 | t >> 16, t >> 8 & 255, t & 255], axis=2)
    content = words.astype(np.uint8)
    for split in ("Train", "Test"):
        for digit in range(10):
            (folder / split / str(digit)).mkdir(parents=True, exist_ok=True)
    for k in range(samples):
        path, data = folder / relative(k), content[k].tobytes()
        # Files that an interrupted part wrote stay as they are, so that their cache is up to date.
        if not (path.exists() and path.stat().st_size == len(data)):
            path.write_bytes(data)
    return columns


def relative(k: int) -> str:
    """The file of sample k; every tenth is a test sample."""
    return f"{'Test' if k % 10 == 9 else 'Train'}/{k // 10 % 10}/{k:06d}.bin"


def cache_errors(cache: Path, columns: dict[str, NDArray[np.int64]]) -> Iterator[str]:
    """A line for each sample whose events or frames are not those that were written."""
    samples = len(columns["t"])
    store = open_events(cache / "n-mnist" / "events.h5")
    frames = open_frames(frames_path(cache, "n-mnist", Binning(_TIMESTEPS), _SIZE, _SIZE))
    numbers = np.array([int(Path(str(name)).stem) for name in store.samples.name])
    if not np.array_equal(np.sort(numbers), np.arange(samples)) or len(frames) != samples:
        yield f"expected {samples} samples, found {len(numbers)} in the store and {len(frames)} in the frames"
        return
    address = (columns["p"] * _SIZE + columns["y"]) * _SIZE + columns["x"]
    # By number, all frames of a sample have as many events, because ten divides a hundred.
    step = np.repeat(np.arange(_TIMESTEPS), _EVENTS // _TIMESTEPS)
    cells = 2 * _SIZE * _SIZE
    for group in store.groups(1_000_000, 2_000):
        k = numbers[group.start : group.stop]
        events = np.array_equal(store.addresses_of(group), address[k].ravel())
        if not events or not np.array_equal(store.times_of(group), columns["t"][k].ravel()):
            yield f"expected the events of samples {group.start} to {group.stop - 1}, found others"
        within = address[k] + cells * step + cells * _TIMESTEPS * np.arange(len(k))[:, None]
        at, counts = np.unique(within, return_counts=True)
        found = np.stack([frames.read(i) for i in group]).ravel()
        # The counts where there are events, and none elsewhere: as much as all cells, and sooner compared.
        if not np.array_equal(found[at], counts) or np.count_nonzero(found) != len(at):
            yield f"expected the frames of samples {group.start} to {group.stop - 1}, found others"
