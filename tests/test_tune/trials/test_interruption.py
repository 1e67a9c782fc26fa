"""A search whose driver is killed, interrupted and terminated: nothing is lost, repeated or left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import PATIENCE_S

from pipeline.config.run_config import RunConfig, override, to_dict
from tune.search.search_plan import Search, read_search
from tune.trials.ledger import Ledger
from tune.trials.results_tables import read_results

pytestmark = [pytest.mark.ray, pytest.mark.slow]

EPOCHS = 20
# The driver is a process of this interpreter, as a user's is; Ray starts its workers by sys.executable, which is the
# preloaded one (conftest.py) while a test runs.
INTERPRETER = sys.executable
START = """
import runpy, sys
sys.executable = sys.argv.pop(1)
runpy.run_module("tune", run_name="__main__", alter_sys=True)
"""


class Driver:
    """`spikeloom tune` in its own process group, as a terminal starts it, with a folder of its own to work in."""

    def __init__(self, temporary: Path, *words: object) -> None:
        self.process = subprocess.Popen(
            [INTERPRETER, "-c", START, sys.executable, "tune", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=temporary,
            env=os.environ | {"TMPDIR": str(temporary)},
        )

    def signal(self, number: int) -> None:
        """To the whole group, as Ctrl-C goes."""
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < end, "it takes too long"
            time.sleep(0.05)


@pytest.fixture
def temporary() -> Iterator[Path]:
    # Ray's sockets need a short path, which pytest's folders have not.
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def processes_of(temporary: Path) -> list[str]:
    """Command lines of live processes that know the temporary folder: Ray's servers, workers and their kin.

    They work in it, or it is in their command line or environment. (A preloaded worker shows another environment.)
    Two idle agents of a killed Ray look for its head for one more minute before they leave; they are not waited for.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            known = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            own = os.readlink(path / "cwd") == str(temporary) or str(temporary).encode() in known
            if own and (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append((path / "cmdline").read_text().replace("\0", " ").strip())
        except OSError:
            continue
    return [command for command in found if command not in ("ray::DashboardAgent", "ray::RuntimeEnvAgent")]


def wait_for_no_process_of(temporary: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while left := processes_of(temporary):
        assert time.monotonic() < end, left
        time.sleep(0.1)


class Trials:
    """What the folder of a search holds at a moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ended(self) -> dict[str, tuple[bytes, bytes, int]]:
        """Trials with an end: their record, their epochs, and when the record was written."""
        return {
            path.parent.name: (
                path.read_bytes(),
                (path.parent / "metrics.jsonl").read_bytes(),
                path.stat().st_mtime_ns,
            )
            for path in self.folder.glob("trials/*/done.json")
        }

    def running(self) -> dict[str, list[str]]:
        """Trials without an end that have trained: what each epoch took, which no second run repeats to the digit."""
        found = {}
        for path in self.folder.glob("trials/*/timings.jsonl"):
            if not (path.parent / "done.json").exists():
                found[path.parent.name] = path.read_text().splitlines()
        return found

    def are_under_way(self, more_than: int) -> bool:
        """More trials than so many have ended, and another is well under way."""
        return len(self.ended()) > more_than and any(5 <= len(rows) < EPOCHS - 5 for rows in self.running().values())


def continued(folder: Path, before: dict[str, list[str]]) -> list[str]:
    """Trials whose epochs from before the interruption are there to the digit."""
    there = {path.parent.name: path.read_text().splitlines() for path in folder.glob("trials/*/timings.jsonl")}
    return [trial for trial, rows in before.items() if len(rows) >= 5 and there[trial][: len(rows) - 1] == rows[:-1]]


@pytest.fixture
def words(tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path) -> list[object]:
    """Six trials of 20 short epochs, none of them stopped early."""
    (tmp_path / "config.json").write_text(json.dumps(to_dict(override(tiny_config, {"schedule.epochs": EPOCHS}))))
    return [
        *("--config", tmp_path / "config.json", "--cache", tiny_cache, "--out", tmp_path / "out"),
        *("--space", "neuron.tau=1.5,2,3", "neuron.name=lif,clif", "--scheduler", "none", "--concurrent", 2),
        *("--final-seeds", 1),
    ]


@pytest.mark.long
def test_search_survives_kill_ctrl_c_and_terminate(tmp_path: Path, words: list[object], temporary: Path):
    folder = tmp_path / "out"
    trials = Trials(folder)

    driver = Driver(temporary, *words)
    driver.wait_until(lambda: trials.are_under_way(more_than=0))
    os.kill(driver.process.pid, signal.SIGKILL)
    driver.end()
    wait_for_no_process_of(temporary)
    ended, running = trials.ended(), trials.running()

    # At once, as a user would.
    driver = Driver(temporary, "--resume", folder, "--concurrent", 2)
    driver.wait_until(lambda: trials.are_under_way(more_than=len(ended)))
    driver.signal(signal.SIGINT)
    code, out, err = driver.end()
    assert (code, out) == (130, ""), err
    assert f"spikeloom: finished trials are kept. Resume with: spikeloom tune --resume {folder}" in err
    assert "Traceback" not in err
    wait_for_no_process_of(temporary)
    # What the killed driver could not tidy up went with this one's own.
    assert not list(temporary.glob("spikeloom-*"))
    assert not (folder / ".ray").exists()
    assert continued(folder, running)
    assert ended.items() <= trials.ended().items()
    ended, running = trials.ended(), trials.running()
    statuses = {row["status"] for row in read_results(folder)}
    assert {"done", "started"} <= statuses <= {"done", "started", "waiting"}

    driver = Driver(temporary, "--resume", folder, "--concurrent", 2)
    code, out, err = driver.end()
    assert code == 0, err
    assert continued(folder, running)
    assert ended.items() <= trials.ended().items()
    check_finished(folder, read_search(folder), out)

    # Once more is harmless.
    ended = trials.ended()
    code, again, _ = Driver(temporary, "--resume", folder).end()
    assert (code, again) == (0, out)
    assert trials.ended() == ended
    assert not processes_of(temporary)
    assert not list(temporary.glob("spikeloom-*"))


def check_finished(folder: Path, search: Search, out: str) -> None:
    rows = read_results(folder)
    assert [(row["status"], row["epochs"]) for row in rows] == [("done", EPOCHS)] * 6
    ledger = Ledger(folder)
    for config in search.configs():
        assert [row["epoch"] for row in ledger.metrics(config)] == list(range(1, EPOCHS + 1))
    # Results alone are on stdout, with data set, split, T, selection.
    lines = " ".join(out.split())
    assert lines.startswith("tiny, official split: complete trials, selected by validation accuracy on 15 samples")
    assert "6 trials: 6 done" in lines
    assert f"spikeloom train --config {folder}/best.json" in lines


def server_of(temporary: Path, program: str) -> int:
    """The number of a process that Ray started in the temporary folder."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[0].endswith(program) and str(temporary) in " ".join(words):
            return int(path.name)
    raise AssertionError(f"no {program}")


@pytest.mark.long
@pytest.mark.parametrize("program", ["gcs_server", "raylet"])
def test_a_search_that_lost_its_ray_ends_soon_and_says_how_to_resume(
    tmp_path: Path, words: list[object], temporary: Path, program: str
):
    trials, folder = Trials(tmp_path / "out"), tmp_path / "out"
    driver = Driver(temporary, *words)
    driver.wait_until(lambda: trials.are_under_way(more_than=0))
    ended, running = trials.ended(), trials.running()
    os.kill(server_of(temporary, program), signal.SIGKILL)
    code, out, err = driver.end()
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].endswith(f"Finished trials are kept. Resume with: spikeloom tune --resume {folder}")
    assert "Traceback" not in err
    wait_for_no_process_of(temporary)
    assert ended.items() <= trials.ended().items()
    code, out, err = Driver(temporary, "--resume", folder, "--concurrent", 2).end()
    assert code == 0, err
    assert continued(folder, running)
    assert ended.items() <= trials.ended().items()
    check_finished(folder, read_search(folder), out)


def test_sigterm_leaves_a_whole_ledger_and_no_process(tmp_path: Path, words: list[object], temporary: Path):
    trials = Trials(tmp_path / "out")
    driver = Driver(temporary, *words)
    driver.wait_until(lambda: any(len(rows) >= 3 for rows in trials.running().values()))
    os.kill(driver.process.pid, signal.SIGTERM)
    code, _, err = driver.end()
    assert code == 143, err
    assert "Resume with: spikeloom tune --resume" in err
    wait_for_no_process_of(temporary)
    assert not list(temporary.glob("spikeloom-*"))
    rows = read_results(tmp_path / "out")
    assert len(rows) == 6
    assert all(row["status"] in ("done", "started", "waiting") for row in rows)
    search, ledger = read_search(tmp_path / "out"), Ledger(tmp_path / "out")
    for config in search.configs():
        assert [row["epoch"] for row in ledger.metrics(config)] == list(range(1, len(ledger.metrics(config)) + 1))
