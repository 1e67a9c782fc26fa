"""What a fuzzing process and the process that watches it share: a few numbers in a file that both have mapped.

Times are of the processor, so that a busy machine neither shortens a run nor makes an input look like a hang.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

_LAYOUT = struct.Struct("<ddddQQd")


@dataclass(frozen=True)
class Progress:
    """A copy of the numbers; 0 before the first input.

    Attributes:
        began: Processor time at which the first input was started.
        started: Processor time at which the latest input was started.
        started_at: The same on the monotonic clock; 0 between two inputs.
        beat: Processor time at which an input was last started or finished.
        executions: Number of inputs that were finished.
        read: How many of them were read to the end.
        slowest: Processor time of the slowest input, in seconds.
    """

    began: float = 0.0
    started: float = 0.0
    started_at: float = 0.0
    beat: float = 0.0
    executions: int = 0
    read: int = 0
    slowest: float = 0.0


class Heartbeat:
    """Written by the fuzzing process before and after every input, and read by the other one."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)
        self._now = self.progress()

    def progress(self) -> Progress:
        """The present numbers."""
        return Progress(*_LAYOUT.unpack_from(self._map))

    def start(self) -> None:
        """An input is about to be read."""
        now, old = time.process_time(), self._now
        began = old.began or now
        self._set(Progress(began, now, time.monotonic(), now, old.executions, old.read, old.slowest))

    def finish(self, *, read: bool) -> None:
        """The input is finished."""
        now, old = time.process_time(), self._now
        slowest = max(old.slowest, now - old.started)
        self._set(Progress(old.began, old.started, 0.0, now, old.executions + 1, old.read + read, slowest))

    def _set(self, progress: Progress) -> None:
        self._now = progress
        _LAYOUT.pack_into(self._map, 0, *vars(progress).values())


def processor_time_of(process: int) -> float:
    """Seconds of processor time that another process has used; 0 where the system does not say it."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # The fields after the name begin with the state, which is number 3 of all.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
