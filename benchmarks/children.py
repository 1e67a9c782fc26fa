"""`spikeloom preprocess` in a process of its own, as users run it: seconds of work, and the memory that it took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# The system's own count of a child's largest memory (getrusage) begins with its parent's; this one does not.
_TELL_MEMORY = """
import sys
from preprocess.cli import main
code = main()
sys.stderr.write(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


@dataclass(frozen=True)
class Child:
    """What a child process took.

    Attributes:
        work_s: The work, as the command itself says.
        whole_s: From start to end, with Python's start.
        peak_mb: Largest resident memory of the process (its workers apart), in 10^6 bytes.
        events: Of all samples.
    """

    work_s: float
    whole_s: float
    peak_mb: float
    events: int


def preprocess_apart(source: Path, cache: Path, *, workers: int = 1) -> Child:
    """Preprocess emulated gestures with T = 20."""
    words = ["emulated-gestures", "--source", source, "--cache", cache, "--timesteps", 20, "--workers", workers]
    start = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-c", _TELL_MEMORY, "preprocess", *map(str, words), "--json"], capture_output=True, text=True
    )
    whole_s = time.perf_counter() - start
    if child.returncode:
        raise SystemExit(f"benchmarks: preprocess {source} failed: {child.stderr}")
    told = json.loads(child.stdout)
    kibibytes = int(child.stderr.split("VmHWM:")[1].split()[0])
    return Child(told["seconds"], whole_s, kibibytes * 1024 / 1e6, told["events"])
