"""Points of a space: distinct, valid, even and repeatable, and without what has no effect in them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.run_config import RunConfig, fingerprint, override
from pipeline.presets.registry import PRESETS
from preprocess.errors import ConfigError
from tune.search.random_and_grid import grid_space, sample_space
from tune.space.named_spaces import DEFAULT_SPACE
from tune.space.space import parse_space

BASE = PRESETS["n-mnist-small"].config


def sample(words: list[str], samples: int, seed: int = 0, config: RunConfig = BASE) -> list[dict[str, Any]]:
    return sample_space(parse_space(words, config), config, samples, seed)


def grid(*words: str) -> list[dict[str, Any]]:
    return grid_space(parse_space(words, BASE), BASE)


def test_small_space_is_tried_in_full_and_in_another_order_for_another_seed():
    points = sample([DEFAULT_SPACE], 24)
    assert len(points) == 24
    assert {(p["binning.timesteps"], p["neuron.tau"], p["neuron.name"]) for p in points} == {
        (t, tau, name) for t in (4, 8, 12) for tau in (1.5, 2.0, 3.0, 4.0) for name in ("lif", "clif")
    }
    assert points == sample([DEFAULT_SPACE], 1000) != sample([DEFAULT_SPACE], 24, seed=1)


def test_few_samples_cover_every_choice_evenly():
    points = sample([DEFAULT_SPACE, "optimiser.learning_rate=0.01:1:log"], 12)
    assert Counter(p["neuron.name"] for p in points) == {"lif": 6, "clif": 6}
    assert Counter(p["binning.timesteps"] for p in points) == {4: 4, 8: 4, 12: 4}
    # One in each twelfth of the two decades.
    decades = sorted(p["optimiser.learning_rate"] for p in points)
    assert all(10 ** (k / 6 - 2) * 0.999 <= rate <= 10 ** ((k + 1) / 6 - 2) * 1.001 for k, rate in enumerate(decades))


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_samples_are_distinct_valid_and_repeatable(samples: int, seed: int):
    words = ["binning.timesteps=2:6", "grad_steps=none,2,4,6", "neuron.tau=1.5,2"]
    points = sample(words, samples, seed)
    configs = [override(BASE, point) for point in points]  # raises where k > T
    assert len({fingerprint(config) for config in configs}) == len(points)
    # Of 40 combinations 28 have k <= T, and in six of these k = T is no other setting than none.
    assert len(points) == min(samples, 22)
    assert points == sample(words, samples, seed)


def test_ranges_stay_within_their_ends_and_reach_them():
    points = sample(["batch_size=2:5", "neuron.tau=1.5:2.5"], 200)
    assert Counter(p["batch_size"] for p in points).keys() == {2, 3, 4, 5}
    assert all(1.5 <= p["neuron.tau"] <= 2.5 for p in points)
    assert min(p["neuron.tau"] for p in points) < 1.51 and max(p["neuron.tau"] for p in points) > 2.49
    assert {p["batch_size"] for p in sample(["batch_size=1:3:log", "neuron.tau=2:3"], 60)} == {1, 2, 3}


def test_values_that_only_other_values_allow_are_kept():
    # k = 12 is out of range for the preset's T = 10, but not for T = 16.
    points = sample(["grad_steps=12", "binning.timesteps=8,16"], 10)
    assert points == [{"grad_steps": 12, "binning.timesteps": 16}]


def test_space_without_a_valid_combination_says_why():
    with pytest.raises(ConfigError, match=r"no combination is valid, because grad_steps: expected 1 to .*, found 9"):
        sample(["binning.timesteps=4,8"], 10, config=override(BASE, {"grad_steps": 9}))


def test_grid_has_every_combination_in_order():
    points = grid("neuron.name=lif,clif", "neuron.tau=1.5:3:4", "optimiser.learning_rate=0.001:0.1:log:3")
    assert [tuple(point.values()) for point in points[:4]] == [
        *(("lif", 1.5, 0.001), ("lif", 1.5, 0.01), ("lif", 1.5, 0.1), ("lif", 2.0, 0.001)),
    ]
    assert len(points) == 2 * 4 * 3
    assert [point["batch_size"] for point in grid("batch_size=4:7")] == [4, 5, 6, 7]


def test_grid_without_an_end_says_how_to_give_it_one():
    with pytest.raises(ConfigError) as caught:
        grid("neuron.tau=1.5:3 if neuron.name=lif", "neuron.name=lif,clif")
    assert caught.value.errors == (
        "--search grid: expected a finite number of values, found neuron.tau=1.5:3.0. State how many to try: "
        "neuron.tau=lo:hi:N, such as neuron.tau=1.5:3.0:5",
    )
    with pytest.raises(ConfigError, match="expected at most 100,000 combinations, found more"):
        grid("seed=0:511", "batch_size=1:512")


def test_field_is_searched_where_its_condition_holds():
    points = grid("neuron.alpha=0.5,2 if neuron.surrogate=atan,sigmoid", "neuron.surrogate=rect,atan,sigmoid")
    assert points == [
        {"neuron.surrogate": "rect"},
        *({"neuron.surrogate": name, "neuron.alpha": alpha} for name in ("atan", "sigmoid") for alpha in (0.5, 2.0)),
    ]


def test_conditions_depend_on_each_other_in_whatever_order_they_are_given():
    points = grid(
        "loss.mse_target=constant,one-hot if loss.mse_weight=0.1",
        "loss.mse_weight=0.05,0.1 if neuron.name=clif",
        "neuron.name=lif,clif",
    )
    assert points == [
        {"neuron.name": "lif"},
        {"neuron.name": "clif", "loss.mse_weight": 0.05},
        {"neuron.name": "clif", "loss.mse_weight": 0.1, "loss.mse_target": "constant"},
        {"neuron.name": "clif", "loss.mse_weight": 0.1, "loss.mse_target": "one-hot"},
    ]


def test_fields_without_effect_make_no_trials_that_compute_the_same():
    points = grid(
        "neuron.name=lif,psn,relu", "neuron.tau=1.5,2,3", "optimiser.name=sgd,adamw", "optimiser.momentum=0,0.9"
    )
    # lif has three tau, psn and relu none; sgd two momenta, adamw none.
    assert len(points) == (3 + 1 + 1) * (2 + 1)
    assert len({fingerprint(override(BASE, point)) for point in points}) == len(points)


def test_part_that_is_the_whole_stays_in_a_point():
    # Dropped, k = 10 of T = 10 would have become the configuration's 4.
    base = override(BASE, {"grad_steps": 4})
    points = grid_space(parse_space(["grad_steps=2,4,10"], base), base)
    assert points == [{"grad_steps": 2}, {"grad_steps": 4}, {"grad_steps": 10}]


def test_size_counts_what_is_searched():
    def size(*words: str) -> float:
        return parse_space(words, BASE).size(BASE)

    assert size("neuron.name=lif,clif,psn", "neuron.tau=1.5,2,3") == 3 + 3 + 1
    assert size("neuron.name=lif,clif,psn", "neuron.tau=1.5:3") == math.inf
    # Too many to count: an upper bound.
    assert size("neuron.name=lif,psn", "neuron.tau=1.5,2", "seed=1:10000") == 2 * 2 * 10_000


def test_points_that_are_seldom_drawn_are_found():
    # Of 900 combinations six have k <= T.
    assert len(sample(["binning.timesteps=1:300", "grad_steps=298:300"], 5)) == 5


@given(st.integers(1, 60), st.integers(0, 2**31))
def test_conditional_samples_are_distinct_and_repeatable(samples: int, seed: int):
    words = [
        "neuron.name=lif,clif,psn",
        "neuron.tau=1.1:4",
        "neuron.reset=soft,hard if neuron.name=lif",
        "neuron.detach_reset=false,true if neuron.reset=hard",
    ]
    points = sample(words, samples, seed)
    assert len({fingerprint(override(BASE, point)) for point in points}) == len(points) == samples
    assert points == sample(words, samples, seed)
    for point in points:
        assert ("neuron.tau" in point) == (point["neuron.name"] != "psn")
        assert ("neuron.reset" in point) == (point["neuron.name"] == "lif")
        assert ("neuron.detach_reset" in point) == (point.get("neuron.reset") == "hard")
