"""Locks that are lost, as on a network file system: two builders and two searches in one folder at the same time.

Builders run with file locks that exclude nobody (`benchmarks.soak.injected.locks`); under the search, the lock file is
deleted while it runs, so that a second one gets a lock as well. Without locks, work may be done twice; what is promised
is that everything is whole and complete afterwards, with the results of an undisturbed search.
"""

from __future__ import annotations

import time

from benchmarks.soak import ledger_check
from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.parts.clock import same_results
from benchmarks.soak.parts.events import store_errors
from benchmarks.soak.recordings import random_recording, write_folder
from benchmarks.soak.tiny_search import ended_trials, new_search, prepare, resumed
from benchmarks.soak.watching import REPOSITORY, Ended, Place, Usage, run, start, stopped_at_the_end

EPOCHS = 3
_INJECTED = REPOSITORY / "benchmarks" / "soak" / "injected" / "locks"
_PATIENCE_S = 600.0


def run_part(setting: Setting) -> Outcome:
    """Let two builders and two searches meet."""
    outcome = Outcome("two builders without locks; two searches in one folder whose lock file was deleted", Usage())
    setting.folder.mkdir(parents=True, exist_ok=True)
    with Place() as place:
        commands = [*_builders(setting, place, outcome), *_searches(setting, place, outcome)]
    for ended in commands:
        outcome.usage = outcome.usage + ended.usage
    return outcome


def _builders(setting: Setting, place: Place, outcome: Outcome) -> list[Ended]:
    files, rounds = 16, setting.count(6, 1)
    base = random_recording(200_000, 128, 128, seed=6)
    source = write_folder(setting.folder / "dat", base, files)
    found: list[Ended] = []
    beaten = 0
    for k in range(rounds):
        cache = setting.folder / f"cache-{k}"
        words = ["folder", "--name", "soak", "--source", source, "--cache", cache, "--timesteps", 4]
        words = ["-m", "preprocess", "preprocess", *words]
        both = [start(place, words, path=[_INJECTED]) for _ in range(2)]
        ended = [command.end() for command in both]
        beaten += sum(end.code != 0 for end in ended)
        for end in ended:
            outcome.expect("no traceback of a builder", "Traceback" not in end.err, end.last_line)
        # One of them may have been disturbed; the same command then completes the cache.
        last = run(place, words)
        outcome.expect("a builder to end", last.code == 0, f"{last.code}: {last.last_line}")
        if last.code == 0:
            outcome.failures += first_lines(store_errors(cache / "soak" / "events.h5", base, files))
        found += [*ended, last]
    outcome.figures = f"{beaten} of {2 * rounds} builders ended with an error"
    return found


def _searches(setting: Setting, place: Place, outcome: Outcome) -> list[Ended]:
    trials, out = setting.count(40, 6), setting.folder / "search"
    for failed in prepare(setting.folder, place, EPOCHS):
        outcome.failures.append(f"expected a cache of digits, found: {failed.last_line}")
        return []
    with (
        stopped_at_the_end(start(place, new_search(setting.folder, out, trials))) as first,
    ):
        while first.running and ended_trials(out) < 2:
            time.sleep(0.1)
        before = ledger_check.take(out)
        for lock in [out / ".lock", *out.glob("trials/*/.lock")]:
            lock.unlink(missing_ok=True)
        with stopped_at_the_end(start(place, resumed(out))) as second:
            for command in (first, second):
                outcome.expect("both searches to end", command.wait(_PATIENCE_S), "one that is still running")
    both = [first.end(), second.end()]
    for end in both:
        outcome.expect("no traceback of a search", "Traceback" not in end.err, end.last_line)
    outcome.failures += first_lines(ledger_check.errors_since(before, ledger_check.take(out)))
    last = run(place, resumed(out))
    beside = run(place, new_search(setting.folder, setting.folder / "plain", trials))
    outcome.expect("the search to end", last.code == 0, f"{last.code}: {last.last_line}")
    if last.code == 0:
        outcome.failures += first_lines(ledger_check.errors_of(out, EPOCHS))
        outcome.failures += first_lines(ledger_check.errors_at_the_end(out, trials))
        outcome.failures += first_lines(same_results(out, setting.folder / "plain"))
    codes = ", ".join(str(end.code) for end in both)
    outcome.figures += f"; exit codes of the two searches: {codes}"
    return [*both, last, beside]
