"""The part of a storage that a search uses: its own, found again on resume, and named in every printed command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import make_cache, write_search

from pipeline.config.run_config import RunConfig
from preprocess.errors import RunError
from tune.cluster import ray_session
from tune.cluster.storage_check import _report_unused_checkpoints
from tune.comparison.comparison_plan import compare_neurons
from tune.comparison.run_comparison import compare
from tune.resources.storage_settings import own_storage, with_kept_storage
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.final_runs import run_final
from tune.search.options import SearchOptions
from tune.search.run_search import run_search
from tune.search.search_findings import read_findings
from tune.search.search_plan import plan_search
from tune.trials import run_trials
from tune.trials.trial_job import TrialJob


class Notes:
    """A progress that collects its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def folder_at(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_searches_of_one_name_have_parts_of_their_own(tmp_path: Path):
    folders = [folder_at(tmp_path / name / "search") for name in ("a", "b")]
    parts = [own_storage(folder, ExecutionOptions(storage="s3://bucket/x/")).storage for folder in folders]
    assert all(re.fullmatch(r"s3://bucket/x/search-[0-9a-f]{8}", str(part)) for part in parts)
    assert parts[0] != parts[1]


def test_resumed_search_finds_its_part_wherever_its_folder_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    folder = folder_at(tmp_path / "search")
    first = own_storage(folder, ExecutionOptions(storage="shared"))
    assert str(first.storage).startswith(f"{tmp_path}/shared/search-")
    moved = folder.rename(folder_at(tmp_path / "elsewhere") / "renamed")
    monkeypatch.chdir("/")
    notes: Any = Notes()
    assert (
        own_storage(moved, ExecutionOptions(), notes)
        == own_storage(moved, ExecutionOptions(storage=f"{tmp_path}/shared"), notes)
        == first
    )
    assert with_kept_storage(moved, ExecutionOptions("auto")) == ExecutionOptions("auto", storage=f"{tmp_path}/shared")
    assert notes.lines == []


def test_other_storage_is_taken_with_a_line_and_kept(tmp_path: Path):
    notes: Any = Notes()
    own_storage(tmp_path, ExecutionOptions(storage="s3://one"), notes)
    other = own_storage(tmp_path, ExecutionOptions(storage="s3://two"), notes)
    assert str(other.storage).startswith("s3://two/")
    assert own_storage(tmp_path, ExecutionOptions(), notes) == other
    assert notes.lines == ["checkpoints at s3://one are not used: unfinished trials start again from scratch"]


def test_no_storage_leaves_no_file(tmp_path: Path):
    assert own_storage(tmp_path, ExecutionOptions()) == ExecutionOptions()
    assert not any(tmp_path.iterdir())


def test_damaged_file_is_a_line(tmp_path: Path):
    (tmp_path / "storage.json").write_text(json.dumps({"url": "s3://one"}))
    with pytest.raises(
        RunError, match=r"storage\.json: expected the keys url and part, found others\. Delete the file, and give"
    ):
        own_storage(tmp_path, ExecutionOptions())


def test_printed_command_says_where_and_takes_spaces():
    place = ExecutionOptions("10.0.0.1:6379", storage="/a shared/folder")
    told = "spikeloom compare --resume /runs/one --address 10.0.0.1:6379 --storage '/a shared/folder'"
    assert place.resume("compare", Path("/runs/one")) == told
    assert ExecutionOptions().resume("tune", Path("/runs/one")) == "spikeloom tune --resume /runs/one"


def test_checkpoints_without_epochs_at_home_are_named(tmp_path: Path):
    for trial in ("0123456789ab", "ba9876543210", "final"):
        folder_at(tmp_path / "storage" / trial)
    home = folder_at(tmp_path / "home" / "trials" / "ba9876543210")
    (home / "metrics.jsonl").touch()
    notes: Any = Notes()
    _report_unused_checkpoints(str(tmp_path / "storage"), tmp_path / "home", notes)
    told = f"{tmp_path}/storage: checkpoints of 0123456789ab are not used: their epochs are not in {tmp_path}/home"
    assert notes.lines == [told]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[TrialJob]:
    """Every job whose trials would run; none of them is run, and no cluster is asked."""
    found: list[TrialJob] = []

    def run(source: Any, job: TrialJob, **_: Any) -> bool:
        found.append(job)
        return False

    monkeypatch.setattr(run_trials, "run_trials", run)
    monkeypatch.setattr(ray_session, "check_cluster", lambda address: None)
    return found


REMOTE = ExecutionOptions("10.0.0.1:6379", storage="s3://bucket")
OPTIONS = "--address 10.0.0.1:6379 --storage s3://bucket"


def test_final_evaluation_resumes_with_the_search_and_uses_a_folder_below_its_part(
    tmp_path: Path, jobs: list[TrialJob]
):
    folder = tmp_path / "search"
    cache = make_cache(tmp_path / "made")
    search = replace(write_search(folder, failed=0), final_seeds=2, cache=cache)
    part = own_storage(folder, REMOTE).storage
    run_final(read_findings(search, folder), folder, execution=REMOTE)
    (job,) = jobs
    assert job.resume == f"spikeloom tune --resume {folder} {OPTIONS}"
    assert (job.folder, job.execution.storage, job.open_test) == (folder / "final", f"{part}/final", True)


def test_search_has_its_own_part_of_the_storage(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, jobs: list[TrialJob]
):
    search = plan_search("tiny", tiny_config, SearchOptions(("neuron.tau=1.5,2",)), tiny_cache)
    run_search(search, tmp_path / "s", execution=REMOTE)
    (job,) = jobs
    assert job.folder == tmp_path / "s" and re.fullmatch(r"s3://bucket/s-[0-9a-f]{8}", str(job.execution.storage))
    assert job.resume == f"spikeloom tune --resume {tmp_path / 's'} {OPTIONS}" and not job.open_test


def test_comparison_resumes_by_itself_and_has_its_own_part(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, jobs: list[TrialJob]
):
    comparison = compare_neurons("tiny", tiny_config, ("lif", "clif"), (0, 1), tiny_cache)
    with pytest.raises(RunError, match="expected a run with a result, found none"):
        compare(comparison, tmp_path / "c", place=REMOTE)
    (job,) = jobs
    assert job.folder == tmp_path / "c" and re.fullmatch(r"s3://bucket/c-[0-9a-f]{8}", str(job.execution.storage))
    assert job.resume == f"spikeloom compare --resume {job.folder} {OPTIONS}"
    # Micro-batches would change batch norm, and so more than the neuron.
    assert job.open_test and not job.accumulate
