"""The soak at a tiny size, and that each of its checks can fail."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import __main__ as command
from benchmarks.soak import ledger_check, loader_rounds
from benchmarks.soak.outcome import Outcome, Setting
from benchmarks.soak.parts import clock, disk, events, kills, loaders, long_samples, samples, trials
from benchmarks.soak.recordings import moved, random_recording, write_folder
from benchmarks.soak.watching import Ended, Place, Usage, growth_of, run
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.datasets import find_layout

pytestmark = pytest.mark.preloaded

FILES = 6


def soak(folder: Path, *parts: str) -> int:
    """The command at the smallest size."""
    work, results = folder / "work", folder / "result.json"
    return command.main(command.Arguments(parts, scale=1e-4, minutes=1.0, kills=4, json=results, work=work))


@pytest.mark.slow
def test_parts_pass_are_kept_and_print_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    assert soak(tmp_path, "samples") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| part | work |") and printed.rstrip().endswith("| passed |")
    assert list((tmp_path / "work").iterdir()) == []
    # It is not run again.
    monkeypatch.setattr(command, "PARTS", {"samples": None})
    assert soak(tmp_path, "samples") == 0
    assert capsys.readouterr().out == printed


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("part", ["events", "timesteps", "sensor", "loaders", "disk"])
def test_parts_without_machines_that_end_pass(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert soak(tmp_path, part) == 0, capsys.readouterr()


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.new_interpreter
@pytest.mark.parametrize("part", ["trials", "kills", "clock", "locks", "home"])
def test_accidents_of_searches_lose_nothing(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert soak(tmp_path, part) == 0, capsys.readouterr()


def test_a_promise_that_is_not_kept_is_a_line_and_exit_code_1(tmp_path: Path, capsys, monkeypatch):
    outcomes = [Outcome("less", Usage(1.0), failures=["expected 2, found 1"]), Outcome("all", Usage(2.0))]
    monkeypatch.setattr(command, "PARTS", {"broken": lambda _: outcomes.pop(0)})
    assert soak(tmp_path, "broken") == 1
    out, err = capsys.readouterr()
    assert "| broken | less |" in out and "| 1 FAILED |" in out
    assert err.splitlines()[-1] == "benchmarks: broken: expected 2, found 1"
    # A part that failed is run again.
    assert soak(tmp_path, "broken") == 0
    with pytest.raises(SystemExit, match="expected parts among broken, found other"):
        soak(tmp_path, "other")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a few recordings."""
    folder = tmp_path_factory.mktemp("soak")
    base = random_recording(500, 12, 14, seed=1)
    layout = find_layout("folder", write_folder(folder / "raw", base, FILES), name="soak")
    build_event_store(layout, folder / "cache")
    ensure_frames(folder / "cache", "soak", Binning(7))
    return folder / "cache" / "soak"


def test_other_events_or_frames_than_were_written_are_noticed(cache: Path):
    base, other = random_recording(500, 12, 14, seed=1), random_recording(500, 12, 14, seed=2)
    frames = next((cache / "frames").glob("*.h5"))
    assert list(events.store_errors(cache / "events.h5", base, FILES)) == []
    assert list(long_samples.frame_errors(frames, base, FILES, 7)) == []
    assert len(list(events.store_errors(cache / "events.h5", other, FILES))) == FILES
    assert len(list(events.store_errors(cache / "events.h5", moved(base, 1), FILES))) == FILES
    assert "expected 7 samples, found 6" in list(events.store_errors(cache / "events.h5", base, 7))
    assert len(list(long_samples.frame_errors(frames, other, FILES, 7))) == FILES


def test_one_event_among_many_samples_that_is_another_is_noticed(tmp_path: Path):
    columns = samples.write_files(tmp_path / "raw", 40)
    layout = find_layout("n-mnist", tmp_path / "raw")
    build_event_store(layout, tmp_path / "cache")
    ensure_frames(tmp_path / "cache", "n-mnist", Binning(10))
    assert list(samples.cache_errors(tmp_path / "cache", columns)) == []
    columns["x"][17, 3] ^= 1
    assert len(list(samples.cache_errors(tmp_path / "cache", columns))) == 2
    columns["x"][17, 3] ^= 1
    columns["t"][17, 3] += 1
    assert len(list(samples.cache_errors(tmp_path / "cache", columns))) == 1


def test_loaders_that_lose_events_or_grow_are_noticed(cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(loader_rounds, "_WITH_WORKERS", 1000)
    monkeypatch.setattr(loader_rounds, "DataLoader", lambda source, **_: ((x, y) for x, y in source))
    loader_rounds.main(cache, FILES * 500, 0.0)
    rows = [tuple(row) for row in json.loads(capsys.readouterr().out)["rows"]]
    assert len(rows) == 12
    loader_rounds.main(cache, FILES * 500 + 1, 0.0)
    assert "round 0, frame cache: expected 3,001 events, found 3,000" in capsys.readouterr().out
    assert loaders.growth_errors(rows[:3]) == ["expected enough rounds to measure growth, found 3"]
    steady = [(float(k), 0.0, 100.0, 9, 3) for k in range(20)]
    assert loaders.growth_errors(steady) == []
    grown = [(float(k), 0.0, 100.0 + 10 * k, 9 + k, 3 + k) for k in range(20)]
    memory, handles, threads = loaders.growth_errors(grown)
    assert "memory" in memory and "handles" in handles and "threads" in threads


EPOCHS = 3


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A search of four trials: three are finished, one is under way."""
    for k in range(4):
        folder = tmp_path / "trials" / f"trial{k}"
        folder.mkdir(parents=True)
        lines = "".join(json.dumps({"epoch": epoch}) + "\n" for epoch in range(1, EPOCHS + (k < 3)))
        (folder / "metrics.jsonl").write_text(lines)
        (folder / "timings.jsonl").write_text(lines)
        if k < 3:
            (folder / "done.json").write_text(json.dumps({"status": "done"}))
    return tmp_path


def test_a_whole_ledger_has_no_errors_and_may_grow(ledger: Path):
    before = ledger_check.take(ledger)
    assert sorted(before.finished) == ["trial0", "trial1", "trial2"]
    (ledger / "trials" / "trial3" / "done.json").write_text(json.dumps({"status": "failed"}))
    assert list(ledger_check.errors_since(before, ledger_check.take(ledger))) == []
    assert list(ledger_check.errors_of(ledger, EPOCHS)) == []


@pytest.mark.parametrize("name", ["done.json", ""])
def test_a_lost_trial_is_noticed(ledger: Path, name: str):
    before = ledger_check.take(ledger)
    trial = ledger / "trials" / "trial1"
    (trial / name).unlink() if name else shutil.rmtree(trial)
    (error,) = ledger_check.errors_since(before, ledger_check.take(ledger))
    assert error == "trial trial1: finished before, expected it to be kept, found it lost"


def test_a_trial_that_ran_twice_is_noticed_although_its_results_are_equal(ledger: Path):
    before = ledger_check.take(ledger)
    path = ledger / "trials" / "trial2" / "metrics.jsonl"
    os.utime(path, (1, 1))
    (error,) = ledger_check.errors_since(before, ledger_check.take(ledger))
    assert error.startswith("trial trial2: ") and "the trial ran twice" in error


@pytest.mark.parametrize("epochs", [[1, 2], [1, 1, 2, 3], [1, 3, 2], [1, 2, 3, 4]])
def test_missing_and_repeated_epochs_are_noticed(ledger: Path, epochs: list[int]):
    path = ledger / "trials" / "trial0" / "metrics.jsonl"
    path.write_text("".join(json.dumps({"epoch": epoch}) + "\n" for epoch in epochs))
    (error,) = ledger_check.errors_of(ledger, EPOCHS)
    assert error == f"trial trial0: expected epochs 1 to 3 in metrics.jsonl, found {epochs}"


def test_a_damaged_file_is_noticed(ledger: Path):
    (ledger / "trials" / "trial3" / "timings.jsonl").write_text('{"epoch": 1}\n{"epo')
    (error,) = ledger_check.errors_of(ledger, EPOCHS)
    assert error.startswith("trial trial3: timings.jsonl is damaged")


def test_an_incomplete_search_is_noticed_at_its_end(ledger: Path):
    rows = ["trial,status", *(f"trial{k},done" for k in range(4))]
    (ledger / "results.csv").write_text("\n".join(rows) + "\n")
    (error,) = ledger_check.errors_at_the_end(ledger, 4)
    assert error == "expected 4 trials that are done, found {'done': 3}"
    (ledger / "trials" / "trial3" / "done.json").write_text(json.dumps({"status": "done"}))
    assert list(ledger_check.errors_at_the_end(ledger, 4)) == []
    (ledger / "results.csv").write_text("\n".join([*rows[:-1], rows[1]]) + "\n")
    assert "different trials in results.csv" in next(iter(ledger_check.errors_at_the_end(ledger, 4)))


def test_objectives_that_ran_twice_or_not_at_all_are_noticed(tmp_path: Path):
    for name, x in (("a", 0.25), ("b", 0.5)):
        folder = tmp_path / "trials" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"x": x}))
        (folder / "done.json").write_text(json.dumps({"status": "done", "score": x, "epochs": 1}))
    (tmp_path / "results.csv").write_text("status,x\ndone,0.25\ndone,0.5\n")
    log = tmp_path / "ran.txt"
    log.write_text("0.25\n0.5\n")
    assert list(trials.search_errors(tmp_path, log, 2)) == []
    log.write_text("0.25\n0.5\n0.25\n")
    assert "1 of them twice" in next(iter(trials.search_errors(tmp_path, log, 2)))
    log.write_text("0.25\n0.5\n0.75\n")
    assert len(list(trials.search_errors(tmp_path, log, 3))) == 2
    log.write_text("0.25\n0.5\n")
    (tmp_path / "trials" / "b" / "done.json").write_text(json.dumps({"status": "done", "score": 0.4, "epochs": 1}))
    assert "trial b: expected done with the score 0.5" in next(iter(trials.search_errors(tmp_path, log, 2)))


def test_results_that_an_accident_changed_are_noticed(ledger: Path, tmp_path: Path):
    shutil.copytree(ledger / "trials", tmp_path / "other" / "trials")
    assert list(clock.same_results(tmp_path / "other", ledger)) == []
    (tmp_path / "other" / "trials" / "trial0" / "metrics.jsonl").write_text("")
    assert len(list(clock.same_results(tmp_path / "other", ledger))) == 1
    path = ledger / "trials" / "trial0" / "timings.jsonl"
    path.write_text(json.dumps({"epoch": 1, "epoch_s": -86_400.0}) + "\n")
    for k in (1, 2, 3):
        (ledger / "trials" / f"trial{k}" / "timings.jsonl").unlink()
    (error,) = clock.times_of(ledger)
    assert "-86400.0 s" in error


def test_ends_on_a_full_disk_are_judged():
    def errors(code: int, err: str) -> list[str]:
        return list(disk.end_errors(Ended(code, "", err, Usage())))

    assert errors(1, "x: No space left on device; resume") == []
    assert errors(0, "") and errors(2, "something else")
    assert errors(1, "Traceback (most recent call last):\nNo space left on device")


def test_what_is_killed_is_of_its_kind():
    processes = {
        5: "python -m tune tune --resume x",
        6: "/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/raylet",
        7: "/site-packages/ray/core/src/ray/gcs/gcs_server --log_dir=/tmp/gcs_server",
        8: "ray::ImplicitFunc.train",
        9: "python agent.py --raylet-name=/raylet/raylet ",
    }
    found = {kind: kills.target_of(kind, 5, processes) for kind in kills.KINDS}
    assert found == {"worker": 8, "driver": 5, "raylet": 6, "head": 7}
    assert kills.target_of("head", 5, {}) == 5


def test_a_lost_ray_that_does_not_say_how_to_resume_is_noticed():
    assert kills.message_errors("a\nspikeloom: Ray is gone. Resume with: spikeloom tune --resume x\n") == []
    assert len(kills.message_errors("Traceback\nConnectionError: it is gone")) == 2


@pytest.mark.new_interpreter
def test_processes_of_a_place_are_found_watched_and_ended():
    with Place() as place:
        ended = run(place, ["-c", "import time; held = bytearray(50_000_000); time.sleep(1.2); print('out')"])
        assert (ended.code, ended.out) == (0, "out\n")
        assert ended.usage.seconds >= 1.2 and ended.usage.peak_mb > 50 and ended.usage.handles >= 3
        child = "import subprocess; subprocess.Popen(['sleep', '60'])"
        run(place, ["-c", child])
        assert place.wait_until_empty(patience_s=0.0) == ["sleep 60"]
    assert place.processes() == {} and not place.folder.exists()


def test_growth_is_that_of_the_last_quarter_since_the_second():
    rows = [(float(k), 0.0, 10.0 * (k >= 8), int(k >= 8)) for k in range(16)]
    assert growth_of(rows) == (10.0, 1)
    assert growth_of(rows[:3]) == (None, None)


def test_plain_frames_have_every_event():
    base = random_recording(103, 5, 6, seed=9)
    frames = long_samples.plain_frames(base, 10)
    assert frames.sum() == 103 and np.array_equal(frames.sum((1, 2, 3)), [10] * 9 + [13])


def test_moved_recordings_go_around_the_sensor():
    base = random_recording(200, 5, 6, seed=9)
    for k in (0, 1, 4, 7, 1000):
        found = moved(base, k)
        assert np.array_equal(found.x, (base.x.astype(int) + k) % 6)
        assert np.array_equal(found.y, (base.y.astype(int) + 3 * k) % 5)
        assert np.array_equal(found.p, base.p ^ (k & 1)) and np.array_equal(found.t, base.t + 1000 * k)


def test_settings_scale_to_a_least_size(tmp_path: Path):
    assert Setting(tmp_path, 0.5).count(100, 3) == 50 and Setting(tmp_path, 0.001).count(100, 3) == 3
