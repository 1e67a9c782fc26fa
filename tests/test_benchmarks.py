"""The benchmarks' own check, on little: SpikingJelly and tonic give the events and frames that we give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import acceptance_runs
from benchmarks.measured_tables import table_lines
from benchmarks.measurements import VARIABLE, read_measurements
from benchmarks.measuring import Row, format_table
from benchmarks.promises import PROMISES
from preprocess.building.build_event_store import build_event_store
from preprocess.datasets import find_layout
from preprocess.emulator.digits import emulate_digits

pytestmark = pytest.mark.preloaded

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_peers_give_equal_results():
    words = [sys.executable, "-m", "benchmarks.preprocessing", "--tiny"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| 10,000 |" in done.stdout
    # What `make bench-all` copies is the table of the work.
    lines = table_lines(done.stdout)
    assert lines[0].startswith("| work | spikeloom | peer | ratio |")
    for work in ("decode AEDAT 3.1", "another T from the events", "second process"):
        assert any(work in line for line in lines), work


@pytest.mark.long
@pytest.mark.slow
def test_frames_of_many_small_recordings_equal_those_of_peers():
    words = [sys.executable, "-m", "benchmarks.small_recordings", "--tiny"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SpikingJelly" in done.stdout and "tonic" in done.stdout and "peak memory" in done.stdout


@pytest.mark.long
@pytest.mark.slow
def test_readers_of_raw_files_give_equal_events():
    """Readers of other packages are checked where $SPIKELOOM_PEERS is an interpreter that has them."""
    words = [sys.executable, "-m", "benchmarks.decoding", "--tiny"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| work | spikeloom | peer | ratio |")
    for work in ("EVT 2.0", "EVT 3.0", "DAT", "AEDAT 4, LZ4", "AEDAT 4, Zstd", "AEDAT 2.0, DAVIS346"):
        assert any(line.startswith(f"| {work}") for line in done.stdout.splitlines()), work


LONG = ("training", "training_gesture", "training_resnet", "training_transformer")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["neurons", *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_networks_of_peers_give_equal_results(name: str):
    words = [sys.executable, "-m", f"benchmarks.{name}", "--tiny"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| work | spikeloom | peer | ratio |") and "clif" in done.stdout.lower()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["neurons_gpu"], ["training_gpu", "gesture"], ["training_gpu", "vggsnn"]], ids=" ".join
)
def test_what_is_measured_on_a_gpu_runs_and_gives_the_results_of_peers(words: list[str], tmp_path: Path):
    file = tmp_path / "measurements.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:], "--tiny"],
        cwd=REPOSITORY,
        env=os.environ | {VARIABLE: str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| work | spikeloom | peer | ratio |")
    # What exists on a GPU only: memory, fp16, its SpikingJelly kernels, torch.compile.
    part = {"neurons_gpu": "neurons", "training_gpu": f"{words[-1]}-step"}[words[0]]
    promised = {promise.name for promise in PROMISES if promise.part == part}
    found = {entry["name"] for entry in read_measurements(file)}
    neurons = {"clif-T10-bandwidth", "lif-T10-bandwidth"} | {name for name in promised if "-with-norm-" in name}
    assert found & promised == (neurons if part == "neurons" else {"bf16-speed"})


def accepted(part: str, epochs: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The measurements of a part of the acceptance at a tiny size."""
    file = folder / "measurements.jsonl"
    monkeypatch.setenv(VARIABLE, str(file))
    acceptance_runs.main(acceptance_runs.Arguments(part, folder / "work", epochs=epochs, tiny=True))
    return {entry["name"]: entry["value"] for entry in read_measurements(file)}


@pytest.mark.long
@pytest.mark.slow
def test_the_acceptance_trains_from_recordings_and_reports_what_it_promises(tmp_path: Path, monkeypatch):
    values = accepted("training", 1, tmp_path, monkeypatch)
    assert {promise.name for promise in PROMISES if promise.part == "training"} <= set(values)
    assert 0 <= values["accuracy"] <= 1 and values["samples-per-s"] > 0


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.slow
def test_the_acceptance_runs_two_trials_at_once_and_measures_their_overlap(tmp_path: Path, monkeypatch):
    values = accepted("search", 2, tmp_path, monkeypatch)
    assert values["done"] == 2.0 and 0.0 <= values["overlap"] <= 1.0


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.new_interpreter
def test_searches_leave_nothing_behind(tmp_path: Path):
    """The part of the benchmark that counts processes and files, on four trials of emulated digits."""
    emulate_digits(tmp_path / "raw", samples_per_class=8, seed=1)
    build_event_store(find_layout("emulated-digits", tmp_path / "raw"), tmp_path / "cache")
    words = ["many", "--tiny", "--preset", "digits-small", "--cache", tmp_path / "cache", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tune", *map(str, words)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| processes left | 0 |" in done.stdout and "| temporary files left | none |" in done.stdout


def test_table_says_what_was_reached():
    rows = [Row("a", "1 ms", "peer 9 ms", 9.0, 8), Row("b", "6 MB", "peer 7 MB", 6 / 7, 0.75, less=True)]
    first, second = format_table(rows).splitlines()[2:]
    assert first.endswith("| >= 8 | yes |")
    assert second.endswith("| <= 0.75 | NO |")
