"""Random kills in one long search: worker, driver, raylet and head, with the ledger checked after each.

The kills and the search are kept in the part's folder: started again, the part continues with the next kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak import ledger_check
from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.tiny_search import ended_trials, prepare, search_words
from benchmarks.soak.watching import Command, Place, Usage, run, start

KINDS = ("worker", "driver", "raylet", "head")
EPOCHS = 3
_TRIALS_PER_KILL = 30
# A search without its raylet or head, or with a lost worker, may take this long to end or to continue.
_PATIENCE_S = 180.0
# Some kills come before the first trial, while Ray starts; the others after a trial has ended in this session.
_EARLY_SHARE = 0.2
_START_S = 15.0
_LATER_S = 4.0


@dataclass(frozen=True)
class Kill:
    """A kill and what followed.

    Attributes:
        kind: What was killed.
        early: Whether it was at a random moment of the start.
        code: Exit code of the command; None if it continued.
        seconds: Until the command ended or another trial had ended.
        message: The last line that the command printed if it ended.
        ended: Number of trials with an end, after that.
        errors: What the check of the ledger found.
    """

    kind: str
    early: bool
    code: int | None
    seconds: float
    message: str
    ended: int
    errors: list[str]


def run_part(setting: Setting) -> Outcome:
    """Kill, check and resume until all kills are done; then let the search end and check its results."""
    kills = setting.count(setting.kills, len(KINDS))
    trials = _TRIALS_PER_KILL * kills
    out = setting.folder / "search"
    outcome = Outcome(f"{kills} kills in a search of {trials} trials of {EPOCHS} epochs", Usage())
    with Place() as place:
        for failed in prepare(setting.folder, place, EPOCHS):
            outcome.failures.append(f"expected a cache of digits, found: {failed.last_line}")
            return outcome
        began = time.monotonic()
        usage = _all_kills(setting.folder, place, out, trials, kills)
        done = read_kills(setting.folder)
        last = run(place, search_words(setting.folder, out, trials))
        outcome.usage = usage + last.usage
        outcome.usage = Usage(time.monotonic() - began, outcome.usage.peak_mb, outcome.usage.handles)
        outcome.expect("exit code 0 in the end", last.code == 0, f"{last.code}: {last.last_line}")
        left = place.wait_until_empty()
        outcome.expect("no process left", not left, left)
    for number, kill in enumerate(done, start=1):
        where = f"kill {number} ({kill.kind})"
        outcome.failures += [f"{where}: {error}" for error in kill.errors]
    outcome.expect(f"{kills} kills before the search ends", len(done) >= kills, len(done))
    if last.code == 0:
        outcome.failures += first_lines(ledger_check.errors_of(out, EPOCHS))
        outcome.failures += first_lines(ledger_check.errors_at_the_end(out, trials))
    outcome.figures = describe(done)
    return outcome


def describe(kills: list[Kill]) -> str:
    """Numbers of kills by kind, and the longest time until the command ended or continued."""
    counts = Counter(kill.kind for kill in kills)
    parts = []
    for kind in KINDS:
        if counts[kind]:
            longest = max(kill.seconds for kill in kills if kill.kind == kind)
            parts.append(f"{counts[kind]} {kind} (at most {longest:.0f} s to its end)")
    return ", ".join(parts)


def read_kills(folder: Path) -> list[Kill]:
    """The kills so far."""
    path = folder / "kills.jsonl"
    return [Kill(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _all_kills(folder: Path, place: Place, out: Path, trials: int, kills: int) -> Usage:
    usage, command = Usage(), None
    done = len(read_kills(folder))
    # Continued, it makes other choices than before.
    chance = random.Random(done)
    while done < kills and ended_trials(out) < trials:
        command = command or start(place, search_words(folder, out, trials))
        kind, early = KINDS[done % len(KINDS)], chance.random() < _EARLY_SHARE
        before = ledger_check.take(out)
        if not _wait_for_moment(command, out, early, chance):
            # It ended by itself: the search is complete, or the check of the last kill says why not.
            break
        before = ledger_check.take(out)
        target = target_of(kind, command.process.pid, place.processes())
        killed = "driver" if target == command.process.pid else kind
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)
        kill, ended = _after(command, out, killed, early, before)
        if ended is not None:
            usage, command = usage + ended, None
            left = place.wait_until_empty()
            if left:
                kill.errors.append(f"expected no process left, found {left[0][:100]}")
                place.kill_all()
        with (folder / "kills.jsonl").open("a") as file:
            file.write(json.dumps(vars(kill)) + "\n")
        done += 1
    if command is not None:
        # The last kill left it running, or the search was complete early.
        usage = usage + command.end().usage
    return usage


def _wait_for_moment(command: Command, out: Path, early: bool, chance: random.Random) -> bool:
    """Wait for the moment of a kill; returns whether the command still runs."""
    if early:
        return not command.wait(chance.uniform(0, _START_S))
    first, began = ended_trials(out), time.monotonic()
    while command.running and ended_trials(out) == first and time.monotonic() - began < _PATIENCE_S:
        time.sleep(0.1)
    return not command.wait(chance.uniform(0, _LATER_S))


def target_of(kind: str, driver: int, processes: Mapping[int, str]) -> int:
    """The process to kill; the driver if there is no other of that kind yet."""
    words = {"worker": "ray::ImplicitFunc", "raylet": "/raylet/raylet ", "head": "gcs_server"}
    if kind not in words:
        return driver
    found = [process for process, line in processes.items() if words[kind] in line.partition(" --")[0] + " "]
    return found[0] if found else driver


def _after(
    command: Command, out: Path, kind: str, early: bool, before: ledger_check.Snapshot
) -> tuple[Kill, Usage | None]:
    """Wait until the command has ended or continued, and check the ledger."""
    first, began = ended_trials(out), time.monotonic()
    errors: list[str] = []
    while command.running and time.monotonic() - began < _PATIENCE_S:
        # After the kill of a worker the search continues: other trials end.
        if kind == "worker" and ended_trials(out) > first:
            break
        time.sleep(0.1)
    seconds = time.monotonic() - began
    ended = None
    if command.running and (kind != "worker" or ended_trials(out) == first):
        errors.append(f"expected it to end or to continue within {_PATIENCE_S:.0f} s, found it idle")
        command.process.kill()
    if not command.running:
        ended = command.end()
    errors += first_lines(ledger_check.errors_since(before, ledger_check.take(out)))
    errors += first_lines(ledger_check.errors_of(out, EPOCHS))
    if kind == "worker" and ended is not None and ended.code:
        errors.append(f"expected the search to continue, found exit code {ended.code}: {ended.last_line}")
    if ended is None:
        return Kill(kind, early, None, seconds, "", ended_trials(out), errors), None
    if kind in ("raylet", "head") and ended.code:
        errors += message_errors(ended.err)
    return Kill(kind, early, ended.code, seconds, ended.last_line, ended_trials(out), errors), ended.usage


def message_errors(err: str) -> list[str]:
    """A line if a command whose Ray was lost does not say in its last line how to resume, or prints a traceback."""
    last = (err.strip().splitlines() or ["nothing"])[-1]
    errors = []
    if "Traceback" in err:
        errors.append(f"expected a message in one line, found a traceback: {last[:200]}")
    # Before the first trial, an error of the start says to run the command again.
    if "resume" not in last.lower() and "again" not in last:
        errors.append(f"expected how to resume in the last line, found {last[:200]}")
    return errors
