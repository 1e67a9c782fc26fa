"""`spikeloom preprocess` in a separate process, as users run it: its time and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# The peak memory of a child by getrusage includes that of its parent before the fork; VmHWM does not.
_PRINT_MEMORY = """
import sys
from preprocess.cli import main
code = main()
sys.stderr.write(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


@dataclass(frozen=True)
class Child:
    """The time and memory of a child process.

    Attributes:
        work_s: Seconds of work, as reported by the command.
        whole_s: Seconds from start to end, including the start of Python.
        peak_mb: Peak resident memory of the process (without its workers), in 10^6 bytes.
        events: Number of events of all samples.
    """

    work_s: float
    whole_s: float
    peak_mb: float
    events: int


def preprocess_apart(source: Path, cache: Path, *, workers: int = 1) -> Child:
    """Preprocess emulated gestures with T = 20."""
    return preprocess_folder("emulated-gestures", source, cache, timesteps=20, workers=workers)


def preprocess_folder(dataset: str, source: Path, cache: Path, *, timesteps: int, workers: int) -> Child:
    """Preprocess a data set in a process of its own; raises SystemExit if it fails."""
    argv = [dataset, "--source", source, "--cache", cache, "--timesteps", timesteps, "--workers", workers]
    start = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-c", _PRINT_MEMORY, "preprocess", *map(str, argv), "--json"], capture_output=True, text=True
    )
    whole_s = time.perf_counter() - start
    if child.returncode:
        raise SystemExit(f"benchmarks: preprocess {source} failed: {child.stderr}")
    reported = json.loads(child.stdout)
    kibibytes = int(child.stderr.split("VmHWM:")[1].split()[0])
    return Child(reported["seconds"], whole_s, kibibytes * 1024 / 1e6, reported["events"])
