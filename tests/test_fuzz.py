"""Every fuzz target in short, inputs that once failed, and proof that the harness notices defects."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fuzz.every_target import TARGETS
from fuzz.mutators import Mutations, edit_json
from fuzz.supervisor import Limits, Summary, fuzz
from fuzz.target import INPUTS, Room, Target

from preprocess.formats import FORMATS

# Of processor time, for each target; seeds are read besides.
SECONDS = 0.1
MOST_BYTES = 4096


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_valid_files_are_read_and_changed_ones_read_or_refused(target: Target, tmp_path: Path):
    seeds = target.contents(tmp_path / "seeds")
    room = Room(tmp_path / "room", target)
    outcomes = [room.run(content) for content in seeds]
    assert "read" in outcomes, "no file of the tests' writers is read"
    mutations = Mutations(seeds, target.mutators, seed=1)
    end = time.process_time() + SECONDS
    while time.process_time() < end:
        room.run(mutations.next())


def test_every_format_has_a_target():
    assert set(FORMATS) <= set(TARGETS)


def test_inputs_that_once_failed_are_small_and_of_a_target():
    found = [path for path in INPUTS.rglob("*") if path.is_file()]
    assert found and all(path.parent.name in TARGETS and path.parent.parent == INPUTS for path in found)
    assert max(path.stat().st_size for path in found) <= MOST_BYTES


@pytest.mark.parametrize("target", sorted(path.name for path in INPUTS.iterdir()))
def test_inputs_that_once_failed_are_read_or_refused(target: str, tmp_path: Path):
    room = Room(tmp_path / "room", TARGETS[target])
    for path in TARGETS[target].inputs():
        room.run(path.read_bytes())


def planted(name: str, folder: Path) -> Summary:
    """What fuzzing a reader with a defect finds, in a process of its own."""
    limits = Limits(hang_s=1.0, memory_mb=64)
    return fuzz(name, seconds=0.2, findings=folder, module="planted_targets", limits=limits, bounds_checks=False)


@pytest.mark.parametrize("name", ["ValueError", "hang", "crash", "memory", "open-files"])
def test_a_planted_defect_is_reported_with_its_input(name: str, tmp_path: Path):
    summary = planted(name, tmp_path)
    (found,) = summary.findings
    assert not summary.error and found.name.startswith(f"{name}-")
    assert found.read_bytes() != b"" and found.with_suffix(".txt").exists()


def test_a_healthy_reader_has_no_findings(tmp_path: Path):
    summary = planted("healthy", tmp_path)
    assert summary.findings == [] and not summary.error
    assert 0 < summary.read < summary.executions and summary.seconds > 0.1


def test_a_process_that_cannot_start_is_an_error_of_the_run(tmp_path: Path):
    assert "no-such-target" in planted("no-such-target", tmp_path).error


@pytest.mark.parametrize("name", ["leftover", "outside", "message", "RuntimeWarning"])
def test_other_defects_are_findings_in_this_process_too(name: str, tmp_path: Path):
    from fuzz.planted_targets import TARGETS as PLANTED
    from fuzz.target import Finding

    room = Room(tmp_path / "room", PLANTED[name])

    def run_often() -> None:
        for _ in range(100):
            room.run(b"not a valid file")

    with pytest.raises(Finding) as caught:
        run_often()
    assert caught.value.kind == {"outside": "leftover"}.get(name, name)


def test_changes_are_the_same_for_the_same_seed():
    first, second = (
        [m.next() for _ in range(20)] for m in (Mutations([b'{"a": [1, 2]}'], (edit_json,), 5) for _ in "ab")
    )
    assert first == second and len(set(first)) > 10
