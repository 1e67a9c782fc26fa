"""Builders that are killed, and builders that meet: files stay whole, and one builds while others wait."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_builds import Notes, check, decoded, whole_files
from tiny_layout import TinyLayout, random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building import part_plans
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.building.cache_lock import building
from preprocess.errors import CacheError
from preprocess.events import Events
from preprocess.terminal.progress import Progress

TESTS = Path(__file__).resolve().parent.parent.parent

# A builder in a process of its own; it makes every recording a part and decodes slowly, so that kills hit all moments.
BUILDER = """
import pickle, sys
from pathlib import Path
from preprocess.building import part_plans
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
part_plans._PART_BYTES = 0
if __name__ == "__main__":
    layout = pickle.loads(Path(sys.argv[1]).read_bytes())
    build_event_store(layout, Path(sys.argv[2]), workers=int(sys.argv[3]))
    ensure_frames(Path(sys.argv[2]), layout.name, Binning(4))
"""


@pytest.fixture
def samples() -> list[Events]:
    return [random_events(i, 200 + 10 * i, ordered=i % 3 > 0) for i in range(12)]


@pytest.fixture(autouse=True)
def _one_recording_a_part(monkeypatch) -> None:
    monkeypatch.setattr(part_plans, "_PART_BYTES", 0)


def start_builder(layout: TinyLayout, cache: Path, workers: int = 1) -> subprocess.Popen[str]:
    import pickle

    script, pickled = cache.parent / "builder.py", cache.parent / "layout.pickle"
    script.write_text(BUILDER)
    pickled.write_bytes(pickle.dumps(layout))
    words = [sys.executable, str(script), str(pickled), str(cache), str(workers)]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.Popen(words, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)


def wait_for(condition, what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_builders_are_taken_up(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples, chunk=100, delay_s=0.02)
    cache = tmp_path / "cache"
    folder = cache / "tiny" / ".parts"
    for kept in (1, 4, 9):
        builder = start_builder(layout, cache)
        wait_for(lambda kept=kept: folder.exists() and len(list(folder.glob("[!.]*.h5"))) >= kept, "no parts")
        builder.kill()
        builder.communicate()
        assert whole_files(cache / "tiny") == set()
    before = len(decoded(layout))
    builder = start_builder(layout, cache)
    assert builder.communicate()[1] == ""
    check(cache / "tiny" / "events.h5", samples)
    # Nine parts were whole: at most the last three were decoded now, and no more than one was lost by each kill.
    assert len(decoded(layout)) - before <= 3
    assert len(decoded(layout)) <= 12 + 3
    assert whole_files(cache / "tiny") == {"events.h5", "frames/number-T4-8x10.h5"}


@pytest.mark.slow
def test_kills_at_any_moment_leave_only_whole_files(tmp_path: Path, samples: list[Events], share_of):
    layout = tiny_layout(tmp_path / "src", samples, chunk=100, delay_s=0.004)
    rng = np.random.default_rng(5)
    builder = start_builder(layout, tmp_path / "reference")
    started = time.monotonic()
    builder.communicate()
    usual = time.monotonic() - started
    for k in range(share_of(100)):
        cache = tmp_path / f"cache{k}"
        builder = start_builder(layout, cache)
        # The second half is where files are written; the first is Python starting.
        time.sleep(usual * rng.uniform(0.4, 1.0))
        builder.kill()
        builder.communicate()
        if (cache / "tiny" / "events.h5").exists():
            check(cache / "tiny" / "events.h5", samples)
        check(build_event_store(layout, cache), samples)
        ensure_frames(cache, "tiny", Binning(4))
        assert {"events.h5", "frames/number-T4-8x10.h5"} == whole_files(cache / "tiny")
        shutil.rmtree(cache)


def test_killed_builder_takes_its_workers_along(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples, chunk=100, delay_s=0.02)
    builder = start_builder(layout, tmp_path / "cache", workers=2)
    folder = tmp_path / "cache" / "tiny" / ".parts"
    wait_for(lambda: folder.exists() and any(folder.glob("[!.]*.h5")), "no parts")
    builder.kill()
    # The workers hold the builder's stderr: it ends when the last of them does.
    builder.communicate(timeout=20)
    check(build_event_store(layout, tmp_path / "cache"), samples)


def test_of_two_builders_one_builds_and_the_other_waits(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples, chunk=100, delay_s=0.02)
    cache = tmp_path / "cache"
    builder = start_builder(layout, cache)
    wait_for(lambda: (cache / "tiny" / ".lock").exists() and decoded(layout), "it did not begin")
    notes = Notes()
    path = build_event_store(layout, cache, progress=notes)
    assert notes.lines == [f"{cache / 'tiny'}: waiting for another process that is building here"]
    check(path, samples)
    # It may have waited in turn before it made frames.
    assert all("waiting for another process" in line for line in builder.communicate()[1].splitlines())
    assert len(decoded(layout)) == 12


def test_threads_of_one_process_build_once(tmp_path: Path, samples: list[Events]):
    layout = tiny_layout(tmp_path / "src", samples, chunk=100, delay_s=0.002)
    threads = [
        threading.Thread(target=build_event_store, args=(layout, tmp_path / "cache"), kwargs={"progress": Notes()})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded(layout)) == 12
    check(tmp_path / "cache" / "tiny" / "events.h5", samples)


def test_a_folder_may_vanish_while_it_is_made_and_before_it_is_locked(tmp_path: Path, monkeypatch):
    """As where another builder removes the folder of its failed build at just these moments."""
    folder, make, moments = tmp_path / "tiny", Path.mkdir, ["while made", "before locked"]

    def mkdir(path: Path, *words: Any, **options: Any) -> None:
        moment = moments.pop(0) if moments else None
        if moment == "while made":
            raise FileExistsError
        make(path, *words, **options)
        if moment == "before locked":
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with building(folder, Progress()):
        assert not moments
        (folder / "events.h5").write_text("whole")


@pytest.mark.parametrize("place", ["link", "link/tiny", "file", "file/tiny"])
def test_a_path_with_a_file_or_a_broken_link_is_one_line(tmp_path: Path, place: str):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    refused = pytest.raises(CacheError, match="expected a folder that can be written and locked")
    with refused, building(tmp_path / place, Progress()):
        pass


def test_a_build_that_failed_leaves_no_folder_and_who_waited_makes_it(tmp_path: Path):
    folder, waits, failed = tmp_path / "cache" / "tiny", threading.Event(), threading.Event()

    class Waiting(Progress):
        def note(self, text: str) -> None:
            waits.set()

    def wait_and_build() -> None:
        with building(folder, Waiting()):
            assert failed.is_set()
            (folder / "events.h5").write_text("whole")

    def fail(place: Path, before: Callable[[], object] = bool) -> None:
        with contextlib.suppress(ValueError), building(place, Progress()):
            before()
            failed.set()
            raise ValueError("damaged")

    other = threading.Thread(target=wait_and_build)
    fail(folder, lambda: (other.start(), waits.wait(10)))
    other.join()
    # What was there before stays.
    fail(folder)
    assert (folder / "events.h5").read_text() == "whole"
    fail(tmp_path / "cache" / "other")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny"]
