"""Searches through a real Ray: TPE, populations, repeats, a limit of time, too little memory, and the choice's test."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config.run_config import RunConfig, fingerprint, load_config, override
from preprocess.errors import RunError
from preprocess.files import read_lines
from tune.resources.allocation import ResourceRequest
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.extreme_configs import extreme_configs
from tune.search.final_runs import FOLDER, run_final
from tune.search.options import SearchOptions
from tune.search.run_search import run_search
from tune.search.search_findings import read_findings
from tune.search.search_plan import Search, plan_search, read_search
from tune.trials import queue_and_retries
from tune.trials.ledger import Ledger
from tune.trials.results_tables import read_results

pytestmark = pytest.mark.ray

HUNGRY = '''
import os
import time
from spikingjelly.activation_based.neuron import LIFNode

class Hungry(LIFNode):
    """Has memory for batches of two."""
    def multi_step_forward(self, x):
        if self.training and x.shape[1] > 2:
            raise MemoryError
        return super().multi_step_forward(x)
'''


def plan(config: RunConfig, cache: Path, *space: str, **words: Any) -> Search:
    return plan_search("tiny", config, SearchOptions(space, **words), cache)


ONE = ExecutionOptions(request=ResourceRequest(concurrent=1))


def ended(folder: Path, search: Search) -> dict[str, str]:
    """When each trial ended."""
    ledger = Ledger(folder)
    return {fingerprint(config): str((ledger.read_done(config) or {})["ended"]) for config in search.configs()}


def test_tpe_asks_one_after_another_and_a_resumed_search_asks_for_the_rest_alone(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    words: dict[str, Any] = {"method": "tpe", "samples": 4, "scheduler": "none"}
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.1:4", "neuron.name=lif,clif", **words)
    assert search.trials == () and search.runs == 4
    findings = run_search(search, tmp_path / "out", execution=ONE)
    assert findings.counts() == {"done": 4} and findings.complete
    there = read_search(tmp_path / "out")
    first = ended(tmp_path / "out", there)
    assert run_search(there, tmp_path / "out", execution=ONE).counts() == {"done": 4}
    assert ended(tmp_path / "out", there) == first
    # The same words into the same folder are the same search.
    assert run_search(search, tmp_path / "out").counts() == {"done": 4}


def test_resumed_search_of_a_space_smaller_than_its_samples_is_complete(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.5,2", method="tpe", samples=5, scheduler="none")
    for _ in range(2):
        findings = run_search(search, tmp_path / "out", execution=ONE)
        assert findings.complete and findings.counts() == {"done": 2}
        search = read_search(tmp_path / "out")


@pytest.mark.long
def test_choice_is_trained_anew_on_other_seeds_and_tested_once(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.5,2", final_seeds=2, scheduler="none")
    folder = tmp_path / "out"
    findings = run_search(search, folder, execution=ONE)
    final = run_final(findings, folder, execution=ONE)
    assert final is not None and len(final.accuracies) == 2 and final.samples == 30
    said = json.loads((folder / "final.json").read_text())
    assert said["seeds"] == [tiny_config.seed + 1, tiny_config.seed + 2]
    assert said["trial"] == findings.ranked[0]["trial"] and said["selection"] == "last"
    for run in said["runs"]:
        config = load_config(Path(run) / "config.json")
        # All training samples train, for as many epochs as validation chose.
        assert (config.selection, config.schedule.last_epoch) == ("last", said["epochs"])
        assert config.neuron.tau == findings.ranked[0]["neuron.tau"]
    # Trials never saw a test sample.
    assert not list((folder / "trials").rglob("predictions.npz"))
    before = (folder / FOLDER / "trials").stat().st_mtime_ns
    again = run_final(read_findings(search, folder), folder)
    assert again == final and (folder / FOLDER / "trials").stat().st_mtime_ns == before


def test_population_goes_on_from_its_best_and_its_choice_is_trained_in_the_same_parts(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    config = override(tiny_config, {"schedule.epochs": 5})
    words = ("optimiser.learning_rate=0.001:0.1:log", "network.dropout=0,0.1")
    search = plan(config, tiny_cache, *words, method="pbt", samples=4, interval=2, final_seeds=1)
    folder = tmp_path / "out"
    findings = run_search(search, folder, execution=ONE)
    there = read_search(folder)
    assert len(there.trials) == 12 and findings.counts() == {"done": 12}
    # Only the last generation is whole: its members carry their whole history.
    assert len(findings.ranked) == 4
    runs = {fingerprint(each): each for each in there.configs()}
    for row in findings.ranked:
        member = runs[row["trial"]]
        assert len(Ledger(folder).metrics(member)) == 5
        assert len(read_lines(Ledger(folder).trial_folder(member) / "timings.jsonl")) == 1
        parent = runs[str(member.start_from)]
        assert Ledger(folder).metrics(member)[:4] == Ledger(folder).metrics(parent)
    # What is trained once is counted once: five epochs of four members.
    spent, full = findings.budget()
    assert spent == full == search.data.train * config.binning.timesteps * 5 * 4
    best = load_config(folder / "best.json")
    assert best.start_from is not None and Path(best.start_from).is_dir()
    final = run_final(findings, folder, execution=ONE)
    assert final is not None and len(final.accuracies) == 1


@pytest.mark.long
def test_several_seeds_of_a_configuration_are_ranked_by_their_mean(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.5,3", method="grid", repeats=2, scheduler="none")
    findings = run_search(search, tmp_path / "out", execution=ONE)
    rows = read_results(tmp_path / "out")
    assert len(rows) == 4 and {row["seed"] for row in rows} == {tiny_config.seed, tiny_config.seed + 1}
    for group in findings.ranked:
        own = [row["validation_accuracy"] for row in rows if row["neuron.tau"] == group["neuron.tau"]]
        assert group["runs"] == 2 and group["validation_accuracy"] == pytest.approx(sum(own) / 2)
    assert "±" in "".join(findings.table().rows[0]) and "means over 2 seeds" in findings.table().title


@pytest.mark.long
def test_time_that_is_up_leaves_trials_that_a_resumed_search_ends(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None, capsys, monkeypatch
):
    """The time limit is reached after the first epoch of the first trial, which a resumed search continues."""
    config = override(tiny_config, {"schedule.epochs": 400})
    search = plan(config, tiny_cache, "neuron.tau=1.5,2", scheduler="none")
    folder = tmp_path / "out"

    def clock() -> float:
        return time.monotonic() + (3600 if any(folder.glob("trials/*/metrics.jsonl")) else 0)

    monkeypatch.setattr(queue_and_retries, "time", SimpleNamespace(monotonic=clock))
    findings = run_search(search, folder, execution=ExecutionOptions(request=ResourceRequest(concurrent=1), hours=1.0))
    monkeypatch.undo()
    assert not findings.complete and findings.ranked == []
    assert "stopped, because the time limit is reached" in capsys.readouterr().err
    counts = findings.counts()
    assert counts["started"] + counts["waiting"] == 2
    started = next(row for row in findings.rows if row["status"] == "started")
    assert 0 < started["epochs"] < 400
    search = plan(override(config, {"schedule.epochs": 3}), tiny_cache, "neuron.tau=1.5", scheduler="none")
    assert run_search(search, tmp_path / "other", execution=ExecutionOptions(hours=1.0)).complete


@pytest.mark.long
def test_trial_that_memory_does_not_hold_is_trained_in_pieces_and_marked(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    (tmp_path / "hungry.py").write_text(HUNGRY)
    search = plan(tiny_config, tiny_cache, f"neuron.name=lif,{tmp_path}/hungry.py:Hungry", scheduler="none")
    findings = run_search(search, tmp_path / "out", execution=ONE)
    assert findings.counts() == {"done": 2}
    pieces = {row["neuron.name"].rpartition(":")[2]: row["micro_batch"] for row in findings.rows}
    # A batch of five in halves: two at once.
    assert pieces == {"lif": None, "Hungry": 2}
    assert any("1 trial did not fit in memory" in sentence for sentence in findings.sentences())


def test_what_a_trial_takes_is_measured_before_several_run(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.5,2", "binning.timesteps=2,4", scheduler="none")
    run_search(search, tmp_path / "out")
    (measured,) = json.loads((tmp_path / "out" / "memory.json").read_text()).items()
    most_expensive = [config for config in search.configs() if config.binning.timesteps == 4]
    assert measured[0].split()[0] in {fingerprint(config) for config in most_expensive}
    # Python, PyTorch and a tiny network.
    assert 2e8 < measured[1]["memory"] < 3e9


@pytest.mark.long
def test_search_that_asks_for_its_trials_measures_its_costliest_corner_and_is_bound_to_its_data_from_the_start(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None
):
    neuron = tmp_path / "mine.py"
    neuron.write_text(HUNGRY.replace("shape[1] > 2", "shape[1] > 99"))
    words = (f"neuron.name=lif,{neuron}:Hungry", "binning.timesteps=2:4", "neuron.tau=1.1:4")
    search = plan(tiny_config, tiny_cache, *words, method="tpe", samples=2, scheduler="none")
    folder = tmp_path / "out"
    run_search(search, folder)
    measured = {key.split()[0] for key in json.loads((folder / "memory.json").read_text())}
    stands = {fingerprint(config): config.binning.timesteps for config in extreme_configs(search)}
    assert [stands[trial] for trial in measured] == [4]
    assert set(json.loads((folder / "basis.json").read_text())) == {"data set tiny", f"the file {neuron}"}
    neuron.write_text(neuron.read_text() + "# another")
    with pytest.raises(RunError, match=r"mine\.py .*changed since\. Choose another --out"):
        run_search(read_search(folder), folder)


@pytest.mark.long
def test_objectives_have_a_front(tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None):
    words: dict[str, Any] = {"method": "grid", "objectives": ("accuracy", "energy")}
    search = plan(tiny_config, tiny_cache, "binning.timesteps=2,4", "neuron.name=lif,clif", **words)
    assert search.scheduler == "none"
    findings = run_search(search, tmp_path / "out", execution=ONE)
    front = findings.front
    cheapest = min(findings.ranked, key=lambda row: row["energy_uj"])
    assert cheapest in front and findings.ranked[0]["validation_accuracy"] == front[0]["validation_accuracy"]
    said = json.loads((tmp_path / "out" / "best.json").read_text())["search"]
    assert said["front"] == [row["trial"] for row in front]
    assert {path.stem for path in (tmp_path / "out" / "figures").iterdir()} >= {"pareto", "budget", "accuracy"}


@pytest.mark.long
def test_trials_run_one_at_a_time_where_the_costliest_does_not_fit(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None, capsys
):
    (tmp_path / "hungry.py").write_text(HUNGRY)
    search = plan(
        tiny_config, tiny_cache, f"neuron.name={tmp_path}/hungry.py:Hungry", "neuron.tau=1.5,2", scheduler="none"
    )
    assert run_search(search, tmp_path / "out").counts() == {"done": 2}
    assert "running one trial per machine" in capsys.readouterr().err
    # Each computes on all CPUs.
    (environment, _) = (json.loads(path.read_text()) for path in (tmp_path / "out").rglob("environment.json"))
    assert environment["threads"] == len(os.sched_getaffinity(0))
