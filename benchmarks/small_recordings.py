"""A folder of many small recordings, from raw files to cached frames: ``python -m benchmarks.small_recordings``.

Files of N-MNIST's size (ATIS, 34x34, about 4,000 events) are written with random events. spikeloom, SpikingJelly 2.0
and tonic 1.7 make frames of them, which must be equal on a small folder before they are timed. The peers are timed on
fewer files, because their time per file is constant; memory is the peak of spikeloom's process.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from spikingjelly.datasets.base import FrameFixedNumberBuilder, NeuromorphicDatasetConfig
from spikingjelly.datasets.n_mnist import NMNIST as SpikingJellyNMNIST
from tonic import DiskCachedDataset
from tonic.datasets import NMNIST as TonicNMNIST
from tonic.transforms import ToFrame

from benchmarks.children import preprocess_folder
from benchmarks.measuring import Row, format_table
from preprocess.binning.binning_config import Binning
from preprocess.store.cache_file_names import frames_path
from preprocess.store.frame_cache import open_frames

_SIZE = 34
_TIMESTEPS = 10
_EVENTS = 4172  # the mean of N-MNIST
_SPAN_US = 300_000
_SPIKINGJELLY_TARGET = _TONIC_TARGET = 20.0


@dataclass(frozen=True)
class Arguments:
    """Compare the preprocessing of many small recordings with SpikingJelly and tonic.

    Example: python -m benchmarks.small_recordings --files 20000
    """

    tiny: bool = False
    """Only check on a few files that the results are equal; the printed times mean nothing."""
    files: int = 20_000
    """Number of recordings."""
    peer_files: int = 2_000
    """Number of recordings for the peers."""
    workers: int = 2
    """Number of processes; SpikingJelly uses a thread per CPU."""


def main(arguments: Arguments) -> None:
    """Check equality, then print the table."""
    logging.disable(logging.WARNING)
    files, peer_files = (20, 20) if arguments.tiny else (arguments.files, arguments.peer_files)
    with tempfile.TemporaryDirectory(prefix="spikeloom-bench-") as name:
        folder = Path(name)
        _check_equal(folder / "equal")
        source, few = _write(folder / "all", files), _write(folder / "few", peer_files)
        ours = [_ours(source, folder / "cache", workers=arguments.workers) for _ in range(1 if arguments.tiny else 3)]
        ours_s = sorted(seconds for seconds, _ in ours)[len(ours) // 2]
        small_mb = _ours(few, folder / "cache", workers=arguments.workers)[1]
        peak_mb = max(peak for _, peak in ours)
        rows = []
        peers = (
            ("SpikingJelly", _spikingjelly, _SPIKINGJELLY_TARGET),
            ("tonic", _tonic, _TONIC_TARGET),
        )
        for title, work, target in peers:
            seconds = _timed(lambda work=work: work(few, folder / "peer"))  # type: ignore[misc]
            shutil.rmtree(folder / "peer")
            ratio = seconds / peer_files * files / ours_s
            rows.append(
                Row(
                    f"{files:,} recordings of {_EVENTS:,} events to frames, T = {_TIMESTEPS}",
                    f"{ours_s:.2f} s ({files / ours_s:,.0f} files/s)",
                    f"{title} {seconds:.2f} s for {peer_files:,} ({peer_files / seconds:,.0f} files/s)",
                    ratio,
                    target,
                )
            )
        growth = f"{peak_mb:.0f} MB"
        work = f"peak memory, {files:,} recordings compared with {peer_files:,}"
        rows.append(Row(work, growth, f"{small_mb:.0f} MB", peak_mb / small_mb, 1.25, less=True))
        print(format_table(rows))


def _write(folder: Path, files: int) -> Path:
    """Write N-MNIST's folders with random events; the last tenth is the test split."""
    rng = np.random.default_rng(files)
    for number in range(files):
        split = "Test" if number >= files - files // 10 else "Train"
        path = folder / split / str(number % 10) / f"{number + 1:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        t = np.sort(rng.integers(0, _SPAN_US, _EVENTS))
        x, y, p = rng.integers(0, _SIZE, _EVENTS), rng.integers(0, _SIZE, _EVENTS), rng.integers(0, 2, _EVENTS)
        columns = (x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255)
        path.write_bytes(np.stack(columns, axis=1).astype(np.uint8).tobytes())
    return folder


def _check_equal(folder: Path) -> None:
    """Raise SystemExit if the frames of a file differ from SpikingJelly's, or its events in number from tonic's."""
    source = _write(folder / "raw", 20)
    _ours(source, folder / "cache", workers=1)
    frames = open_frames(frames_path(folder / "cache", "n-mnist", Binning(_TIMESTEPS), _SIZE, _SIZE))
    theirs = _spikingjelly(source, folder / "spikingjelly")
    cached = _tonic(source, folder / "tonic")
    for i in range(len(frames)):
        name = str(frames.samples.name[i])
        split, label, stem = Path(name).with_suffix("").parts[-3:]
        expected = np.load(theirs / split.lower() / label / f"{stem}.npz")["frames"]
        if not np.array_equal(frames.read(i), expected):
            raise SystemExit(f"benchmarks: {name}: expected the frames of SpikingJelly, found others")
    for split, sets in cached.items():
        mine = sum(int(frames.read(i).sum()) for i in range(len(frames)) if frames.samples.split[i] == split)
        # tonic's frames leave out the events that do not fill a frame: fewer than T of each sample.
        other = sum(int(sets[k][0].sum()) for k in range(len(sets)))
        if not mine - len(sets) * _TIMESTEPS < other <= mine:
            raise SystemExit(f"benchmarks: split {split}: expected {mine} events in tonic's frames, found {other}")
    shutil.rmtree(folder)


def _ours(source: Path, cache: Path, *, workers: int) -> tuple[float, float]:
    """Seconds from start to end of the command, and its peak memory in MB."""
    shutil.rmtree(cache, ignore_errors=True)
    child = preprocess_folder("n-mnist", source, cache, timesteps=_TIMESTEPS, workers=workers)
    return child.whole_s, child.peak_mb


def _spikingjelly(source: Path, root: Path) -> Path:
    """Events and frames as SpikingJelly's NMNIST makes them; returns the folder of frames."""
    events = root / "events_np"
    events.mkdir(parents=True)
    SpikingJellyNMNIST.create_raw_from_extracted(source, events)
    configuration = NeuromorphicDatasetConfig(
        root=root, train=None, data_type="frame", frames_number=_TIMESTEPS, split_by="number"
    )
    folder, _ = FrameFixedNumberBuilder(configuration, events, _SIZE, _SIZE).build()
    return Path(folder)


class _UnpackedNMNIST(TonicNMNIST):
    """tonic's data set without its test for the downloaded archive and 10,000 files."""

    def _check_exists(self) -> bool:
        return True


def _tonic(source: Path, root: Path) -> dict[int, DiskCachedDataset]:
    """tonic's NMNIST with frames by number of events in its disk cache, filled by one epoch; by split."""
    (root / _UnpackedNMNIST.__name__).mkdir(parents=True)
    transform = ToFrame(sensor_size=TonicNMNIST.sensor_size, n_event_bins=_TIMESTEPS)
    cached = {}
    for split, name in enumerate(("Train", "Test")):
        (root / _UnpackedNMNIST.__name__ / name).symlink_to(source / name)
        plain = _UnpackedNMNIST(str(root), train=split == 0, transform=transform)
        cached[split] = DiskCachedDataset(plain, str(root / f"cache{split}"))
        for i in range(len(plain)):
            cached[split][i]
    return cached


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(tyro.cli(Arguments))
