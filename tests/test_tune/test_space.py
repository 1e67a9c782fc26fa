"""Search spaces: every fault of every word is told, and samples are distinct, valid, even and repeatable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RunConfig, fingerprint, override
from pipeline.presets import PRESETS
from preprocess.errors import ConfigError
from tune.space import DEFAULT_SPACE, Choice, Range, parse_space, sample_space

BASE = PRESETS["n-mnist-small"].config


def sample(words: list[str], samples: int, seed: int = 0, config: RunConfig = BASE) -> list[dict[str, Any]]:
    return sample_space(parse_space(words, config), config, samples, seed)


def faults_of(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(words, BASE)
    return caught.value.faults


def test_words_become_dimensions_of_the_fields_type():
    words = ["neuron.tau=1.5,2", "batch_size=8:64:log", "optimiser.learning_rate=0.01:1:log", "neuron.name=lif,my.py:N"]
    assert parse_space([*words, "input.size=none,16", "binning.split_by=time"], BASE) == (
        Choice("neuron.tau", (1.5, 2.0)),
        Range("batch_size", 8, 64, log=True, whole=True),
        Range("optimiser.learning_rate", 0.01, 1.0, log=True, whole=False),
        Choice("neuron.name", ("lif", f"{Path.cwd()}/my.py:N")),
        Choice("input.size", (None, 16)),
        Choice("binning.split_by", ("time",)),
    )


@pytest.mark.parametrize(("timesteps", "expected"), [(10, (4, 8, 12)), (16, (4, 8, 16)), (20, (5, 10, 20))])
def test_default_space_suits_the_preset(timesteps: int, expected: tuple[int, ...]):
    config = override(BASE, {"binning.timesteps": timesteps})
    assert parse_space([DEFAULT_SPACE], config) == (
        Choice("binning.timesteps", expected),
        Choice("neuron.tau", (1.5, 2.0, 3.0, 4.0)),
        Choice("neuron.name", ("lif", "clif")),
    )


def test_own_word_takes_the_place_of_the_named_spaces():
    space = {dimension.path: dimension for dimension in parse_space(["neuron.tau=1.1:4", DEFAULT_SPACE], BASE)}
    assert space["neuron.tau"] == Range("neuron.tau", 1.1, 4.0, log=False, whole=False)
    assert set(space) == {"binning.timesteps", "neuron.tau", "neuron.name"}


def test_every_fault_of_every_word_is_told_in_one_go():
    told = faults_of("tau", "neuron.tua=1,2", "neuron.tau=0.5,x", "batch_size=8:4", "network.head=foo")
    assert told == (
        "--space tau: expected a named space (timesteps-tau-neuron) or field=a,b,c, field=lo:hi or field=lo:hi:log",
        "--space neuron.tua=1,2: no such field. Did you mean 'neuron.tau'?",
        "--space batch_size=8:4: expected lo < hi, both finite, found 8 and 4",
        "--space neuron.tau=0.5,x: expected more than 1 time step, found 0.5",
        "--space neuron.tau=0.5,x: expected a number, found 'x'",
        "--space network.head=foo: expected one of paper, gap, found 'foo'",
    )


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("timesteps-tau", "Did you mean 'timesteps-tau-neuron'?"),
        ("neuron.tau=1:2:exp", "expected neuron.tau=lo:hi or neuron.tau=lo:hi:log, found '1:2:exp'"),
        ("neuron.tau=a:b", "expected numbers as in neuron.tau=lo:hi, found 'a:b'"),
        ("binning.timesteps=1.5:4", "expected whole numbers as in binning.timesteps=lo:hi, found '1.5:4'"),
        ("neuron.tau=2:inf", "expected lo < hi, both finite"),
        ("optimiser.weight_decay=0:1:log", "expected lo > 0 for a logarithmic range, found 0.0"),
        ("neuron.tau=", "expected values between the commas, as in neuron.tau=a,b,c"),
        ("neuron.tau=2,,3", "expected values between the commas"),
        ("neuron.tau=1:3", "expected more than 1 time step, found 1.0"),
        ("threads=1,2", "threads says where a run runs, not what it computes. Set it with --threads."),
        ("selection=validation,last", "are scored on other samples and cannot be ranked. Search once for each."),
        ("dataset.name=n-mnist,other", "are scored on other samples and cannot be ranked"),
    ],
)
def test_faulty_word_says_what_was_expected(word: str, text: str):
    (fault,) = faults_of(word)
    assert fault.startswith(f"--space {word.split('=')[0]}")
    assert text in fault


def test_field_given_twice_and_no_word_at_all_are_faults():
    assert faults_of("neuron.tau=2,3", "neuron.tau=4,5") == (
        "--space neuron.tau=4,5: neuron.tau was given before. Give each field once.",
    )
    assert "found no word" in faults_of()[0]


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
    # Of 40 combinations 28 have k <= T.
    assert len(points) == min(samples, 28)
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
