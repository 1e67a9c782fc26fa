"""Arguments of compare: what is refused, what is chosen where they are silent, and what Ctrl-C says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from preprocess.errors import SpikeloomError
from preprocess.terminal.command_line import UsageError
from tune.commands import compare as command
from tune.comparison.comparison_plan import Comparison
from tune.space.parser import SCORED_ON


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gestures-small", "--neurons", "lif"], "expected two or more different neurons, found: lif"),
        (["gestures-small", "--neurons", "lif", "lif"], "expected two or more different neurons, found: lif lif"),
        (["gestures-small", "--seeds", "0"], "--seeds: expected at least 1, found 0"),
        ([], "expected a preset, a design or --config"),
        (["gesture-smal"], "Did you mean 'gestures-small'?"),
        (["--resume", "x", "--seeds", "9"], "--resume: expected only --accept-changed-code, --address"),
        (["gestures-small", "--over", "neuron.tau"], "--over neuron.tau: expected field=a,b,c"),
        (["gestures-small", "--over", "neuron.tau=1.5:3"], "expected a list of values, found a range"),
        (["gestures-small", "--over", "neuron.name=lif,clif"], "Use --seeds and --neurons."),
        (
            ["gestures-small", "--over", "device=cpu,cuda"],
            "only affects where it runs. Set it for the whole comparison",
        ),
        (
            ["gestures-small", "--over", "dataset.split=by-group,random-0.9"],
            "accuracies on different samples cannot be",
        ),
        (["--resume", "nowhere"], "expected a comparison (with comparison.json), found none"),
    ],
)
def test_faulty_arguments_are_refused(argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpikeloomError) as caught:
        command.run(argv)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_refused_factor_is_not_answered_in_the_words_of_a_search():
    for path in SCORED_ON:
        with pytest.raises(UsageError) as caught:
            plan("gestures-small", "--over", f"{path}=a,b")
        assert str(caught.value).startswith(f"--over {path}: expected")
        assert not {"trial", "trials", "search", "ranked"} & set(re.findall(r"\w+", str(caught.value)))


def plan(*argv: str) -> Comparison:
    return command.plan_comparison(command.parse_arguments(argv))


def test_the_last_epoch_is_used_unless_the_arguments_select_another():
    default, paper = plan("gesture-vgg11"), plan("gesture-vgg11", "--selection", "paper")
    validation = plan("gesture-vgg11", "--selection=validation", "--seed", "5", "--seeds", "2")
    planned = (default, paper, validation)
    assert [comparison.settings[0].config.selection for comparison in planned] == ["last", "paper", "validation"]
    assert [comparison.seeds for comparison in planned] == [(2022, 2023, 2024, 2025, 2026)] * 2 + [(5, 6)]
    assert default.settings[0].config.binning.timesteps == 20


def test_a_budget_is_eight_trials_unless_it_is_given():
    assert plan("gestures-small", "--fairness", "equal-budget").tuning.trials == 8
    assert plan("gestures-small", "--fairness", "equal-budget", "--budget", "8").tuning.trials == 8
    assert plan("gestures-small", "--fairness", "equal-budget", "--budget", "3").tuning.trials == 3
    assert plan("gestures-small", "--fairness", "tau-grid").tuning.trials is None


@pytest.mark.parametrize("began", [True, False])
def test_ctrl_c_says_what_to_run_next_if_there_is_something_to_continue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], began: bool
):
    def stop(*_: object, **__: object) -> None:
        if began:
            (tmp_path / "comparison.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("tune.comparison.run_comparison.compare", stop)
    with pytest.raises(KeyboardInterrupt):
        command.run(["gestures-small", "--out", str(tmp_path)])
    assert (f"spikeloom compare --resume {tmp_path}" in capsys.readouterr().err) == began
