"""A search method that is added at run time: one description in the registry is all that the product needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from messages import refuses

from pipeline.config.run_config import RunConfig, fingerprint
from preprocess.errors import ConfigError
from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS
from tune.resources.allocation import ResourceRequest
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.options import SearchOptions
from tune.search.random_and_grid import sample_space
from tune.search.registry import SEARCH_METHODS
from tune.search.run_search import run_search
from tune.search.search_method import SearchMethod
from tune.search.search_plan import Search, plan_search, read_search
from tune.space.space import parse_space
from tune.trials.ledger import Ledger


class OneByOne:
    """Proposes a random point, and the next one after its result."""

    def __init__(self, search: Search, folder: Path) -> None:
        self.search, self._folder = search, folder
        space = parse_space(search.space, search.config)
        self._points = sample_space(space, search.config, search.samples, search.config.seed)

    @property
    def configs(self) -> Sequence[RunConfig]:
        return self.search.configs()

    open = configs

    @property
    def exhausted(self) -> bool:
        return len(self.search.trials) >= len(self._points)

    def ask(self) -> Sequence[RunConfig]:
        ledger = Ledger(self._folder)
        if self.exhausted or any(ledger.read_done(config) is None for config in self.configs):
            return ()
        changes = self._points[len(self.search.trials)]
        self.search = replace(self.search, trials=(*self.search.trials, changes))
        self.search.write(self._folder)
        return self.search.repeats(changes)

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        pass


@pytest.fixture(autouse=True)
def method(monkeypatch: pytest.MonkeyPatch) -> SearchMethod:
    found = SearchMethod(
        name="one-by-one",
        summary="a random point after each result",
        draw=sample_space,
        runs=lambda search: search.samples,
        source=OneByOne,
        default_samples=2,
        schedulers=("none",),
        several_objectives=False,
        repeats=False,
        searchable=("neuron.",),
        fixed=("neuron.name",),
        limits="It waits for each result.",
    )
    monkeypatch.setitem(SEARCH_METHODS, found.name, found)
    return found


def test_options_follow_the_description(method: SearchMethod, tiny_config: RunConfig, tiny_cache: Path):
    def plan(*space: str, **options: Any) -> Search:
        return plan_search("tiny", tiny_config, SearchOptions(space, method=method.name, **options), tiny_cache)

    search = plan("neuron.tau=1.5,2,3,4")
    assert (search.samples, search.runs, search.trials, search.scheduler) == (2, 2, (), "none")
    assert Search.from_dict(json.loads(json.dumps(search.to_dict()))) == search
    with refuses(ConfigError, where="--search one-by-one", expected="--repeats 1", remedy=method.limits, errors=4):
        plan("neuron.tau=1.5,2", repeats=2, scheduler="asha", objectives=("accuracy", "energy"))
    with refuses(ConfigError, found="network.width", remedy="neuron.* (but not neuron.name)", errors=2):
        plan("network.width=0.5,1", "neuron.name=lif,clif")
    with refuses(ConfigError, where="--interval", expected="generations", found="one-by-one"):
        plan("neuron.tau=1.5,2", interval=2)


def test_help_lists_the_registered_methods_and_opens_with_the_main_options(capsys):
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=["tune", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--search {random,grid,tpe,pbt" in shown and "every combination" in " ".join(shown.replace("│", "").split())
    assert "--samples" in shown and "--scheduler" not in shown


@pytest.mark.ray
def test_search_runs_resumes_and_reports_with_it(
    method: SearchMethod, tiny_config: RunConfig, tiny_cache: Path, tmp_path: Path, shared_ray: None, capsys
):
    config = replace(tiny_config, schedule=replace(tiny_config.schedule, epochs=1))
    options = SearchOptions(("neuron.tau=1.5,2,3,4",), method=method.name)
    search, folder = plan_search("tiny", config, options, tiny_cache), tmp_path / "out"
    alone = ExecutionOptions(request=ResourceRequest(concurrent=1))
    findings = run_search(search, folder, execution=alone)
    assert findings.complete and findings.counts() == {"done": 2}
    there = read_search(folder)
    assert there.method == method.name and len({fingerprint(config) for config in there.configs()}) == 2
    assert run_search(there, folder, execution=alone).counts() == {"done": 2}
    capsys.readouterr()
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=["status", str(folder), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 2
