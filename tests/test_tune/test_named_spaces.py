"""Spaces with a name suit every preset: whatever they hold is valid there."""

from __future__ import annotations

import pytest

from pipeline.config import fingerprint, override
from pipeline.paper_presets import TABLE3, TAUS
from pipeline.presets import PRESETS
from tune.named_spaces import NAMED_SPACES
from tune.sampling import grid_space, sample_space
from tune.space import parse_space

BASES = [name for name, preset in PRESETS.items() if not preset.variant]


@pytest.mark.parametrize("preset", BASES)
@pytest.mark.parametrize("name", NAMED_SPACES)
def test_every_named_space_holds_valid_configurations_of_every_preset(name: str, preset: str):
    config = PRESETS[preset].config
    points = sample_space(parse_space([name], config), config, 30, seed=1)
    assert len({fingerprint(override(config, point)) for point in points}) == len(points) >= 12


def test_table3_is_the_papers():
    config = PRESETS["gesture-vgg11"].config
    points = grid_space(parse_space(["table3"], config), config)
    assert len(points) == len(TABLE3) * len(TAUS) * 2
    assert {point["neuron.tau"] for point in points} == set(TAUS)
    # k = 20 of T = 20 steps is all of them, which is no setting.
    assert {point.get("grad_steps") for point in points} == {1, 4, 8, 12, 16, None}


def test_table3_of_fewer_steps_ends_at_t():
    config = PRESETS["n-mnist-small"].config
    steps = {point.get("grad_steps") for point in grid_space(parse_space(["table3"], config), config)}
    assert steps == {1, 4, 8, None}


def test_names_and_words_go_together():
    config = PRESETS["n-mnist-small"].config
    space = parse_space(["training", "table3", "neuron.name=plif"], config)
    assert space.fields[:2] == ("optimiser.learning_rate", "optimiser.weight_decay")
    assert {dimension.path: dimension.values for dimension in space.dimensions if dimension.path == "neuron.name"} == {
        "neuron.name": ("plif",)
    }


def test_everything_is_in_everything():
    config = PRESETS["n-mnist-small"].config
    fields = {name: set(parse_space([name], config).fields) for name in ("timesteps-tau-neuron", "training")}
    assert fields["timesteps-tau-neuron"] | fields["training"] < set(parse_space(["everything"], config).fields)
