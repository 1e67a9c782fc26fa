"""Fixtures for every test: the real recordings, and settings that keep runs small and repeatable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import preloaded.server
import pytest

# Before anything imports Ray or starts a thread pool: no telemetry, one thread, no display. Networks of tests are so
# small that a second thread mostly waits, which costs as much processor time as the first one's work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Trials that have the machine to themselves still compute on all CPUs: OpenMP's threads must not spin while they wait,
# which where several test files run at once took eight times the processor time of the trial itself.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell has what it runs in the background ignore Ctrl-C, and children inherit that: tests of Ctrl-C need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests or Ray first, those with most of them in front: they wait a lot, beside the others."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("ray"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files whose tests start Ray run one after another in two processes, beside the others in a third.

    Two clusters and a search have thirty processes that watch each other: with three such files at a time on two cores,
    tests took four times as long as by themselves. Those that start clusters of their own have a process without the
    shared Ray.
    """
    from xdist.scheduler import LoadFileScheduling

    scopes = {}
    for file in (REPOSITORY / "tests").rglob("test_*.py"):
        text = file.read_text()
        if "mark.ray" in text:
            which = "the shared Ray" if "shared_ray" in text else "a Ray of their own"
            scopes[file.relative_to(REPOSITORY).as_posix()] = f"files with {which}"

    class TwoWithRayAtATime(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return scopes.get(file, file)

    return TwoWithRayAtATime(config, log)


# Programs of tests marked `ray` or `preloaded` are forked from a process that has loaded the libraries
# (tests/preloaded), which takes most of their time otherwise; 0 has each load them itself, as make test-all does.
PRELOADED = os.environ.get("SPIKELOOM_TEST_PRELOADED", "1") != "0" and sys.platform == "linux"
INTERPRETER = sys.executable


class _PreloadedPrograms:
    """Replaces sys.executable with the preloaded interpreter while a test marked `ray` or `preloaded` runs.

    Processes that share the tests (pytest -n) share one server, that of the process that starts them.
    """

    def __init__(self, executable: str) -> None:
        self.executable = executable
        self.folder: Path | None = None
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """The executable, of the server that is started if there is none."""
        if not self.executable:
            self.folder = Path(tempfile.mkdtemp(prefix="spikeloom-preloaded-"))
            executable, self.server = preloaded.server.start(self.folder)
            self.executable = str(executable)
        return self.executable

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["preloaded"] = self.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        marked = item.get_closest_marker("ray") or item.get_closest_marker("preloaded")
        if not marked or item.get_closest_marker("new_interpreter"):
            return (yield)
        sys.executable = self.start()
        try:
            return (yield)
        finally:
            sys.executable = INTERPRETER

    def pytest_unconfigure(self) -> None:
        if self.server is not None and self.folder is not None:
            assert self.server.stdin is not None
            self.server.stdin.close()
            self.server.wait()
            shutil.rmtree(self.folder)


def pytest_configure(config: pytest.Config) -> None:
    if PRELOADED:
        there: dict[str, str] = getattr(config, "workerinput", {})
        config.pluginmanager.register(_PreloadedPrograms(there.get("preloaded", "")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings: $SPIKELOOM_TEST_DATA, else ../shared/data; skips where it is missing."""
    folder = Path(os.environ.get("SPIKELOOM_TEST_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
    if not (folder / "n-mnist").is_dir():
        pytest.skip(f"no real recordings: set SPIKELOOM_TEST_DATA to their folder (looked in {folder})")
    return folder


# The share of the long fault and fuzz counts that runs: make test takes this default, make test-all takes 1.
SHARE = float(os.environ.get("SPIKELOOM_TEST_SHARE") or 0.02)

hypothesis.settings.register_profile(
    "spikeloom",
    max_examples=max(20, round(1000 * SHARE)),
    deadline=None,
    derandomize=True,
    # Fixtures such as tmp_path are only read by the tests that use them with Hypothesis.
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("spikeloom")


@pytest.fixture(scope="session")
def share_of() -> Callable[[int], int]:
    """Scales a full count of cases to this run's share; at least two."""
    return lambda full: max(2, round(full * SHARE))


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """One Ray for the whole session; starting one takes seconds."""
    from tune.cluster.ray_session import ray_running

    with ray_running():
        yield
