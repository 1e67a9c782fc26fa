"""Decoding of raw files compared with the fastest other readers, on the same files: ``python -m benchmarks.decoding``.

Every reader first gives its events, which must equal ours, and is then timed in turns with ours; a row compares us with
the fastest. The readers are in an interpreter of their own (``--peers``), because their dependencies differ:

    python3.11 -m venv peers && peers/bin/pip install faery expelliarmus evt3 evlib dv-processing aedat
    python -m benchmarks.decoding --peers peers/bin/python

No other package reads AEDAT 2.0 in compiled code; there, the readers are those of SpikingJelly and tonic, in NumPy. The
other formats are compared with the packages that people read them with, in the process of the benchmark.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import tyro

from benchmarks import decoding_files as files
from benchmarks.cached_samples import real_recordings
from benchmarks.dat_files import write_dat
from benchmarks.decoding_columns import write_columns
from benchmarks.decoding_peers import READERS
from benchmarks.equality import expect
from benchmarks.measuring import Row, Timing, format_table
from preprocess.events import Events
from preprocess.formats import open_recording
from preprocess.formats.aedat import aedat4
from preprocess.formats.aedat.aedat4_codecs import open_codec
from preprocess.formats.recording import BLOCK_BYTES
from preprocess.freed_memory import keep_freed_memory

TARGET, TWO_THREADS = 1.5, 1.7

# As the decoders of raw files.
_EVENTS_A_CHUNK = 1 << 17


@dataclass(frozen=True)
class Arguments:
    """Compare the decoding of raw files with other readers.

    Example: python -m benchmarks.decoding --peers peers/bin/python --repeats 9
    """

    tiny: bool = False
    """Only check on few events that the results are equal; the printed times mean nothing."""
    peers: Path = field(default_factory=lambda: Path(os.environ.get("SPIKELOOM_PEERS") or sys.executable))
    """Interpreter with the other readers (default: $SPIKELOOM_PEERS, else this one)."""
    events: int = 4_000_000
    """Number of events of each file."""
    repeats: int = 7
    """Number of timings; the median counts."""
    only: tuple[str, ...] = ()
    """Beginnings of the rows to measure, such as AEDAT (default: all)."""


@dataclass(frozen=True)
class File:
    """A file to decode.

    Attributes:
        title: Name of the row.
        format: Name of the format for the peers.
        path: The file.
        readers: Readers in this process by name: each returns columns.
        parallel: Whether its packets are decoded in several threads.
        times_differ: Peers that read other times, with the reason; their columns x, y and p are compared.
        known: What has to be said to open it.
        target: The ratio to reach.
    """

    title: str
    format: str
    path: Path
    readers: dict[str, Callable[[Path], Any]] = field(default_factory=dict)
    parallel: bool = False
    times_differ: dict[str, str] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    target: float = TARGET


class Peers:
    """The child process with the other readers."""

    def __init__(self, python: Path) -> None:
        script = Path(__file__).with_name("decoding_peers.py")
        self._child = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.versions = self._ask({})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()

    def of(self, format: str) -> list[str]:
        """The peers that read a format."""
        return [name for name, (_, formats) in READERS.items() if format in formats and name in self.versions]

    def decode(self, peer: str, file: File, save: Path | None = None) -> Timing:
        """Time that a peer took; ValueError if it cannot read the file."""
        request = {"peer": peer, "format": file.format, "path": str(file.path), "save": str(save or "")}
        given = self._ask(request)
        if "error" in given:
            raise ValueError(given["error"])
        return Timing(given["seconds"], given["processor"])

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit(f"benchmarks: the interpreter of the peers ended with {self._child.wait()}.")
        given: dict[str, Any] = json.loads(line)
        return given


def main(arguments: Arguments) -> None:
    """Print the table; rows are also printed on stderr as they are measured."""
    keep_freed_memory()  # As the command does; Linux keeps it for this process alone.
    repeats = 1 if arguments.tiny else arguments.repeats
    with tempfile.TemporaryDirectory(prefix="spikeloom-bench-") as name, Peers(arguments.peers) as peers:
        print("peers:", ", ".join(f"{peer} {v}" for peer, v in peers.versions.items()) or "none", file=sys.stderr)
        rows = []
        for file in write_files(Path(name), 20_000 if arguments.tiny else arguments.events):
            if not arguments.only or file.title.startswith(arguments.only):
                for row in compare(file, peers, Path(name), repeats):
                    print(row, file=sys.stderr, flush=True)
                    rows.append(row)
            file.path.unlink()
    print(format_table(rows))


def write_files(folder: Path, count: int) -> Iterator[File]:
    """Write the files one at a time."""
    base = files.base_events()
    events = files.repeat(base, count)
    files.write_evt2(folder / "a.raw", events)
    yield File("EVT 2.0", "evt2", folder / "a.raw")
    files.write_evt3(folder / "b.raw", events)
    rounds = {"expelliarmus": "it counts the rounds of the lower bits itself"}
    yield File("EVT 3.0", "evt3", folder / "b.raw", times_differ=rounds)
    real = real_recordings()
    if real is not None:
        files.repeat_evt3(folder / "c.raw", real / "readers" / "evt3-1280x720.raw", count, len(base))
        back = "the clock steps back by a few µs in this sensor's file, which it takes for a wrap"
        differ = {"expelliarmus": back, "evt3": back, "faery": back, "evlib": back}
        yield File("EVT 3.0, a real sensor's words", "evt3", folder / "c.raw", times_differ=differ)
    write_dat(folder / "a.dat", events)
    yield File("DAT", "dat", folder / "a.dat")
    for name, compression in (("not compressed", 0), ("LZ4", 1), ("Zstd", 3)):
        path = folder / f"{compression}.aedat4"
        files.write_aedat4(path, events, compression)
        yield File(f"AEDAT 4, {name}", "aedat4", path, parallel=compression > 0)
    small = files.repeat(_within(base, 128, 128), count)
    files.write_aedat2_dvs128(folder / "a.aedat", small)
    yield File("AEDAT 2.0, DVS128", "aedat2", folder / "a.aedat", {"SpikingJelly": _spikingjelly})
    files.write_aedat2_davis346(folder / "b.aedat", files.repeat(_within(base, 260, 346), count))
    yield File("AEDAT 2.0, DAVIS346", "aedat2", folder / "b.aedat", {"tonic": _tonic})
    within = files.repeat(_within(base, 180, 240), count)
    for title, format, path, readers, known in write_columns(folder, events, within):
        yield File(title, format, path, readers, known=known, target=1.0)


def _within(events: Events, height: int, width: int) -> Events:
    """The events on a smaller sensor: coordinates begin again at 0."""
    x, y = events.x % np.uint16(width), events.y % np.uint16(height)
    return Events(events.t, x, y, events.p, height, width)


def _spikingjelly(path: Path) -> Any:
    from spikingjelly.datasets.cifar10_dvs import _load_origin_data

    return _load_origin_data(path)


def _tonic(path: Path) -> Any:
    from tonic.io import read_davis_346

    return read_davis_346(path)[2]


def compare(file: File, peers: Peers, folder: Path, repeats: int) -> Iterator[Row]:
    """Check that all readers give our events, time them in turns, and compare us with the fastest of them."""
    ours = decode(file)
    works: dict[str, Callable[[], Timing]] = {}
    for peer in peers.of(file.format):
        saved = folder / "saved.npz"
        try:
            peers.decode(peer, file, saved)
        except ValueError as error:
            print(f"{file.title}: {peer} cannot read it: {error}", file=sys.stderr)
            continue
        with np.load(saved) as theirs:
            _check(file, peer, ours, theirs)
        works[peer] = partial(peers.decode, peer, file)
    for reader, read in file.readers.items():
        _check(file, reader, ours, read(file.path))
        works[reader] = partial(timed, partial(read, file.path))
    threads = (1, 2) if file.parallel else (1,)
    for count in threads:
        works[f"{count} threads"] = partial(timed, partial(_consume, file, count))
    if file.parallel:
        # What two threads of this machine can give: the same packets in any order, by the codec alone.
        for count in threads:
            works[f"{count} codecs"] = partial(timed, partial(_decompress, file.path, count))
    works["bytes"] = partial(timed, partial(_move_bytes, file.path, ours))
    works["copy"] = lambda: timed(lambda: [getattr(ours, name).copy() for name in "txyp"])
    yield from _rows(file, len(ours), _medians(works, repeats))


def _rows(file: File, events: int, taken: dict[str, Timing]) -> Iterator[Row]:
    def rate(name: str) -> str:
        millions = events / taken[name].wall_s / 1e6
        return f"{millions:,.0f} M/s" if millions >= 10 else f"{millions:.2g} M/s"

    mine = taken["1 threads"]
    own = ("1 threads", "2 threads", "1 codecs", "2 codecs", "bytes", "copy")
    others = {name: time for name, time in taken.items() if name not in own}
    listed = ", ".join(f"{name} {rate(name)}" for name in sorted(others, key=lambda name: others[name].wall_s))
    bound, without = ("codec", "1 codecs") if file.parallel else ("bytes", "bytes")
    share = taken[without].wall_s / mine.wall_s
    title = f"{file.title} ({mine.wall_s / taken['copy'].wall_s:.1f} copies, {bound} alone {share:.0%})"
    if others:
        fastest = min(time.wall_s for time in others.values()) / mine.wall_s
        of_processor = min(time.processor_s for time in others.values()) / mine.processor_s
        yield Row(title, rate("1 threads"), listed, fastest, file.target, of_processor=of_processor)
    else:
        yield Row(title, rate("1 threads"), "none", float("nan"), file.target)
    if file.parallel:
        two = taken["2 threads"]
        ratio, work = mine.wall_s / two.wall_s, mine.processor_s / two.processor_s
        codec = taken["1 codecs"].wall_s / taken["2 codecs"].wall_s
        title, one = f"{file.title}, two threads (codec alone: {codec:.2f})", f"one thread {rate('1 threads')}"
        yield Row(title, rate("2 threads"), one, ratio, TWO_THREADS, of_processor=work)


def _check(file: File, reader: str, ours: Events, theirs: Any) -> None:
    """Stop if the events differ; of times that are known to differ, only the other columns are compared."""
    names = "xyp" if reader in file.times_differ else "txyp"
    for name in names:
        column = np.asarray(theirs[name])
        if name == "p":
            column = column > 0
        equal = len(column) == len(ours) and np.array_equal(column, getattr(ours, name))
        expect(equal, f"{file.title}, {reader}: {name}, {len(column)} events (ours {len(ours)})")


def _medians(works: dict[str, Callable[[], Timing]], repeats: int) -> dict[str, Timing]:
    """Times of each, in turns."""
    taken: dict[str, list[Timing]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            taken[name].append(work())
    return {
        name: Timing(statistics.median(time.wall_s for time in times), statistics.median(t.processor_s for t in times))
        for name, times in taken.items()
    }


def timed(work: Callable[[], object]) -> Timing:
    """The time that a call takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Timing(time.perf_counter() - wall, time.process_time() - processor)


def decode(file: File) -> Events:
    """All events of a file."""
    recording = open_recording(file.path, **file.known)
    return Events.concatenate(recording.chunks(), recording.height, recording.width)


def _consume(file: File, threads: int) -> list[Events]:
    """Decode a file with the given number of threads, and keep its chunks, as the peers keep theirs."""
    before = aedat4.decoding_threads
    aedat4.decoding_threads = lambda: threads
    try:
        return list(open_recording(file.path, **file.known).chunks())
    finally:
        aedat4.decoding_threads = before


def _move_bytes(path: Path, events: Events) -> list[Any]:
    """Read a file into a buffer, and fill new columns as long as its events: what decoding cannot do without."""
    buffer = bytearray(BLOCK_BYTES)
    with path.open("rb", buffering=0) as content:
        while content.readinto(buffer):
            pass
    return [
        np.full(min(_EVENTS_A_CHUNK, len(events) - start), 1, getattr(events, name).dtype)
        for start in range(0, len(events), _EVENTS_A_CHUNK)
        for name in "txyp"
    ]


def _decompress(path: Path, threads: int) -> None:
    """Decompress all packets, every n-th in the same of n threads."""
    recording = open_recording(path)
    assert isinstance(recording, aedat4.Aedat4Recording)
    packets, at, content = [], recording.start, memoryview(path.read_bytes())
    while at < recording.size:
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        packets.append(content[at + 8 : at + 8 + size])
        at += 8 + size

    def work(share: int) -> None:
        codec = open_codec(recording.compression)
        for packet in packets[share::threads]:
            codec.whole(packet)

    started = [threading.Thread(target=work, args=(share,)) for share in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


if __name__ == "__main__":
    main(tyro.cli(Arguments))
