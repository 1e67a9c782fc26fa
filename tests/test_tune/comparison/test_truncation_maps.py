"""Any two fields make a map for each neuron and each difference: k and tau, windows, and the ways to cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import CONFIG
from made_up import write_comparison_runs as write_runs

from pipeline.config.run_config import fingerprint, override
from tune.commands import compare as command
from tune.comparison.comparison_plan import Comparison
from tune.comparison.conclusions import Conclusion, conclude
from tune.comparison.designs.design import PAIR, make_settings
from tune.comparison.figures.overview_figures import draw_maps, overview_figures
from tune.comparison.setting_axes import in_order, map_axes


def written(folder: Path, axes: dict[str, tuple[object, ...]]) -> Conclusion:
    """CLIF has one sample more in each setting than in the one before, LIF always 20 of 40."""
    settings = make_settings({"p": override(CONFIG, {"binning.timesteps": 8})}, axes, {})
    comparison = Comparison("p", settings, PAIR, (7,), Path("no-cache"))
    correct = {}
    for k, setting in enumerate(settings):
        correct |= {(setting.name, "lif"): [20], (setting.name, "clif"): [20 + k]}
    write_runs(folder, comparison, correct)
    return conclude(comparison, folder)


def cells(figure) -> list[list[str]]:
    """The numbers written in each map, row by row from the bottom."""
    panels = [axes for axes in figure.axes if axes.get_title()]
    return [[text.get_text() for text in axes.texts] for axes in panels]


def test_window_and_tau_make_maps_with_no_limit_last(tmp_path: Path):
    conclusion = written(tmp_path, {"neuron.temporal_window": (None, 0, 2), "neuron.tau": (1.5, 2.0)})
    assert map_axes(conclusion) == ["neuron.temporal_window", "neuron.tau"]
    assert "map" in overview_figures(conclusion)
    figure = draw_maps(conclusion.results, map_axes(conclusion))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["LIF, %", "CLIF, %", "CLIF − LIF, percentage points"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0", "2", "none"]
    lif, clif, gap = cells(figure)
    assert set(lif) == {"50.0"} and clif == ["55.0", "57.5", "60.0", "62.5", "50.0", "52.5"]
    assert gap == ["+5.0", "+7.5", "+10.0", "+12.5", "+0.0", "+2.5"]


@pytest.mark.parametrize(
    "axes",
    [
        {"neuron.truncation": ("block", "sliding"), "neuron.temporal_window": (1, 3)},
        {"grad_steps": (2, 4), "loss.average_over": ("k", "T")},
        {"optimiser.name": ("sgd", "adamw"), "neuron.surrogate": ("rect", "atan")},
    ],
)
def test_names_and_numbers_make_a_map(axes: dict[str, tuple[object, ...]], tmp_path: Path):
    conclusion = written(tmp_path, axes)
    assert map_axes(conclusion) == list(axes) and "map" in overview_figures(conclusion)
    figure = draw_maps(conclusion.results, map_axes(conclusion))
    assert [len(numbers) for numbers in cells(figure)] == [4, 4, 4]


def test_a_third_field_has_a_map_for_each_of_its_values(tmp_path: Path):
    axes = {"grad_steps": (2, 8), "neuron.tau": (1.5, 2.0), "loss.average_over": ("k", "T")}
    assert {name for name in overview_figures(written(tmp_path, axes)) if "map" in name} == {"map-k", "map-T"}


def test_one_field_has_no_map(tmp_path: Path):
    assert map_axes(written(tmp_path, {"neuron.truncation": ("block", "sliding")})) == []


def test_values_are_in_order():
    assert in_order([4, None, 1.5, 4]) == [1.5, 4, None] and in_order(["T", "k", "T"]) == ["T", "k"]
    assert in_order([True, False]) == [True, False]


def test_the_command_runs_k_and_tau_and_both_cuts_on_any_preset():
    given = ("gestures-small", "--over", "grad_steps=1,4,8", "neuron.tau=1.5,2", "loss.average_over=k,T")
    comparison = command.plan_comparison(command.parse_arguments([*given, "--binning.timesteps", "8", "--seeds", "1"]))
    # At k = T both readings are the same run, which is trained once.
    assert len(comparison.settings) == 12 and len(comparison.configs()) == 2 * (12 - 2)
    cuts = ("neuron.temporal_window=0,3", "neuron.truncation=block,sliding", "neuron.tau=1.5,2")
    comparison = command.plan_comparison(command.parse_arguments(["gestures-small", "--over", *cuts, "--seeds", "1"]))
    assert len({fingerprint(config) for config in comparison.configs()}) == 2 * (8 - 2)
    windows = command.plan_comparison(
        command.parse_arguments(["gestures-small", "--over", "neuron.temporal_window=none,1", "--seeds", "1"])
    )
    assert [setting.config.neuron.temporal_window for setting in windows.settings] == [None, 1]
