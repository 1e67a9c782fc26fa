"""Commands run one after another within limits of time, each in its own process, with results that survive a restart.

Every part has a folder: output.txt (what it printed), measurements.jsonl (`benchmarks.measurements`) and record.json,
once it has ended. A part whose record says that it passed on the same basis is not run again; one that failed, was
killed or was interrupted is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measurements import VARIABLE, read_measurements
from preprocess.errors import RunError
from preprocess.files import read_json, write_json

# Found in the environment of everything that a part started, whatever session or process group it made for itself.
_MARK = "SPIKELOOM_PART"
# What a part has left to clean up after SIGTERM, before SIGKILL.
_GRACE_S = 5.0
_POLL_S = 0.05
PASSED, FAILED, TIMED_OUT, CRASHED, NOT_STARTED = "passed", "failed", "timed out", "crashed", "not started"


@dataclass(frozen=True)
class Part:
    """A command of an acceptance.

    Attributes:
        name: Name of its folder.
        command: Program and arguments.
        limit_s: Seconds after which it is killed.
        environment: Variables besides those of this process.
    """

    name: str
    command: Sequence[str]
    limit_s: float
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """How a part ended.

    Attributes:
        name: Name of the part.
        status: passed (exit code 0), failed (another), timed out, crashed (by a signal) or not started (no time left).
        seconds: From start to end.
        code: Exit code, negative for a signal; None if it was not started.
        basis: What the result depends on besides the command, such as commit and GPU.
        command: The command.
    """

    name: str
    status: str
    seconds: float
    code: int | None
    basis: dict[str, str]
    command: list[str]

    @property
    def passed(self) -> bool:
        return self.status == PASSED


def run_parts(
    parts: Sequence[Part],
    folder: Path,
    basis: Mapping[str, str],
    *,
    total_s: float,
    report: Callable[[str], None] = lambda line: None,
) -> list[Record]:
    """Run the parts that have not passed yet, in order; each one's end is recorded before the next starts.

    Args:
        parts: In order of value: if time runs out, the last ones are not started.
        folder: Of all parts; created if it does not exist.
        basis: Results with another basis are measured again.
        total_s: Seconds for this call; no part runs beyond them.
        report: Receives a line before and after each part.

    Returns:
        A record of every part.
    """
    end = time.monotonic() + total_s
    records = []
    for part in parts:
        own = folder / part.name
        known = _read_record(own)
        if known is not None and known.passed and known.basis == basis and known.command == list(part.command):
            report(f"{part.name}: passed before, in {known.seconds:.0f} s")
            records.append(known)
            continue
        limit = min(part.limit_s, end - time.monotonic())
        if limit <= 0:
            records.append(Record(part.name, NOT_STARTED, 0.0, None, dict(basis), list(part.command)))
            report(f"{part.name}: {NOT_STARTED}, because the {total_s:.0f} s are over")
            continue
        report(f"{part.name}: at most {limit:.0f} s ...")
        record = _run(part, own, limit, dict(basis))
        records.append(record)
        report(f"{part.name}: {record.status} after {record.seconds:.0f} s; output in {own / 'output.txt'}")
    return records


def _read_record(own: Path) -> Record | None:
    try:
        entry = read_json(own / "record.json")
        return None if entry is None else Record(**entry)
    except (RunError, TypeError):  # a damaged or older record only means that the part runs again
        return None


def _run(part: Part, own: Path, limit_s: float, basis: dict[str, str]) -> Record:
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    mark = secrets.token_hex(8)
    variables = os.environ | dict(part.environment) | {_MARK: mark, VARIABLE: str(own / "measurements.jsonl")}
    start = time.monotonic()
    timed_out = False
    with (own / "output.txt").open("wb") as output:
        child = subprocess.Popen(
            list(part.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=variables,
            start_new_session=True,
        )
        try:
            child.wait(limit_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            # Also after Ctrl-C, and for what an ended part has left behind, which would disturb the next one.
            _end(child, mark)
    seconds = time.monotonic() - start
    code = child.returncode
    status = TIMED_OUT if timed_out else PASSED if code == 0 else CRASHED if code < 0 else FAILED
    record = Record(part.name, status, seconds, code, basis, list(part.command))
    write_json(own / "record.json", asdict(record))
    return record


def _end(child: subprocess.Popen[bytes], mark: str) -> None:
    """End the child and all its descendants: by SIGTERM, then by SIGKILL."""
    deadline = time.monotonic() + _GRACE_S
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(_marked(mark, child), number)
        while time.monotonic() < deadline and _marked(mark, child):
            time.sleep(_POLL_S)
        deadline = time.monotonic() + _GRACE_S
    child.wait()


def _signal(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _marked(mark: str, child: subprocess.Popen[bytes]) -> list[int]:
    """The running processes with the mark in their environment, and the child itself."""
    found = [] if child.poll() is not None else [child.pid]
    sought = f"{_MARK}={mark}".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        process = int(environment.parent.name)
        # Processes end meanwhile, and those of others cannot be read.
        with contextlib.suppress(OSError):
            if process not in (child.pid, os.getpid()) and sought in environment.read_bytes().split(b"\0"):
                found.append(process)
    return found


def measurements_of(folder: Path, record: Record) -> list[dict[str, Any]]:
    """The measurements of a part, also of one that was killed."""
    return read_measurements(folder / record.name / "measurements.jsonl")
