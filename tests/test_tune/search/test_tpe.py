"""The Parzen estimator: learns from what the ledger says, repeats nothing, and goes on as it would have."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_rows import begin

from pipeline.config.run_config import RunConfig, fingerprint, override
from preprocess.files import write_json
from tune.search.random_and_grid import sample_space
from tune.search.search_plan import Search, SearchData, read_search
from tune.search.tpe import TpeTrials
from tune.space.space import parse_space
from tune.trials.ledger import Ledger

BASE = override(RunConfig(), {"schedule.epochs": 1, "selection": "validation"})
WORDS = ("optimiser.learning_rate=0.001:1:log", "neuron.tau=1.1:4", "neuron.name=lif,clif,psn", "batch_size=4:64")


def search_of(folder: Path, samples: int, words: tuple[str, ...] = WORDS, **others: object) -> Search:
    space = parse_space(words, BASE)
    data = SearchData(emulated=False, train=1000, validation=100)
    search = Search("made-up", BASE, words, space.fields, (), "none", folder, data, "tpe", samples, **others)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    search.write(folder)
    return search


def score(config: RunConfig) -> float:
    """Best at a learning rate of 0.1, tau 2 and lif; psn hears no tau."""
    far = math.log10(config.optimiser.learning_rate / 0.1) ** 2 + (config.neuron.name != "lif") * 0.5
    return math.exp(-far - (0.3 if config.neuron.name == "psn" else abs(config.neuron.tau - 2)))


def finish(ledger: Ledger, config: RunConfig, accuracy: float, status: str = "done", energy: float = 1.0) -> None:
    row = {"epoch": 1, "validation_accuracy": accuracy, "validation_loss": 1.0, "firing_rate": 0.1}
    begin(ledger, config, [row | {"energy_uj": energy}])
    write_json(ledger.trial_folder(config) / "result.json", row | {"energy_uj": energy})
    ledger.end(config, status)  # type: ignore[arg-type]


def run(source: TpeTrials, folder: Path, count: int, value: Callable[[RunConfig], float] = score) -> list[RunConfig]:
    asked = []
    for _ in range(count):
        for config in source.ask():
            finish(Ledger(folder), config, value(config))
            asked.append(config)
    return asked


@pytest.mark.slow
def test_it_finds_better_points_than_as_many_random_ones(tmp_path: Path):
    """Medians over seeds of the best of 40: chance alone is no proof."""
    found, random = [], []
    for seed in range(5):
        folder = tmp_path / str(seed)
        search = search_of(folder, 40)
        config = override(BASE, {"seed": seed})
        source = TpeTrials(Search(**{**vars(search), "config": config}), folder)
        found.append(max(map(score, run(source, folder, 40))))
        points = sample_space(parse_space(WORDS, config), config, 40, seed)
        random.append(max(score(override(config, point)) for point in points))
    assert statistics.median(found) > statistics.median(random) + 0.02


def test_no_configuration_is_asked_for_twice_and_a_small_space_is_exhausted(tmp_path: Path):
    words = ("neuron.name=lif,clif", "neuron.tau=1.5,2,3")
    source = TpeTrials(search_of(tmp_path, 20, words), tmp_path)
    asked = run(source, tmp_path, 20)
    assert len(asked) == len({fingerprint(config) for config in asked}) == 6
    assert source.exhausted


def test_interrupted_search_proposes_what_an_uninterrupted_one_does(tmp_path: Path):
    whole = run(TpeTrials(search_of(tmp_path / "whole", 20), tmp_path / "whole"), tmp_path / "whole", 20)
    folder = tmp_path / "parts"
    first = run(TpeTrials(search_of(folder, 20), folder), folder, 13)
    again = TpeTrials(read_search(folder), folder)
    assert list(again.configs) == first
    assert first + run(again, folder, 7) == whole


def test_running_trials_are_kept_away_from(tmp_path: Path):
    source = TpeTrials(search_of(tmp_path, 30), tmp_path)
    run(source, tmp_path, 15)
    at_once = [config for _ in range(4) for config in source.ask()]
    assert len({fingerprint(config) for config in at_once}) == 4


def test_a_running_trial_changes_the_next_proposal(tmp_path: Path):
    """A failed one does not: it is no news."""
    proposed = []
    for ends in (False, True):
        folder = tmp_path / str(ends)
        source = TpeTrials(search_of(folder, 30), folder)
        run(source, folder, 15)
        (config,) = source.ask()
        if ends:
            finish(Ledger(folder), config, 0.0, "failed")
        proposed.append((config, source.ask()))
    assert proposed[0][0] == proposed[1][0] and proposed[0][1] != proposed[1][1]


def test_the_estimator_knows_which_trials_run(tmp_path: Path):
    source = TpeTrials(search_of(tmp_path, 12), tmp_path)
    (config,) = source.ask()
    running = source._history(0)
    assert running is not None and running.state.name == "RUNNING" and len(running.params) >= 3
    finish(Ledger(tmp_path), config, 0.5)
    complete = source._history(0)
    assert complete is not None and complete.state.name == "COMPLETE" and complete.params == running.params


def test_field_without_effect_is_no_part_of_a_point(tmp_path: Path):
    source = TpeTrials(search_of(tmp_path, 40), tmp_path)
    run(source, tmp_path, 40)
    assert all(("neuron.tau" in point) == (point["neuron.name"] != "psn") for point in source.search.trials)


def test_failed_trials_are_no_news_and_pruned_ones_rank_below_complete_ones(tmp_path: Path):
    source = TpeTrials(search_of(tmp_path, 30), tmp_path)
    ledger = Ledger(tmp_path)
    for k in range(30):
        (config,) = source.ask()
        status = ("done", "pruned", "failed")[k % 3]
        finish(ledger, config, score(config), status)
    assert len(source.search.trials) == 30


def test_repeats_are_one_trial_with_their_mean(tmp_path: Path):
    source = TpeTrials(search_of(tmp_path, 6, seeds=(1, 2, 3)), tmp_path)
    runs = source.ask()
    assert [config.seed for config in runs] == [1, 2, 3]
    assert len({config.neuron.tau for config in runs}) == 1
    for config, accuracy in zip(runs, (0.4, 0.5, 0.9), strict=True):
        finish(Ledger(tmp_path), config, accuracy)
    told = source._history(0)
    assert told is not None and told.values == [pytest.approx(0.6)]


def test_several_objectives_are_told_with_their_directions(tmp_path: Path):
    source = TpeTrials(search_of(tmp_path, 14, objectives=("accuracy", "energy", "timesteps")), tmp_path)
    for k in range(14):
        (config,) = source.ask()
        finish(Ledger(tmp_path), config, score(config), energy=10.0 + k)
    told = source._history(3)
    assert told is not None and told.values[1:] == [13.0, float(BASE.binning.timesteps)]


def test_points_that_are_no_configuration_are_asked_for_again(tmp_path: Path):
    # k = 8 of 4 steps: half of the proposals.
    source = TpeTrials(search_of(tmp_path, 14, ("binning.timesteps=4,8", "grad_steps=4,8", "seed=1:50")), tmp_path)
    configs = run(source, tmp_path, 14, lambda config: config.seed / 100)
    assert len({fingerprint(config) for config in configs}) == 14
