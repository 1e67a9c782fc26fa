"""Words of a search space: what they become, and that every fault of every word is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import override
from pipeline.presets import PRESETS
from preprocess.errors import ConfigError
from tune.dimensions import Choice, Condition, Range
from tune.named_spaces import DEFAULT_SPACE
from tune.space import Space, parse_space

BASE = PRESETS["n-mnist-small"].config


def faults_of(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(words, BASE)
    return caught.value.faults


def test_words_become_dimensions_of_the_fields_type():
    words = ["neuron.tau=1.5,2", "batch_size=8:64:log", "optimiser.learning_rate=0.01:1:log", "neuron.name=lif,my.py:N"]
    assert parse_space([*words, "input.size=none,16", "binning.split_by=time"], BASE).dimensions == (
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
    assert parse_space([DEFAULT_SPACE], config).dimensions == (
        Choice("binning.timesteps", expected),
        Choice("neuron.tau", (1.5, 2.0, 3.0, 4.0)),
        Choice("neuron.name", ("lif", "clif")),
    )


def test_own_word_takes_the_place_of_the_named_spaces():
    space = {
        dimension.path: dimension for dimension in parse_space(["neuron.tau=1.1:4", DEFAULT_SPACE], BASE).dimensions
    }
    assert space["neuron.tau"] == Range("neuron.tau", 1.1, 4.0, log=False, whole=False)
    assert set(space) == {"binning.timesteps", "neuron.tau", "neuron.name"}


def test_every_fault_of_every_word_is_told_in_one_go():
    told = faults_of("tau", "neuron.tua=1,2", "neuron.tau=0.5,x", "batch_size=8:4", "network.head=foo")
    assert told == (
        "--space tau: expected a named space (timesteps-tau-neuron, table3, training, everything) or "
        "field=a,b,c, field=lo:hi or field=lo:hi:log",
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
        (
            "neuron.tau=1:2:exp",
            "expected neuron.tau=lo:hi, neuron.tau=lo:hi:log or, behind either, :N for so many values",
        ),
        ("neuron.tau=a:b", "expected numbers as in neuron.tau=lo:hi, found 'a:b'"),
        ("binning.timesteps=1.5:4", "expected whole numbers as in binning.timesteps=lo:hi, found '1.5:4'"),
        ("neuron.tau=2:inf", "expected lo < hi, both finite"),
        ("optimiser.weight_decay=0:1:log", "expected lo > 0 for a logarithmic range, found 0.0"),
        ("neuron.tau=", "expected values between the commas, as in neuron.tau=a,b,c"),
        ("neuron.tau=2,,3", "expected values between the commas"),
        ("neuron.tau=1:3", "expected more than 1 time step, found 1.0"),
        ("threads=1,2", "threads says where a run runs, not what it computes. Set it with --threads."),
        ("selection=validation,last", "are scored on other samples and cannot be ranked. Search once for each."),
        ("neuron.tau=1.5:2:1", "expected 2 to 1000 values, found 1"),
        ("start_from=a,b", "start_from says which part of a training a run is"),
        ("neuron.tau=2,3 if neuron.name", "expected a named space"),
        ("neuron.tau=2,3 if neuron.nme=lif", "Did you mean 'neuron.name'?"),
        ("neuron.tau=2,3 if seed=1:4", "expected a condition such as neuron.name=lif,plif, found 'seed=1:4'"),
        ("neuron.tau=2,3 if neuron.tau=2", "expected a condition on another field, found neuron.tau itself"),
        ("neuron.alpha=1,2 if network.head=foo", "expected one of paper, gap, found 'foo'"),
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


def test_conditions_stand_behind_what_they_name():
    words = ["neuron.alpha=1,2 if neuron.surrogate=atan and neuron.name=lif", "neuron.surrogate=rect,atan"]
    when = (Condition("neuron.surrogate", ("atan",)), Condition("neuron.name", ("lif",)))
    assert parse_space(words, BASE) == Space(
        (Choice("neuron.surrogate", ("rect", "atan")), Choice("neuron.alpha", (1.0, 2.0), when))
    )


def test_conditions_that_wait_for_each_other_are_a_fault():
    words = ["neuron.alpha=1,2 if neuron.tau=2", "neuron.tau=2,3 if neuron.alpha=1", "seed=1,2"]
    assert faults_of(*words) == (
        "--space: expected conditions that do not go round in a circle, found neuron.alpha, neuron.tau",
    )


def test_words_come_from_files_and_a_fault_names_the_line(tmp_path: Path):
    file = tmp_path / "mine.txt"
    file.write_text("# tau first\n\nneuron.tau=1.5,2   # in steps\nneuron.alpha=1,2 if neuron.name=lif\n")
    assert parse_space([str(file), "seed=1,2"], BASE).fields == ("neuron.tau", "neuron.alpha", "seed")
    file.write_text("neuron.tau=1.5,2\nneuron.alhpa=1,2\n")
    (fault,) = faults_of(str(file))
    assert fault == f"--space {file}, line 2: neuron.alhpa=1,2: no such field. Did you mean 'neuron.alpha'?"
    (fault,) = faults_of(str(tmp_path / "none.txt"))
    assert fault == f"--space {tmp_path}/none.txt: cannot be read (No such file or directory)"


def test_augmentation_is_searched_because_it_changes_training_samples_alone():
    words = ["dataset.augmentation=none,flip,roll+crop"]
    assert parse_space(words, BASE).dimensions == (Choice("dataset.augmentation", ("none", "flip", "roll+crop")),)
