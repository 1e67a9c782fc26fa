"""Words of a search space: what they become, and that every fault of every word is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from messages import Message, parse_message

from pipeline.config.run_config import override
from pipeline.presets.registry import PRESETS
from preprocess.errors import ConfigError
from tune.space.dimensions import Choice, Condition, Range
from tune.space.named_spaces import DEFAULT_SPACE, NAMED_SPACES
from tune.space.space import Space, parse_space

BASE = PRESETS["n-mnist-small"].config


def errors_of(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_space(words, BASE)
    return caught.value.errors


def test_words_become_dimensions_of_the_fields_type():
    words = ["neuron.tau=1.5,2", "batch_size=8:64:log", "optimiser.learning_rate=0.01:1:log", "neuron.name=lif,my.py:N"]
    assert parse_space([*words, "input.size=none,16", "binning.split_by=time"], BASE).dimensions == (
        Range("batch_size", 8, 64, log=True, whole=True),
        Range("optimiser.learning_rate", 0.01, 1.0, log=True, whole=False),
        Choice("neuron.name", ("lif", f"{Path.cwd()}/my.py:N")),
        # Behind what decides whether it has an effect.
        Choice("neuron.tau", (1.5, 2.0)),
        Choice("input.size", (None, 16)),
        Choice("binning.split_by", ("time",)),
    )


@pytest.mark.parametrize(("timesteps", "expected"), [(10, (4, 8, 12)), (16, (4, 8, 16)), (20, (5, 10, 20))])
def test_default_space_suits_the_preset(timesteps: int, expected: tuple[int, ...]):
    config = override(BASE, {"binning.timesteps": timesteps})
    assert parse_space([DEFAULT_SPACE], config).dimensions == (
        Choice("binning.timesteps", expected),
        Choice("neuron.name", ("lif", "clif")),
        Choice("neuron.tau", (1.5, 2.0, 3.0, 4.0)),
    )


def test_own_word_takes_the_place_of_the_named_spaces():
    space = {
        dimension.path: dimension for dimension in parse_space(["neuron.tau=1.1:4", DEFAULT_SPACE], BASE).dimensions
    }
    assert space["neuron.tau"] == Range("neuron.tau", 1.1, 4.0, log=False, whole=False)
    assert set(space) == {"binning.timesteps", "neuron.tau", "neuron.name"}


def test_every_fault_of_every_word_is_told_in_one_go():
    told = errors_of("tau", "neuron.tua=1,2", "neuron.tau=0.5,x", "batch_size=8:4", "network.head=foo")
    assert told == (
        "--space tau: expected a named space (timesteps-tau-neuron, table3, training, everything), a file, "
        "field=a,b,c or field=lo:hi[:log][:N]",
        "--space neuron.tua=1,2: expected a field of the configuration, found neuron.tua. Did you mean 'neuron.tau'?",
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
            "expected neuron.tau=lo:hi, neuron.tau=lo:hi:log or either with :N appended for N values, found '1:2:exp'",
        ),
        ("neuron.tau=a:b", "expected numbers as in neuron.tau=lo:hi, found 'a:b'"),
        ("binning.timesteps=1.5:4", "expected whole numbers as in binning.timesteps=lo:hi, found '1.5:4'"),
        ("neuron.tau=2:inf", "expected lo < hi, both finite"),
        ("neuron.tau=2:2", "expected lo < hi, both finite, found 2.0 and 2.0"),
        ("optimiser.weight_decay=0:1:log", "expected lo > 0 for a logarithmic range, found 0.0"),
        ("neuron.tau=", "expected values between the commas, as in neuron.tau=a,b,c"),
        ("neuron.tau=2,,3", "expected values between the commas"),
        ("neuron.tau=1:3", "expected more than 1 time step, found 1.0"),
        ("threads=1,2", "found threads, which only affects where it runs. Set it with --threads."),
        ("selection=validation,last", "are scored on different samples. Run one search for each value."),
        ("neuron.tau=1.5:2:1", "expected 2 to 1000 values from 1.5 to 2.0, found 1"),
        ("batch_size=2:8:log:9", "expected 2 to 7 values from 2 to 8, found 9"),
        ("neuron.tau=1.5:2:3:log", "or either with :N appended for N values, found '1.5:2:3:log'"),
        ("start_from=a,b", "found start_from, which defines which part of a training a run is"),
        (
            "neuron.tau=2,3 if neuron.name",
            "expected a condition such as neuron.name=lif,plif after if, found 'neuron.name'",
        ),
        ("neuron.tau=2,3 if neuron.name=lif and", "after if, found ''"),
        (
            "neuron.tau=2,3 if neuron.nme=lif",
            "in its condition neuron.nme=lif: expected a field of the configuration, found neuron.nme. Did you mean "
            "'neuron.name'?",
        ),
        ("neuron.tau=2,3 if seed=1:4", "in its condition seed=1:4: expected a whole number, found '1:4'"),
        ("neuron.tau=2,3 if neuron.tau=2", "expected a condition on another field, found neuron.tau itself"),
        ("neuron.alpha=1,2 if network.head=gap,foo", "expected one of paper, gap, found 'foo'"),
        ("neuron.tau=2,3 if optimiser.name=sgd", "expected a condition that can be met, found optimiser.name=sgd with"),
        (
            "optimiser.momentum=0.5,0.9",
            "expected a field that has an effect, found optimiser.momentum with optimiser.name=adamw. Leave it out.",
        ),
        ("dataset.name=n-mnist,other", "are scored on different samples"),
    ],
)
def test_faulty_word_says_what_was_expected(word: str, text: str):
    (message,) = errors_of(word)
    assert message.startswith(f"--space {word.split('=')[0]}")
    assert text in message


def test_field_given_twice_and_no_word_at_all_are_faults():
    assert errors_of("neuron.tau=2,3", "neuron.tau=4,5") == (
        "--space neuron.tau=4,5: expected each field once, found neuron.tau again. Leave one out.",
    )
    assert "found nothing" in errors_of()[0]


def test_conditions_stand_behind_what_they_name():
    words = ["neuron.alpha=1,2 if neuron.surrogate=atan and neuron.name=lif", "neuron.surrogate=rect,atan"]
    when = (Condition("neuron.surrogate", ("atan",)), Condition("neuron.name", ("lif",)))
    assert parse_space(words, BASE) == Space(
        (Choice("neuron.surrogate", ("rect", "atan")), Choice("neuron.alpha", (1.0, 2.0), when)),
        # Columns of tables stay as they were asked for.
        fields=("neuron.alpha", "neuron.surrogate"),
    )


def test_fields_that_wait_for_each_other_are_a_fault():
    assert errors_of("neuron.alpha=1,2 if neuron.tau=2", "neuron.tau=2,3 if neuron.alpha=1", "seed=1,2") == (
        "--space: expected fields whose conditions do not form a circle, found neuron.alpha (decided by neuron.tau), "
        "neuron.tau (decided by neuron.alpha)",
    )
    # Without a condition a neuron's name decides whether it has a tau.
    assert errors_of("neuron.tau=2,3", "neuron.name=lif,psn if neuron.tau=2") == (
        "--space: expected fields whose conditions do not form a circle, found neuron.tau (decided by neuron.name), "
        "neuron.name (decided by neuron.tau)",
    )


def test_condition_that_no_searched_value_meets_is_a_fault():
    assert errors_of("neuron.name=lif,clif", "neuron.tau=2,3 if neuron.name=plif", "seed=1,2 if batch_size=4,16") == (
        "--space neuron.tau=2,3 if neuron.name=plif: expected a condition that can be met, found neuron.name=plif with "
        "neuron.name=lif,clif",
    )
    assert errors_of(
        "neuron.name=lif,psn", "neuron.tau=2,3 if neuron.name=psn", "neuron.reset=soft,hard if neuron.name=lif"
    ) == (
        "--space neuron.tau=2,3 if neuron.name=psn: expected a field that has an effect, found neuron.tau with "
        "neuron.name=lif,psn. Leave it out.",
    )
    assert errors_of(
        "neuron.reset=soft,hard if neuron.name=lif",
        "neuron.name=lif,clif",
        "neuron.alpha=1,2 if neuron.reset=hard and neuron.name=clif",
    ) == (
        "--space neuron.alpha=1,2 if neuron.reset=hard and neuron.name=clif: expected conditions that can be met "
        "together, found no point that meets all of them",
    )


def test_word_for_another_configuration_is_left_out():
    word = "neuron.tau=1.5,2,3 if network.name=spiking-vgg-small and schedule.name=cosine"
    assert parse_space([word, "seed=1,2"], BASE).fields == ("neuron.tau", "seed")
    elsewhere = override(BASE, {"network.name": "vggsnn"})
    assert parse_space([word, "seed=1,2"], elsewhere).fields == ("seed",)
    with pytest.raises(ConfigError, match=r"found network\.name=spiking-vgg-small with network\.name=vggsnn"):
        parse_space([word], elsewhere)


@pytest.mark.parametrize(
    "words",
    [
        # clif refuses a hard reset, and psn any k but T.
        ["neuron.name=clif,lif", "neuron.reset=soft,hard if neuron.name=lif"],
        ["neuron.name=clif,lif", "neuron.reset=soft,hard"],
        ["neuron.name=psn,lif", "grad_steps=5,10"],
        ["binning.split_by=duration,number", "binning.duration_us=1000 if binning.split_by=duration"],
    ],
)
def test_value_that_some_values_of_others_allow_is_no_fault(words: list[str]):
    assert len(parse_space(words, BASE).dimensions) == 2
    assert set(parse_space(words[::-1], BASE).dimensions) == set(parse_space(words, BASE).dimensions)


def test_value_that_no_others_allow_is_a_fault():
    (message,) = errors_of("neuron.name=clif,psn", "neuron.reset=soft,hard", "seed=1,2")
    assert parse_message(message) == Message(
        where="--space neuron.reset=soft,hard",
        expected="soft for neuron 'clif'",
        found="hard",
        remedy="Neurons that accept it: lif, plif, klif, if.",
    )


def test_ranges_with_a_number_of_values_are_choices():
    words = ["neuron.tau=1.5:3:4", "optimiser.learning_rate=0.001:0.1:log:3", "batch_size=1:8:log:8", "seed=1:10:4"]
    assert {dimension.path: dimension.values for dimension in parse_space(words, BASE).dimensions} == {
        "neuron.tau": (1.5, 2.0, 2.5, 3.0),
        "optimiser.learning_rate": (0.001, 0.01, 0.1),
        # Eight values, of which whole numbers fall together.
        "batch_size": (1, 2, 3, 4, 6, 8),
        "seed": (1, 4, 7, 10),
    }


@pytest.mark.parametrize("preset", ["n-mnist-small", "gesture-vgg11", "gesture-plif-net", "cifar10dvs-vggsnn-aug"])
@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in NAMED_SPACES),
        ["neuron.tau=1.5:4:log if neuron.name=lif,plif and batch_size=16", "batch_size=8:32", "neuron.name=lif,plif"],
        ["input.size=none,16", "input.resize=nearest,bilinear", "seed=1,2 if neuron.decay_input=false,true"],
    ],
)
def test_spelled_out_words_give_the_same_space(words: list[str], preset: str):
    config = PRESETS[preset].config
    space = parse_space(words, config)
    assert parse_space(space.entries, config) == space


def test_point_is_clean_whatever_else_it_holds():
    words = [
        "neuron.name=lif,psn",
        "neuron.tau=1.5:4",
        "seed=1,2 if neuron.tau=2",
        "grad_steps=5,10",
        "binning.timesteps=8,10",
    ]
    space = parse_space(words, BASE)
    point = {
        "neuron.tau": 3.0,
        "neuron.name": "psn",
        "seed": 1,
        "grad_steps": 10,
        "binning.timesteps": 8,
        "batch_size": 4,
    }
    # Without an own tau the configuration's 2.0 counts; 10 of 8 steps is no valid configuration, yet no fault here.
    assert space.clean(point, BASE) == {key: value for key, value in point.items() if key != "neuron.tau"}
    assert space.clean(point | {"neuron.name": "lif"}, BASE) == {
        key: "lif" if key == "neuron.name" else value for key, value in point.items() if key != "seed"
    }
    tau = next(dimension for dimension in space.dimensions if dimension.path == "neuron.tau")
    assert [space.active(tau, {"neuron.name": name}, BASE) for name in ("lif", "psn")] == [True, False]
    assert space.active(tau, {}, BASE) and not space.active(tau, {}, override(BASE, {"neuron.name": "psn"}))


def test_words_come_from_files_and_a_fault_names_the_line(tmp_path: Path):
    file = tmp_path / "mine.txt"
    file.write_text("# tau first\n\nneuron.tau=1.5,2   # in steps\nneuron.alpha=1,2 if neuron.name=lif\n")
    assert parse_space([str(file), "seed=1,2"], BASE).fields == ("neuron.tau", "neuron.alpha", "seed")
    file.write_text("neuron.tau=1.5,2\nneuron.alhpa=1,2\nneuron.alpha=0,1\n")
    assert errors_of(str(file), "neuron.tau=2") == (
        f"--space {file}, line 2: neuron.alhpa=1,2: expected a field of the configuration, found neuron.alhpa. "
        "Did you mean 'neuron.alpha'?",
        "--space neuron.tau=2: expected each field once, found neuron.tau again. Leave one out.",
        f"--space {file}, line 3: neuron.alpha=0,1: expected more than 0, found 0.0",
    )
    other = tmp_path / "without-suffix"
    other.write_text("table3\nneuron.tau=5,6\n")
    tau = next(part for part in parse_space([str(other)], BASE).dimensions if part.path == "neuron.tau")
    assert tau.values == (5.0, 6.0)
    (message,) = errors_of(str(tmp_path / "none.txt"))
    assert (
        message == f"--space {tmp_path}/none.txt: expected a readable file, found: No such file or directory. "
        "Check the path."
    )


def test_augmentation_is_searched_because_it_changes_training_samples_alone():
    words = ["dataset.augmentation=none,flip,roll+crop"]
    assert parse_space(words, BASE).dimensions == (Choice("dataset.augmentation", ("none", "flip", "roll+crop")),)


@pytest.mark.parametrize("word", ["optimiser.lr=0.1,0.2", "neuron.tau=1.5,2 if optimiser.lr=0.1"])
def test_a_search_word_of_another_frameworks_name_suggests_the_field(word: str):
    (message,) = errors_of(word)
    assert message.endswith("found optimiser.lr. Did you mean 'optimiser.learning_rate'?")
