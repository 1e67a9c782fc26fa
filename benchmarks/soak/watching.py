"""Run commands and watch their processes: time, memory and open handles, from /proc.

All processes of a part work in a temporary folder of its own, by which they are found, also those that Ray starts and
those whose parent was killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

_POLL_S = 0.25
_GONE_S = 90.0
# Two idle agents of a killed Ray look for its head for one more minute.
_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True)
class Usage:
    """What processes used.

    Attributes:
        seconds: From start to end.
        peak_mb: Largest sum of the memory of all processes; pages that several share count once.
        handles: Largest number of open files and sockets of the main process.
        growth_mb: Resident memory of the main process, median of the last quarter of the time minus that of the second
            quarter; None if it was too short, or there were several main processes.
        handles_growth: The same for its open files and sockets.
    """

    seconds: float = 0.0
    peak_mb: float = 0.0
    handles: int = 0
    growth_mb: float | None = None
    handles_growth: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """Of one command after another."""
        return Usage(
            self.seconds + other.seconds, max(self.peak_mb, other.peak_mb), max(self.handles, other.handles), None, None
        )


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    usage: Usage

    @property
    def last_line(self) -> str:
        return (self.err.strip().splitlines() or self.out.strip().splitlines() or ["nothing"])[-1][:300]


class Place:
    """A temporary folder in which the processes of a part work, with a path short enough for Ray's sockets."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, extra: Mapping[str, str] | None = None, path: Sequence[Path] = ()) -> dict[str, str]:
        """The environment of a command that runs this checkout; `path` are folders to search for modules before it."""
        search = os.pathsep.join(map(str, [*path, REPOSITORY]))
        own = {"TMPDIR": str(self.folder), "PYTHONPATH": search, "RAY_USAGE_STATS_ENABLED": "0", "MPLBACKEND": "Agg"}
        return os.environ | own | dict(extra or {})

    def processes(self) -> dict[int, str]:
        """The command line of every process of this place, but for zombies."""
        found = {}
        mark = str(self.folder)
        for entry in Path("/proc").glob("[0-9]*"):
            # Processes end meanwhile, and those of others cannot be read.
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                inside = os.readlink(entry / "cwd").startswith(mark) or mark.encode() in command
                inside = inside or mark.encode() in (entry / "environ").read_bytes()
                if inside and int(entry.name) != os.getpid() and _state(entry) != "Z":
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
        return found

    def kill_all(self) -> None:
        """End every process of this place."""
        while found := self.processes():
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)

    def wait_until_empty(self, patience_s: float = _GONE_S) -> list[str]:
        """Wait until no process is left; returns the command lines of those that stay longer."""
        end = time.monotonic() + patience_s
        while left := [command for command in self.processes().values() if command not in _AGENTS]:
            if time.monotonic() > end:
                return left
            time.sleep(0.2)
        return []


def _state(entry: Path) -> str:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0]


def memory_mb(process: int | str) -> float:
    """Resident memory of a process in 10^6 bytes; 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def proportional_mb(process: int | str) -> float:
    """Memory of a process in 10^6 bytes, of shared pages its part; 0 if it has ended or belongs to another user."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def handles_of(process: int | str) -> int:
    """Number of open files and sockets of a process; 0 if it has ended."""
    try:
        return len(os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return 0


@dataclass
class Command:
    """A running command, whose processes are watched until it ends."""

    place: Place
    process: subprocess.Popen[str]
    _samples: list[tuple[float, float, float, int]] = field(default_factory=list)
    _texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _watch(self) -> None:
        while self.process.poll() is None:
            whole = sum(map(proportional_mb, self.place.processes()))
            mine, handles = memory_mb(self.process.pid), handles_of(self.process.pid)
            if mine:
                self._samples.append((time.monotonic(), whole, mine, handles))
            time.sleep(_POLL_S)

    def _read_errors(self) -> None:
        # Both, because a full pipe would stop the command.
        pair = {"out": self.process.stdout, "err": self.process.stderr}
        readers = [threading.Thread(target=self._read, args=item, daemon=True) for item in pair.items()]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()

    def _read(self, name: str, stream: object) -> None:
        self._texts[name] = stream.read()  # type: ignore[attr-defined]

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, limit_s: float) -> bool:
        """Wait for its end; returns whether it ended in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(limit_s)
        return not self.running

    def end(self) -> Ended:
        """The command's end, for which this waits. Processes that it left keep its pipes, and are not waited for."""
        code = self.process.wait()
        seconds = time.monotonic() - self._start
        for thread in self._threads:
            thread.join(5.0)
        return Ended(code, self._texts.get("out", ""), self._texts.get("err", ""), self._usage(seconds))

    def _usage(self, seconds: float) -> Usage:
        rows = self._samples
        if not rows:
            return Usage(seconds)
        growth, handles = growth_of(rows)
        return Usage(seconds, max(row[1] for row in rows), max(row[3] for row in rows), growth, handles)


def growth_of(rows: Sequence[tuple[float, float, float, int]]) -> tuple[float | None, int | None]:
    """Growth of memory and handles from the second quarter of the time to the last one.

    Args:
        rows: Time, memory of all processes, memory of the main process, and its handles.
    """
    first, last = rows[0][0], rows[-1][0]

    def quarter(k: int) -> list[tuple[float, float, float, int]]:
        return [row for row in rows if first + k / 4 * (last - first) <= row[0] <= first + (k + 1) / 4 * (last - first)]

    early, late = quarter(1), quarter(3)
    if len(early) < 2 or len(late) < 2:
        return None, None
    memory = statistics.median(row[2] for row in late) - statistics.median(row[2] for row in early)
    return memory, int(statistics.median(row[3] for row in late) - statistics.median(row[3] for row in early))


def start(
    place: Place,
    words: Sequence[object],
    *,
    extra: Mapping[str, str] | None = None,
    path: Sequence[Path] = (),
    before: Sequence[str] = (),
) -> Command:
    """Start ``python`` with these words.

    Args:
        place: Where its processes work.
        words: Arguments of the interpreter.
        extra: Environment variables besides the usual ones.
        path: Folders that are searched for modules first.
        before: A command that runs it, such as ``unshare``.
    """
    process = subprocess.Popen(
        [*before, sys.executable, *map(str, words)],
        cwd=place.folder,
        env=place.environment(extra, path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    return Command(place, process)


def run(place: Place, words: Sequence[object], **options: object) -> Ended:
    """Run ``python`` with these words to its end; as `start`."""
    return start(place, words, **options).end()  # type: ignore[arg-type]


@contextlib.contextmanager
def stopped_at_the_end(command: Command) -> Iterator[Command]:
    """Kill the command if the block is left while it runs."""
    try:
        yield command
    finally:
        if command.running:
            command.process.kill()
