"""An address at which no cluster answers is refused before a folder is made, whatever is to run there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import tune
from pipeline.config.run_config import RunConfig
from preprocess.errors import RunError
from tests.messages import refuses
from tune.cluster.head_node import ClusterError
from tune.comparison.arms import Setting, neuron_arm
from tune.comparison.comparison_plan import Comparison
from tune.comparison.run_comparison import compare
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.options import SearchOptions
from tune.search.run_search import run_search
from tune.search.search_plan import plan_search


@pytest.fixture
def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("given", ["host:port", "auto"])
@pytest.mark.parametrize("work", ["search", "comparison", "objective"])
def test_nothing_is_made_where_no_cluster_answers(
    work: str,
    given: str,
    nobody: str,
    tiny_config: RunConfig,
    tiny_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    import ray

    # Other tests may have started one.
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", nobody)
    address = nobody if given == "host:port" else given
    folder, there = tmp_path / "out", ExecutionOptions(address=address)
    with refuses(ClusterError, where=nobody, expected="a cluster that answers", remedy="spikeloom cluster up"):
        if work == "search":
            search = plan_search("tiny", tiny_config, SearchOptions(space=("neuron.tau=2,3",)), tiny_cache)
            run_search(search, folder, execution=there)
        elif work == "comparison":
            arms = (neuron_arm("lif"), neuron_arm("clif"))
            compare(Comparison("tiny", (Setting("", tiny_config),), arms, (1,), tiny_cache), folder, place=there)
        else:
            tune.search(objective=lambda config: None, space={"x": "1,2"}, out=folder, address=address)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_unfinished_trials_needs_no_cluster(
    nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tune.objective.objective_search.ObjectiveLedger.unfinished", lambda self: ())
    there = tmp_path / "out"
    there.mkdir()
    # The cluster is not looked for: the call fails only because this folder has no results.
    with pytest.raises(RunError, match="a completed trial"):
        tune.search(objective=lambda config: None, space={"x": "1,2"}, out=there, address=nobody)
