"""A home that cannot be written to: every command works, with the results of a normal home."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soak import ledger_check
from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.parts.clock import same_results
from benchmarks.soak.tiny_search import DATASET, new_search, prepare
from benchmarks.soak.watching import Place, Usage, run

EPOCHS = 3
# A file system without content, mounted for this command alone; root may write to any folder whose permissions refuse.
_READ_ONLY = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs "$HOME" && exec "$@"', "sh")
# Where caches would be written instead.
_ELSEWHERE = (
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "NUMBA_CACHE_DIR",
    "MPLCONFIGDIR",
    "TRITON_CACHE_DIR",
    "RAY_AUTH_TOKEN",
)


def run_part(setting: Setting) -> Outcome:
    """Run the commands of a study with a read-only home."""
    trials, folder = setting.count(16, 4), setting.folder
    outcome = Outcome("emulate, preprocess, train, tune, report, with a read-only home", Usage())
    with Place() as place:
        home = place.folder / "home"
        home.mkdir()
        refused = subprocess.run([*_READ_ONLY, "true"], env={"HOME": str(home)}, capture_output=True, check=False)
        if refused.returncode:
            outcome.not_run = f"a read-only file system cannot be mounted ({refused.stderr.decode().strip()[:100]})"
            return outcome
        for ended in prepare(folder, place, EPOCHS):
            outcome.failures.append(f"expected a cache of digits, found: {ended.last_line}")
            return outcome
        without = ["env", *(word for name in _ELSEWHERE for word in ("-u", name))]
        # The mount comes first: whatever runs after it sees the home.
        before = [*_READ_ONLY, *without]
        for words in _study(folder, trials):
            ended = run(place, words, before=before, extra={"HOME": str(home)})
            fine = ended.code == 0 and "Traceback" not in ended.err
            outcome.expect(f"exit code 0 of {words[2]}", fine, f"{ended.code}: {ended.last_line}")
            outcome.usage = outcome.usage + ended.usage
        plain = run(place, new_search(folder, folder / "plain", trials))
        outcome.expect("exit code 0 with a normal home", plain.code == 0, plain.last_line)
    if not outcome.failures:
        outcome.failures += first_lines(ledger_check.errors_at_the_end(folder / "search", trials))
        outcome.failures += first_lines(same_results(folder / "search", folder / "plain"))
    return outcome


def _study(folder: Path, trials: int) -> Iterator[list[object]]:
    again, cache = folder / "raw-2", folder / "cache-2"
    yield ["-m", "preprocess", "emulate", "digits", "--out", again, "--samples-per-class", 12]
    yield ["-m", "preprocess", "preprocess", DATASET, "--source", again, "--cache", cache, "--timesteps", 2]
    train = ["--config", folder / "config.json", "--cache", cache, "--out", folder / "run"]
    yield ["-m", "pipeline", "train", *train]
    yield new_search(folder, folder / "search", trials)
    yield ["-m", "tune", "report", folder / "search"]
