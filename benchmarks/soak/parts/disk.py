"""A full disk under preprocess and under a search: one line, nothing half written, and a resume once there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soak import ledger_check
from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.parts.events import store_errors
from benchmarks.soak.recordings import random_recording, write_folder
from benchmarks.soak.tiny_search import ended_trials, new_search, prepare, resumed
from benchmarks.soak.watching import Ended, Place, Usage, run, start, stopped_at_the_end

EPOCHS = 3
_FULL = "No space left on device"
_PATIENCE_S = 300.0


def run_part(setting: Setting) -> Outcome:
    """Fill a file system of its own under both commands."""
    outcome = Outcome("preprocess and a search on a file system that becomes full, then has room", Usage())
    setting.folder.mkdir(parents=True, exist_ok=True)
    with Place() as place, contextlib.ExitStack() as mounts:
        try:
            small = mounts.enter_context(mounted(place.folder / "small", 3))
            large = mounts.enter_context(mounted(place.folder / "large", 96))
        except PermissionError as error:
            outcome.not_run = f"a small file system cannot be mounted ({error})"
            return outcome
        commands = [*_preprocess(setting, place, small, outcome), *_search(setting, place, large, outcome)]
    for ended in commands:
        outcome.usage = outcome.usage + ended.usage
    return outcome


@contextlib.contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory of this size; PermissionError where mounting is not allowed."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _preprocess(setting: Setting, place: Place, disk: Path, outcome: Outcome) -> list[Ended]:
    files = 8
    base = random_recording(400_000, 128, 128, seed=5)
    source = write_folder(setting.folder / "dat", base, files)
    words = ["-m", "preprocess", "preprocess", "folder", "--name", "soak", "--source", source, "--cache", disk]
    first = run(place, words)
    outcome.failures += [f"preprocess: {error}" for error in end_errors(first)]
    left = [path.name for path in disk.rglob("*.tmp")]
    outcome.expect("no temporary file of preprocess left", not left, left)
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    second = run(place, words)
    outcome.expect("preprocess to continue with more room", second.code == 0, f"{second.code}: {second.last_line}")
    if second.code == 0:
        outcome.failures += first_lines(store_errors(disk / "soak" / "events.h5", base, files))
    return [first, second]


def _search(setting: Setting, place: Place, disk: Path, outcome: Outcome) -> list[Ended]:
    trials, out = setting.count(40, 8), disk / "search"
    for failed in prepare(setting.folder, place, EPOCHS):
        outcome.failures.append(f"expected a cache of digits, found: {failed.last_line}")
        return []
    with stopped_at_the_end(start(place, new_search(setting.folder, out, trials))) as command:
        while command.running and ended_trials(out) < 3:
            time.sleep(0.1)
        fill(disk / "ballast")
        if not command.wait(_PATIENCE_S):
            outcome.failures.append(f"search: expected it to end on a full disk within {_PATIENCE_S:.0f} s")
    first = command.end()
    outcome.failures += [f"search: {error}" for error in end_errors(first)]
    before = ledger_check.take(out)
    outcome.failures += first_lines(ledger_check.errors_of(out, EPOCHS))
    (disk / "ballast").unlink()
    second = run(place, resumed(out))
    outcome.expect("the search to continue with more room", second.code == 0, f"{second.code}: {second.last_line}")
    outcome.failures += first_lines(ledger_check.errors_since(before, ledger_check.take(out)))
    outcome.failures += first_lines(ledger_check.errors_of(out, EPOCHS))
    if second.code == 0:
        outcome.failures += first_lines(ledger_check.errors_at_the_end(out, trials))
    outcome.figures = f"{len(before.finished)} of {trials} trials kept"
    return [first, second]


def fill(path: Path) -> None:
    """Write to a file until its disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0")
    os.sync()


def end_errors(ended: Ended) -> Iterator[str]:
    """What is wrong with the end of a command on a full disk: it should fail and say so in a line, not a traceback."""
    if ended.code == 0:
        yield "expected a failure on a full disk, found exit code 0"
    elif _FULL not in ended.err:
        yield f"expected a message with '{_FULL}', found {ended.last_line}"
    if "Traceback" in ended.err:
        yield f"expected a message in one line, found a traceback: {ended.last_line}"
