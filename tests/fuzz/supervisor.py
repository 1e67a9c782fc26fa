"""Starts and watches a fuzzing process, and starts another one after a crash, a hang or too much memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .heartbeat import Heartbeat, Progress, processor_time_of
from .worker import ENDED, HEARTBEAT, INPUT, REPOSITORY, TRACE, Job, keep

_POLL_S = 0.1
_TRACE_S = 5.0
# On a busy machine, an input waits for the processor.
_WAITING = 30
# Processes end at every crash, hang or excess of memory; if it is the same one again and again, that is enough.
_MOST_PROCESSES = 20
_MOST_REPEATED = 2
_LONGEST_START_S = 900.0
_IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Limits:
    """What an input may need.

    Attributes:
        hang_s: Seconds of processor time after which an input counts as a hang; thirty times as long if it only waits.
        memory_mb: By how much an input may raise the memory of the process.
    """

    hang_s: float = 20.0
    memory_mb: int = 512


@dataclass
class Summary:
    """The result of fuzzing a target.

    Attributes:
        target: Its name.
        engine: mutator or atheris.
        seconds: Processor time of reading inputs.
        executions: Number of inputs.
        read: How many of them were read to the end.
        slowest: Processor time of the slowest input, in seconds.
        findings: The files of inputs with findings of this run.
        error: Why the process could not start; empty otherwise.
    """

    target: str
    engine: str
    seconds: float = 0.0
    executions: int = 0
    read: int = 0
    slowest: float = 0.0
    findings: list[Path] = field(default_factory=list)
    error: str = ""

    def add(self, progress: Progress) -> None:
        """Add the numbers of a process that ended."""
        if progress.began:
            self.seconds += progress.beat - progress.began
        self.executions += progress.executions
        self.read += progress.read
        self.slowest = max(self.slowest, progress.slowest)


def fuzz(
    target: str,
    *,
    seconds: float,
    findings: Path,
    engine: str = "mutator",
    seed: int = 0,
    limits: Limits = Limits(),
    module: str = "every_target",
    bounds_checks: bool = True,
) -> Summary:
    """Fuzz a target, in processes of their own.

    Args:
        target: Its name.
        seconds: Processor time of reading inputs in all; starting a process does not count.
        findings: Where inputs with findings are kept, ``<findings>/<target>/<kind>-<hash>``, each with a ``.txt``.
        engine: mutator or atheris.
        seed: Seed of all random choices.
        limits: What an input may need.
        module: The module of this package that has the targets.
        bounds_checks: Whether compiled kernels check the bounds of arrays.
    """
    summary, own = Summary(target, engine), findings / target
    before, repeated = set(own.glob("*")), 0
    for number in range(_MOST_PROCESSES):
        left = seconds - summary.seconds
        if left <= 0:
            break
        parent = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
        folder = Path(tempfile.mkdtemp(prefix="spikeloom-fuzz-", dir=parent))
        try:
            job = Job(module, target, engine, left, seed + 1000 * number, folder, own, limits.memory_mb)
            is_new = _run(job, limits, findings if bounds_checks else None, summary)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        repeated += is_new is False
        if is_new is None or repeated > _MOST_REPEATED:
            break
    summary.findings = sorted(path for path in set(own.glob("*")) - before if path.suffix != ".txt")
    return summary


def _run(job: Job, limits: Limits, kernels: Path | None, summary: Summary) -> bool | None:
    """Run one process; None if fuzzing is complete, else whether what ended the process is a new finding."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if kernels is not None:
        # Kernels with checks have a cache of their own.
        environment |= {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(kernels.absolute() / "kernels")}
    heartbeat = Heartbeat(job.folder / HEARTBEAT)
    log, trace, content = (job.folder / name for name in ("log.txt", TRACE, INPUT))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", *job.argv()],
            cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        hangs = _watch(process, heartbeat, limits)
    progress, last = heartbeat.progress(), log.read_text(errors="replace")[-8000:]
    summary.add(progress)
    if not progress.began:
        summary.error = last or "the process did not start in time"
        return None
    stack = trace.read_text(errors="replace")
    if hangs:
        summary.seconds += limits.hang_s
        return keep(job.findings, "hang", _place(stack), content.read_bytes(), f"more than {limits.hang_s} s\n{stack}")
    ended = (job.folder / ENDED).read_text() if (job.folder / ENDED).exists() else ""
    if ended == "time":
        return None
    if ended == "memory":
        return keep(job.findings, "memory", "", content.read_bytes(), f"more than {limits.memory_mb} MB")
    details = f"exit code {process.returncode}\n{stack}\n{last}"
    return keep(job.findings, "crash", _place(stack), content.read_bytes(), details)


def _watch(process: subprocess.Popen[bytes], heartbeat: Heartbeat, limits: Limits) -> bool:
    """Wait for the end of a process; one that hangs is ended. Returns whether it hung."""
    try:
        while process.poll() is None:
            time.sleep(_POLL_S)
            if _hangs(processor_time_of(process.pid), heartbeat.progress(), limits.hang_s):
                process.send_signal(signal.SIGUSR1)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_TRACE_S)
                return True
        return False
    finally:
        process.kill()
        process.wait()


def _hangs(used: float, progress: Progress, limit: float) -> bool:
    """Whether the input of a process takes too long: by processor time, or by the clock if it only waits."""
    if not progress.began:
        # Libraries are loaded, kernels are compiled and seeds are made.
        return used > _LONGEST_START_S
    waited = time.monotonic() - progress.started_at if progress.started_at else 0.0
    return bool(progress.started_at) and (used - progress.started > limit or waited > _WAITING * limit)


def _place(trace: str) -> str:
    """The innermost line of the product in a trace of `faulthandler`, which begins with the innermost call."""
    lines = [line.strip() for line in trace.splitlines() if str(REPOSITORY) in line and "/tests/" not in line]
    return lines[0] if lines else ""
