"""Epochs that are doubled until every run of a comparison has converged, and what is declared before the runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import CONFIG, write_curve, write_run

from pipeline.config.run_config import RunConfig, override, to_dict
from preprocess.errors import ConfigError, RunError
from preprocess.files import write_json
from preprocess.terminal.command_line import UsageError
from preprocess.terminal.progress import Progress
from tune.commands import compare as command
from tune.comparison.arms import Setting, exchanged_arm
from tune.comparison.comparison_plan import AutoEpochs, Comparison, compare_neurons, read_comparison
from tune.comparison.conclusions import conclude
from tune.comparison.convergence.auto_epochs import check_rounds, train_rounds
from tune.comparison.planned_runs import plan_lines
from tune.comparison.run_comparison import _with_earlier
from tune.trials.ledger import Ledger


def auto_comparison(folder: Path, most: int = 16, epochs: int = 4) -> Comparison:
    config = override(CONFIG, {"schedule.epochs": epochs})
    return replace(compare_neurons("x", config, ("lif", "clif"), (7, 8), folder / "cache"), auto=AutoEpochs(most))


def trainer(folder: Path, needs: dict[str, int], stop_at: int = 10**9) -> Callable[[Comparison], None]:
    """Trains runs whose accuracy reaches 1 after `needs` epochs of their neuron; it is killed before run `stop_at`."""
    trained = 0

    def train(comparison: Comparison) -> None:
        nonlocal trained
        ledger = Ledger(folder)
        for config in ledger.unfinished(comparison.configs()):
            if trained == stop_at:
                raise KeyboardInterrupt
            trained += 1
            write_run(ledger.trial_folder(config), config)
            steps = needs[config.neuron.name]
            write_curve(folder, config, [min(1.0, 0.3 + (k + 1) / steps) for k in range(config.schedule.epochs)])
            ledger.end(config, "done")

    return train


def test_epochs_are_doubled_for_all_arms_until_every_run_has_converged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    comparison = auto_comparison(tmp_path)
    comparison.write(tmp_path)
    last = train_rounds(comparison, tmp_path, trainer(tmp_path, {"lif": 2, "clif": 12}), Progress())
    assert last.longest == 16 and read_comparison(tmp_path) == last
    assert {config.schedule.epochs for config in last.configs()} == {16}
    said = capsys.readouterr().err
    assert "2 of 4 runs had not converged after 4 epochs: all runs are trained again for 8 epochs" in said
    assert "0 of 4 runs had not converged after 16 epochs" in said
    conclusion = conclude(last, tmp_path)
    assert conclusion.warning == ""
    assert any(
        "doubled for all runs from 4 to 16, where every run had converged (at most 16)" in s
        for s in conclusion.sentences()
    )
    assert last.first_round() == comparison
    assert "for at most 16 epochs" in " ".join(plan_lines(comparison, tmp_path))


def test_doubling_stops_at_the_stated_maximum_and_the_verdict_keeps_its_warning(tmp_path: Path):
    comparison = auto_comparison(tmp_path, most=9)
    comparison.write(tmp_path)
    last = train_rounds(comparison, tmp_path, trainer(tmp_path, {"lif": 2, "clif": 100}), Progress())
    assert last.longest == 8
    conclusion = conclude(last, tmp_path)
    assert "at 8 epochs" in conclusion.warning
    assert any(
        "doubled for all runs from 4 to 8, as many as the maximum allows (at most 9)" in s
        for s in conclusion.sentences()
    )


def several_lengths(folder: Path) -> Comparison:
    configs = {epochs: override(CONFIG, {"schedule.epochs": epochs}) for epochs in (4, 8)}
    settings = tuple(Setting(f"p{epochs}", config, {"preset": f"p{epochs}"}) for epochs, config in configs.items())
    return replace(auto_comparison(folder, most=16), settings=settings)


def test_presets_of_different_lengths_are_multiplied_by_the_same_factor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    comparison = several_lengths(tmp_path)
    comparison.write(tmp_path)
    last = train_rounds(comparison, tmp_path, trainer(tmp_path, {"lif": 2, "clif": 6}), Progress())
    assert "after up to 8 epochs: all runs are trained again for up to 16 epochs\n" in capsys.readouterr().err
    said = next(line for line in conclude(last, tmp_path).sentences() if line.startswith("The number of epochs was "))
    assert said.startswith(
        "The number of epochs was multiplied by 2 for all runs (the longest from 8 to 16), where every"
    )
    said = next(line for line in conclude(comparison, tmp_path).sentences() if line.startswith("The number of epochs"))
    assert "left as it was for all runs (the longest: 8)" in said


def test_runs_that_all_diverged_cannot_be_assessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    comparison = auto_comparison(tmp_path)
    comparison.write(tmp_path)

    def train(now: Comparison) -> None:
        ledger = Ledger(tmp_path)
        for config in ledger.unfinished(now.configs()):
            ledger.trial_folder(config).mkdir(parents=True)
            ledger.end(config, "failed", "expected a finite loss, found nan at step 3 of epoch 2")

    assert train_rounds(comparison, tmp_path, train, Progress()) == comparison
    said = capsys.readouterr().err
    assert "no run could be assessed for convergence: epochs are not doubled" in said and "0 of 0" not in said
    assert any(line.startswith("No run could be assessed for") for line in conclude(comparison, tmp_path).sentences())


@pytest.mark.parametrize(("lif", "only"), [(2, True), (12, False)])
def test_a_neuron_added_late_that_makes_all_others_train_longer_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lif: int, only: bool
):
    both = auto_comparison(tmp_path, most=8)
    first = replace(both, arms=both.arms[:1]).declare(0)
    comparison = replace(both, declared=first.declared).declare(2)
    assert comparison.added_arms == ("clif",) and first.added_arms == ()
    train_rounds(comparison, tmp_path, trainer(tmp_path, {"lif": lif, "clif": 12}), Progress())
    said = "for 8 epochs; only CLIF, added later, had not converged, and the results of all other neurons change"
    assert (said in capsys.readouterr().err) == only


def test_a_plateau_is_seen_by_the_run_of_half_the_epochs(tmp_path: Path):
    comparison = auto_comparison(tmp_path)
    comparison.write(tmp_path)

    def train(now: Comparison) -> None:
        for config in Ledger(tmp_path).unfinished(now.configs()):
            write_run(Ledger(tmp_path).trial_folder(config), config)
            # Too few epochs for a projection, and never fitted.
            write_curve(tmp_path, config, [0.5, *[0.8] * (config.schedule.epochs - 1)])
            Ledger(tmp_path).end(config, "done")

    last = train_rounds(comparison, tmp_path, train, Progress())
    assert last.longest == 8
    assert {found.state for found in conclude(last, tmp_path).results[0].arms["lif"].convergence.values()} == {"flat"}


@pytest.mark.parametrize("stop_at", [0, 3, 4, 7, 8, 11])
def test_a_comparison_killed_at_any_run_continues_to_the_same_end(tmp_path: Path, stop_at: int):
    needs = {"lif": 2, "clif": 12}
    comparison = auto_comparison(tmp_path)
    comparison.write(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_rounds(comparison, tmp_path, trainer(tmp_path, needs, stop_at), Progress())
    # As declared again on the command line, and as the folder has it.
    for again in (comparison, read_comparison(tmp_path)):
        found = _with_earlier(again, tmp_path)
        assert found == read_comparison(tmp_path)
    last = train_rounds(found, tmp_path, trainer(tmp_path, needs), Progress())
    assert last.longest == 16 and len(list(tmp_path.glob("trials/*/done.json"))) == 12
    assert read_comparison(tmp_path) == last


def test_the_schedule_is_stretched_with_its_epochs():
    config = override(
        CONFIG, {"schedule.name": "step", "schedule.epochs": 4, "schedule.step_epochs": 2, "schedule.warmup_epochs": 1}
    )
    twice = replace(compare_neurons("x", config, ("lif", "clif"), (7,), Path()), auto=AutoEpochs(16)).stretched(2)
    schedule = twice.settings[0].config.schedule
    assert (schedule.epochs, schedule.step_epochs, schedule.warmup_epochs) == (8, 4, 2)


def test_comparisons_whose_epochs_cannot_be_doubled_alike_are_refused(tmp_path: Path):
    comparison = auto_comparison(tmp_path)
    place = Setting("4", comparison.settings[0].config, {"schedule.epochs": 4})
    stopped = Setting("", override(comparison.settings[0].config, {"schedule.stop_epoch": 2}))
    early = Setting("", override(comparison.settings[0].config, {"schedule.patience": 2, "selection": "validation"}))
    for wrong, message in (
        (
            replace(comparison, settings=(place,)),
            "expected settings of one schedule, found schedule.epochs as a factor",
        ),
        (replace(comparison, settings=(stopped,)), "expected no schedule.stop_epoch, found one"),
        (replace(comparison, settings=(early,)), "expected no schedule.patience, found one"),
        (replace(comparison, arms=(*comparison.arms, exchanged_arm("lif", "clif", 2))), "trained from start to end"),
        (replace(comparison, auto=AutoEpochs(3)), "--max-epochs: expected at least 4, .* found 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_rounds(wrong)
    check_rounds(comparison)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-epochs", "8"], "--max-epochs: expected --epochs auto with it"),
        (["--margin", "0"], "--margin: expected percentage points between 0 and 100, found 0"),
        (["--margin", "-1"], "found -1"),
        (["--speed-at", "0"], "--speed-at: expected more than 0 and at most 100 per cent, found 0"),
        (["--epochs", "20"], "--epochs"),
    ],
)
def test_options_out_of_range_are_refused(words: list[str], message: str):
    with pytest.raises(UsageError, match=message):
        command.plan_comparison(command.parse_arguments(["gestures-small", *words]))


def test_options_declare_margin_speed_and_maximum():
    words = ["gestures-small", "--margin", "0.5", "--epochs", "auto", "--speed-at", "80", "--schedule.epochs", "3"]
    found = command.plan_comparison(command.parse_arguments(words))
    assert (found.margin, found.speed_at, found.auto) == (0.005, 0.8, AutoEpochs(24))
    found = command.plan_comparison(command.parse_arguments([*words, "--max-epochs", "6"]))
    assert found.auto == AutoEpochs(6)


def test_what_was_declared_before_the_runs_cannot_be_changed_afterwards(tmp_path: Path):
    comparison = replace(auto_comparison(tmp_path), margin=0.005)
    comparison.write(tmp_path)
    for changed, message in (
        (replace(comparison, margin=0.02), "expected --margin 0.5, as declared before the first run, found 2"),
        (replace(comparison, margin=None), "expected --margin 0.5, as declared before the first run, found none"),
        (replace(comparison, speed_at=0.5), "expected --speed-at 90, .* found 50"),
        (replace(comparison, auto=None), "expected --epochs auto, as declared before the first run, found none"),
    ):
        with pytest.raises(RunError, match=message):
            _with_earlier(changed, tmp_path)
    assert _with_earlier(comparison, tmp_path) == comparison


def test_the_maximum_of_epochs_may_be_raised_to_continue_but_not_lowered(tmp_path: Path):
    comparison = auto_comparison(tmp_path, most=8)
    comparison.write(tmp_path)
    last = train_rounds(comparison, tmp_path, trainer(tmp_path, {"lif": 2, "clif": 12}), Progress())
    assert "a larger `--max-epochs` than 8 continues" in conclude(last, tmp_path).warning
    lowered, raised = (_with_earlier(replace(comparison, auto=AutoEpochs(most)), tmp_path) for most in (4, 16))
    assert lowered == last
    last = train_rounds(raised, tmp_path, trainer(tmp_path, {"lif": 2, "clif": 12}), Progress())
    assert last.longest == 16 and conclude(last, tmp_path).warning == ""


def test_folders_of_earlier_versions_declare_nothing(tmp_path: Path):
    auto_comparison(tmp_path).write(tmp_path)
    path = tmp_path / "comparison.json"
    content = json.loads(path.read_text())
    write_json(
        path, {name: value for name, value in content.items() if name not in ("margin", "speed_at", "auto_epochs")}
    )
    found = read_comparison(tmp_path)
    assert (found.margin, found.speed_at, found.auto) == (None, 0.9, None)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.ray
def test_epochs_are_doubled_through_ray(
    tiny_cache: Path, tiny_config: RunConfig, tmp_path: Path, shared_ray: None, capsys: pytest.CaptureFixture[str]
):
    config = override(tiny_config, {"selection": "last", "schedule.epochs": 1, "seed": 5})
    write_json(tmp_path / "config.json", to_dict(config))
    out = tmp_path / "out"
    words = ["--config", str(tmp_path / "config.json"), "--cache", str(tiny_cache), "--out", str(out), "--seeds", "1"]
    command.run([*words, "--epochs", "auto", "--max-epochs", "2", "--margin", "10"])
    said = capsys.readouterr()
    assert "2 of 2 runs had not converged after 1 epoch: all runs are trained again for 2 epochs" in said.err
    assert said.out.count("Not trained to convergence") == 1
    assert said.out.index("Not trained to convergence") < said.out.index("CLIF − LIF is")
    comparison = read_comparison(out)
    assert comparison.longest == 2 and len(list(out.glob("trials/*/done.json"))) == 4
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["schedule.epochs"] for row in rows] == ["2", "2"]
    command.run(["--resume", str(out)])
    assert "2 already done" in capsys.readouterr().err
