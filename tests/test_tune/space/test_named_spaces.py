"""Spaces with a name suit every preset: whatever they hold is valid there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.run_config import fingerprint, override
from pipeline.presets.paper import TABLE3, TAUS
from pipeline.presets.registry import PRESETS
from preprocess.errors import ConfigError
from tune.commands import tune as tune_command
from tune.search.random_and_grid import grid_space, sample_space
from tune.space.named_spaces import NAMED_SPACES
from tune.space.space import parse_space

VARIANTS = ("gesture-vgg11-k8-tau1.3", "cifar10dvs-vgg11-t10-pil-aug", "cifar10dvs-vgg11-random-0.9")
BASES = [*(name for name, preset in PRESETS.items() if not preset.variant), *VARIANTS]


@pytest.mark.parametrize("preset", BASES)
@pytest.mark.parametrize("name", NAMED_SPACES)
def test_every_value_of_a_named_space_is_valid_in_every_preset(name: str, preset: str):
    config = PRESETS[preset].config
    points = sample_space(parse_space([name], config), config, 40, seed=1)
    configs = [override(config, point) for point in points]
    # Where steps have a length in time, neither T nor, beside late answers, k is a choice; nor is k where T is 1.
    least = 8 if config.binning.varies or config.binning.timesteps == 1 else 12
    assert len({fingerprint(config) for config in configs}) == len(points) >= least
    assert max(found.batch_size for found in configs) <= config.batch_size


@pytest.mark.parametrize("name", NAMED_SPACES)
def test_named_spaces_suit_steps_of_a_length_in_time_and_other_neurons(name: str):
    changes = {"binning.split_by": "duration", "binning.duration_us": 5000, "neuron.name": "psn"}
    config = override(PRESETS["n-mnist-small"].config, changes)
    space = parse_space([name], config)
    assert "binning.timesteps" not in space.fields
    assert all(override(config, point) for point in sample_space(space, config, 40, seed=1))


def test_augmentations_that_make_another_class_are_not_in_the_training_space():
    def augmentations(preset: str) -> tuple[object, ...]:
        space = parse_space(["training"], PRESETS[preset].config)
        return next(part.values for part in space.dimensions if part.path == "dataset.augmentation")

    for preset in ("n-mnist-small", "gestures-small", "gesture-vgg11"):
        assert not [name for name in augmentations(preset) if "flip" in str(name)]
    assert "flip+crop" in augmentations("cifar10dvs-vgg11")
    assert augmentations("cifar10dvs-vggsnn-aug")[0] == "flip+crop"


@pytest.mark.parametrize("name", NAMED_SPACES)
def test_help_and_refusals_list_every_name(name: str):
    hints = Path(tune_command.__file__).read_text()
    assert name in hints
    with pytest.raises(ConfigError, match=name):
        parse_space(["nothing"], PRESETS["n-mnist-small"].config)


def test_table3_is_the_papers():
    config = PRESETS["gesture-vgg11"].config
    points = grid_space(parse_space(["table3"], config), config)
    assert len(points) == len(TABLE3) * len(TAUS) * 2
    assert {point["neuron.tau"] for point in points} == set(TAUS)
    assert {point["grad_steps"] for point in points} == set(TABLE3)


def test_table3_is_the_same_from_any_of_its_presets():
    spaces = []
    for name in ("gesture-vgg11", "gesture-vgg11-k8-tau1.3"):
        config = PRESETS[name].config
        points = grid_space(parse_space(["table3"], config), config)
        spaces.append({fingerprint(override(config, point)) for point in points})
    assert spaces[0] == spaces[1]


def test_table3_of_fewer_steps_ends_at_t():
    config = PRESETS["n-mnist-small"].config
    steps = {point["grad_steps"] for point in grid_space(parse_space(["table3"], config), config)}
    assert steps == {1, 4, 8, 10}


def test_names_and_words_go_together():
    config = PRESETS["n-mnist-small"].config
    space = parse_space(["training", "table3", "neuron.name=plif"], config)
    assert space.fields[:2] == ("optimiser.learning_rate", "optimiser.weight_decay")
    assert "grad_steps" in space.fields
    assert {dimension.path: dimension.values for dimension in space.dimensions if dimension.path == "neuron.name"} == {
        "neuron.name": ("plif",)
    }


def test_everything_is_in_everything():
    config = PRESETS["n-mnist-small"].config
    fields = {name: set(parse_space([name], config).fields) for name in ("timesteps-tau-neuron", "training")}
    assert fields["timesteps-tau-neuron"] | fields["training"] < set(parse_space(["everything"], config).fields)
