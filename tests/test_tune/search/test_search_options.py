"""Options of a search that do not go together are reported at once, a line each."""

from __future__ import annotations

from pathlib import Path

import pytest
from messages import parse_message

from pipeline.config.run_config import override
from pipeline.presets.registry import PRESETS
from preprocess.errors import ConfigError
from tune.search.options import SearchOptions
from tune.search.pareto import OBJECTIVES
from tune.search.pbt import PBT
from tune.search.search_plan import plan_search
from tune.space.space import parse_space

CONFIG = PRESETS["n-mnist-small"].config


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"samples": 0}, "--samples: expected at least 1, found 0"),
        ({"repeats": 0}, "--repeats: expected at least 1, found 0"),
        ({"final_seeds": -1}, "--final-seeds: expected at least 0, found -1"),
        ({"method": "tea"}, "--search: expected one of random, grid, tpe, pbt, found 'tea'"),
        (
            {"interval": 2},
            "--interval: expected a search method with generations, found --search random. Leave it out.",
        ),
        (
            {"objectives": ("energy",)},
            "--objectives: expected accuracy, and any other objective only once, found energy",
        ),
        (
            {"objectives": ("speed",)},
            f"--objectives: expected one or more of {', '.join(OBJECTIVES)}, found 'speed'",
        ),
        (
            {"objectives": ("accuracy", "energy"), "scheduler": "asha"},
            "--scheduler: expected none with several objectives (accuracy energy), found asha, which stops trials by "
            "accuracy alone",
        ),
        (
            {"method": "pbt", "repeats": 2},
            f"--search pbt: expected --repeats 1, found 2. {PBT.limits}",
        ),
        (
            {"repeats": 3, "scheduler": "asha"},
            "--scheduler: expected none with --repeats 3, found asha, which would stop each seed separately. Only "
            "configurations with all seeds complete are ranked.",
        ),
        (
            {"method": "pbt", "scheduler": "asha"},
            f"--search pbt: expected --scheduler none, found asha. {PBT.limits}",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line_each(words: dict[str, object], text: str):
    assert list(SearchOptions(**words).errors()) == [text]  # type: ignore[arg-type]


def test_every_fault_is_told_in_one_go():
    words = SearchOptions(method="pbt", samples=0, objectives=("accuracy", "energy"), repeats=3)
    assert len(list(words.errors())) == 3


def test_population_changes_training_settings_only():
    space = parse_space(["training", "neuron.tau=1.5,2", "network.width=0.5,1"], CONFIG)
    errors = list(SearchOptions(method="pbt").space_errors(space))
    assert [parse_message(message).found for message in errors] == ["neuron.tau", "network.width"]
    assert "It can search optimiser.*, loss.*, network.dropout, dataset.augmentation, batch_size" in errors[0]
    words = ["optimiser.name=sgd,adamw", "optimiser.ema_decay=none,0.9", "optimiser.momentum=0.8,0.9"]
    fixed = parse_space(words, CONFIG)
    errors = list(SearchOptions(method="pbt").space_errors(fixed))
    assert [parse_message(message).found for message in errors] == [
        "optimiser.name",
        "optimiser.ema_decay",
    ]
    assert errors[0].endswith("batch_size (but not optimiser.name, optimiser.weight_decay_of, optimiser.ema_decay).")
    assert not list(SearchOptions(method="pbt").space_errors(parse_space(["training"], CONFIG)))


def test_seeds_are_searched_or_repeated():
    space = parse_space(["seed=1,2"], CONFIG)
    assert not list(SearchOptions().space_errors(space))
    assert len(list(SearchOptions(repeats=2).space_errors(space))) == 1


@pytest.mark.parametrize(
    ("words", "scheduler"),
    [
        ({}, "asha"),
        ({"scheduler": "none"}, "none"),
        ({"method": "tpe"}, "asha"),
        ({"method": "pbt"}, "none"),
        ({"objectives": ("accuracy", "energy")}, "none"),
        ({"repeats": 2}, "none"),
    ],
)
def test_early_stopping_is_what_suits_the_rest(words: dict[str, object], scheduler: str):
    assert SearchOptions(**words).chosen_scheduler() == scheduler  # type: ignore[arg-type]


def test_search_that_would_start_from_a_run_is_refused_in_a_line(tmp_path: Path):
    config = override(CONFIG, {"start_from": "/users/run"})
    with pytest.raises(ConfigError) as caught:
        plan_search("tiny", config, SearchOptions(("neuron.tau=1.5,2",)), tmp_path)
    (line,) = caught.value.errors
    assert line.startswith(
        "start_from: expected none, because the trials of a search start from initial weights, found /users/run. "
    )
    assert line.endswith("a single run accepts it: spikeloom train --start-from RUN")
