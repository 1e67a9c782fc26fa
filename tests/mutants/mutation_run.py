"""Put each mutant into a copy of the sources, run its tests there, and report whether they notice it.

The working tree is never changed. Copies keep the times of their files, so that compiled kernels and bytecode of
unchanged files are used again; those of a changed file are made again, because neither Numba nor Python can trust times
of whole seconds here. All tests run once without a mutant first, which also compiles what the copies share.

The tests of each mutant run in a fork of a process that has loaded the libraries, and nothing of the project.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from .mutant import Mutant

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("preprocess", "pipeline", "tune")
COPIED = (*PACKAGES, "tests", "benchmarks", "examples", "docs", "README.md", "pyproject.toml")
# A defect may keep a test from ending.
TIME_LIMIT_S = 300.0
# The time limit of all tests without a mutant, which compile every kernel that is not in a cache.
FIRST_RUN_S = 3600.0

# Loaded once, before the forks: they take most of the time of a short test.
LIBRARIES = (
    *("numpy", "numba", "h5py", "hdf5plugin", "scipy.special", "scipy.stats", "pandas", "pyarrow", "matplotlib"),
    *("torch", "torchvision", "spikingjelly.activation_based.neuron", "spikingjelly.activation_based.functional"),
    *("spikingjelly.activation_based.layer", "spikingjelly.datasets", "tonic", "optuna", "filelock", "jinja2"),
    *("tyro", "rich", "ray.tune", "hypothesis", "pytest"),
)

State = Literal["caught", "SURVIVED", "not applied", "fails without it", "does not run here"]

# What pytest returns if tests failed; a larger number means that it could not run them.
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True)
class Outcome:
    """What the tests say about a mutant.

    Attributes:
        state: caught: a test fails, as it must; SURVIVED: all pass; not applied: the text or a test is missing, or the
            tests cannot be run with it; fails without it: a test fails anyway; does not run here: all are skipped.
        seconds: The time of its tests.
        details: The cause, if it is not caught by a failing test.
    """

    mutant: Mutant
    state: State
    seconds: float = 0.0
    details: str = ""


def run_mutants(
    mutants: Sequence[Mutant],
    *,
    root: Path = REPOSITORY,
    at_once: int = 1,
    limit_s: float = TIME_LIMIT_S,
    libraries: Sequence[str] = LIBRARIES,
    report: Callable[[Outcome], object] = lambda outcome: None,
) -> list[Outcome]:
    """Run the tests of each mutant.

    Args:
        mutants: The mutants.
        root: The folder of the repository.
        at_once: How many of them run at the same time.
        limit_s: Time limit of the tests of a mutant, in seconds.
        libraries: Modules that are loaded before the forks.
        report: Called with each outcome as soon as it is known.

    Returns:
        An outcome of each mutant.
    """
    outcomes = []

    def note(outcome: Outcome) -> None:
        outcomes.append(outcome)
        report(outcome)

    applied = []
    for mutant in mutants:
        obstacle = find_obstacle(mutant, root)
        if obstacle:
            note(Outcome(mutant, "not applied", details=obstacle))
        else:
            applied.append(mutant)
    if not applied:
        return outcomes
    _load_libraries(libraries)
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        unchanged = folder / "unchanged"
        _copy(root, unchanged, shutil.copy2)
        results = _results_without(applied, unchanged)
        waiting = []
        for mutant in applied:
            outcome = _outcome_without(mutant, results)
            if outcome is None:
                waiting.append(mutant)
            else:
                note(outcome)
        running: list[_Running] = []
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    mutant = waiting.pop(0)
                    number = folder / str(len(outcomes) + len(running))
                    _copy(unchanged, number, os.link)
                    _apply(mutant, number)
                    running.append(_start(["--exitfirst", *mutant.tests], number, limit_s, mutant))
                for process in [each for each in running if each.has_ended()]:
                    running.remove(process)
                    note(process.outcome())
                    shutil.rmtree(process.folder, ignore_errors=True)
                time.sleep(0.02)
        finally:
            for process in running:
                process.stop()
    return outcomes


def find_obstacle(mutant: Mutant, root: Path = REPOSITORY) -> str:
    """Why a mutant cannot be tried: its text does not occur exactly once, or it names no test that exists; or ""."""
    missing = mutant.missing_tests(root)
    if missing or not mutant.tests:
        return f"expected tests that exist, found none named {', '.join(missing)}"
    try:
        mutant.source(root)
    except ValueError as error:
        return str(error)
    return ""


def _load_libraries(names: Sequence[str]) -> None:
    loaded = [name for name in PACKAGES if name in sys.modules]
    if loaded:
        raise RuntimeError(f"expected a process without the project's packages, found {', '.join(loaded)} loaded")
    # As in tests/conftest.py: libraries read these when they are loaded.
    settings = {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "MPLBACKEND": "Agg",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # A fork copies no other thread.
    # Kernels of a copy are cached in the copy.
    os.environ.pop("NUMBA_CACHE_DIR", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    # Collections of garbage in the forks would look at all of this, and copy its memory.
    gc.collect()
    gc.freeze()


def _copy(source: Path, target: Path, copy_file: Callable[[str, str], object]) -> None:
    target.mkdir()
    for name in COPIED:
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns("*.lock")
            shutil.copytree(source / name, target / name, copy_function=copy_file, ignore=ignored)
        elif (source / name).exists():
            copy_file(str(source / name), str(target / name))


def _apply(mutant: Mutant, folder: Path) -> None:
    changed = folder / mutant.file
    source = mutant.source(folder)
    changed.unlink()  # It is a link to the unchanged file.
    changed.write_text(source)
    for bytecode in (changed.parent / "__pycache__").glob(f"{changed.stem}.*.pyc"):
        bytecode.unlink()


@dataclass
class _Running:
    """Tests that run in a fork, in a session of its own."""

    pid: int
    folder: Path
    started: float
    limit_s: float
    mutant: Mutant | None
    code: int | None = None
    """Once they have ended: pytest's exit code, less than 0 for a signal; None if they were stopped."""

    @property
    def log(self) -> Path:
        return _log(self.folder)

    def has_ended(self) -> bool:
        """Whether the tests have ended, or are stopped now because their time is over."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.code = os.waitstatus_to_exitcode(status)
            self._kill()
            return True
        if time.monotonic() - self.started > self.limit_s:
            self.stop()
            return True
        return False

    def stop(self) -> None:
        """Kill the tests and what they have started."""
        self._kill()
        os.waitpid(self.pid, 0)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def outcome(self) -> Outcome:
        assert self.mutant is not None
        seconds = time.monotonic() - self.started
        if self.code == _PASSED:
            return Outcome(self.mutant, "SURVIVED", seconds, f"all pass: {', '.join(self.mutant.tests)}")
        if self.code == _FAILED:
            return Outcome(self.mutant, "caught", seconds)
        if self.code is None:
            return Outcome(self.mutant, "caught", seconds, "its tests do not end")
        if self.code < 0:
            return Outcome(self.mutant, "caught", seconds, f"its tests end by {signal.Signals(-self.code).name}")
        last = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()][-1:]
        return Outcome(self.mutant, "not applied", seconds, f"pytest ends with {self.code}: {' '.join(last)}")


def _log(folder: Path) -> Path:
    return folder / "pytest.log"


def _start(arguments: Sequence[str], folder: Path, limit_s: float, mutant: Mutant | None = None) -> _Running:
    """Run pytest in a fork with the packages and tests of a copy."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _run_pytest(arguments, folder)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    return _Running(pid, folder, time.monotonic(), limit_s, mutant)


def _run_pytest(arguments: Sequence[str], folder: Path) -> int:
    os.setsid()
    os.chdir(folder)
    output = os.open(_log(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(file, number)
    os.environ["PYTHONPATH"] = str(folder)
    # A server of programs for one test alone would take longer than a program.
    os.environ["SPIKELOOM_TEST_PRELOADED"] = "0"
    # What the tests without a mutant compile is used again.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Without the folders of the working tree; the environment may lie in it too.
    others = (path for path in sys.path if path and not Path(path).is_relative_to(REPOSITORY))
    libraries = (path for path in sys.path if Path(path).is_relative_to(sys.prefix))
    sys.path[:] = [str(folder), *dict.fromkeys([*others, *libraries])]
    importlib.invalidate_caches()
    import pytest

    options = ["-p", "no:cacheprovider", f"--basetemp={folder / 'temporary'}", "--rootdir", str(folder), "--tb=short"]
    # Hypothesis is loaded already, which its plugin for pytest notes.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, *arguments]))


def _results_without(mutants: Iterable[Mutant], folder: Path) -> dict[str, str]:
    """How each test ends without a mutant: passed, failed or skipped, by the name with and without parameters."""
    tests = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
    report = folder / "results.xml"
    process = _start([*tests, f"--junit-xml={report}"], folder, FIRST_RUN_S)
    try:
        while not process.has_ended():
            time.sleep(0.02)
    except BaseException:
        process.stop()
        raise
    if not report.exists():
        last = "\n".join(process.log.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"expected tests that can be run without a mutant, found the end {process.code}:\n{last}")
    ends: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        tags = {child.tag for child in case}
        end = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        file, name = case.get("classname", "").replace(".", "/") + ".py", case.get("name", "")
        for test in {f"{file}::{name}", f"{file}::{name.partition('[')[0]}"}:
            ends.setdefault(test, set()).add(end)
    return {test: next(end for end in ("failed", "passed", "skipped") if end in found) for test, found in ends.items()}


def _outcome_without(mutant: Mutant, results: dict[str, str]) -> Outcome | None:
    """The outcome of a mutant whose tests do not all pass without it; None if they do."""
    ends = {test: results.get(test, "failed") for test in mutant.tests}
    failing = [test for test, end in ends.items() if end == "failed"]
    if failing:
        return Outcome(mutant, "fails without it", details=", ".join(failing))
    if "passed" not in ends.values():
        return Outcome(mutant, "does not run here", details="all of its tests are skipped")
    return None
