"""What stands for trials that are not asked for yet: every class, and the costliest of them all."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.run_config import RunConfig, override
from tune.resources.trial_memory import Extent, most_expensive
from tune.search.extreme_configs import extreme_configs
from tune.search.search_plan import Search, SearchData
from tune.space.space import parse_space

BASE = override(RunConfig(), {"dataset.name": "tiny", "binning.timesteps": 4, "selection": "validation"})
EXTENTS = {"tiny": Extent(34, 34, duration_us=300_000, events=4000)}


def search_of(*words: str, method: str = "tpe") -> Search:
    space = parse_space(words, BASE)
    trials = () if method == "tpe" else ({},)
    data = SearchData(emulated=False, train=50, validation=10)
    return Search("tiny", BASE, words, space.fields, trials, "none", Path("cache"), data, method, 5)


def test_costliest_corner_has_the_largest_of_everything():
    words = ("binning.timesteps=4:64", "batch_size=4:500", "network.width=0.5,2,1", "neuron.tau=1.1:4")
    found = most_expensive(extreme_configs(search_of(*words)), EXTENTS)
    # No batch is larger than the training set.
    assert (found.binning.timesteps, found.batch_size, found.network.width) == (64, 50, 2.0)


def test_values_behind_conditions_are_looked_at():
    words = ("neuron.name=lif,clif", "binning.timesteps=4:64 if neuron.name=clif", "optimiser.learning_rate=0.01:1:log")
    assert most_expensive(extreme_configs(search_of(*words)), EXTENTS).binning.timesteps == 64


def test_every_class_has_a_corner():
    words = ("neuron.name=lif,mine.py:Mine,other.py:Other", "neuron.tau=1.1:4")
    names = {config.neuron.name.rpartition("/")[2] for config in extreme_configs(search_of(*words))}
    assert names == {"lif", "mine.py:Mine", "other.py:Other"}


def test_trials_that_are_known_need_no_corners():
    assert extreme_configs(search_of("neuron.tau=2,3", method="grid")) == []


def test_frames_that_are_not_resized_have_the_size_of_the_sensor():
    whole, small = (override(BASE, {"input.size": size}) for size in (None, 16))
    halved = override(BASE, {"input.size": None, "binning.downsample": 3})
    assert most_expensive([small, whole], EXTENTS) == whole
    assert most_expensive([halved, small], EXTENTS) == small


def test_where_samples_differ_in_t_the_largest_sample_decides():
    def by(rule: str, **fields: int) -> RunConfig:
        told = {"binning.split_by": rule} | {f"binning.{name}": value for name, value in fields.items()}
        return override(BASE, told)

    forty = override(BASE, {"binning.timesteps": 40})
    thirty, sixty = by("duration", duration_us=10_000), by("duration", duration_us=5_000)
    fifty = by("time_window", duration_us=8_000, overlap=2_000)
    twenty, eighty = by("event_count", event_count=200), by("event_count", event_count=100, overlap=50)
    costs = [twenty, thirty, forty, fifty, sixty, eighty]
    while costs:
        assert most_expensive(costs[::-1], EXTENTS) == costs.pop()
