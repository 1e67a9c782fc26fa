"""Named designs are valid, declared in full, and differ within a seed in what they say and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from messages import refuses

from pipeline.config.run_config import fingerprint, flatten, override, to_dict
from pipeline.presets.registry import PRESETS, find_preset
from preprocess.errors import ConfigError, RunError, SpikeloomError
from preprocess.files import write_json
from tune.commands import compare as command
from tune.comparison.arms import Setting, exchanged_arm, neuron_arm
from tune.comparison.comparison_plan import AutoEpochs, Comparison, Tuning
from tune.comparison.designs.design import make_settings
from tune.comparison.designs.registry import DESIGNS, find_design, list_table
from tune.comparison.fairness_notes import equality_notes
from tune.comparison.run_comparison import _with_earlier
from tune.space.named_spaces import NEURONS


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_is_valid_and_its_settings_have_names_of_their_own(name: str):
    design = DESIGNS[name]
    settings = design.settings({})
    names = [setting.name for setting in settings]
    assert len(set(names)) == len(names) and (all(names) or len(names) == 1)
    comparison = Comparison(name, settings, design.arms, tuple(range(2)), Path("cache"))
    configs = comparison.configs()
    # Only LIF hears the two settings that change its reset.
    shared = 2 * 2 * (len(design.arms) - 1) * len(design.presets) if name.startswith("robustness") else 0
    assert len(configs) == 2 * len(settings) * len(design.arms) - shared
    assert len({fingerprint(config) for config in configs}) == len(configs)


@pytest.mark.parametrize("name", [name for name in DESIGNS if name.startswith(("table", "figure", "controls"))])
def test_within_a_setting_and_seed_only_the_neuron_differs(name: str):
    design = DESIGNS[name]
    for setting in design.settings({}):
        comparison = Comparison(name, (setting,), design.arms, (3,), Path("cache"))
        flat = [flatten(config) for config in comparison.configs()]
        differing = {path for path in flat[0] if any(row[path] != flat[0][path] for row in flat)}
        assert differing <= {"neuron.name", "start_from"}


def test_a_design_of_full_size_says_what_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    # The plan is printed before anything is trained; without the data, nothing is.
    with pytest.raises(SpikeloomError, match="cifar10"):
        command.run(["figure3b", "--cache", str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    assert "figure3b: needs a GPU, and the complete data of cifar10" in capsys.readouterr().err
    needing = {name for name, design in DESIGNS.items() if design.needs}
    assert needing == {name for name in DESIGNS if not name.endswith("-small")}
    with pytest.raises(ConfigError, match=r"unknown design 'tabel3-small'. Did you mean 'table3-small'"):
        find_design("tabel3-small")


def test_every_table_and_figure_of_the_paper_has_a_design_of_full_size():
    figures = ("2a", "2b", "3a", "3b", "4", "10", "11")
    for name in ("table1", "table2", "table3", "table3-cifar10", *(f"figure{number}" for number in figures)):
        design = DESIGNS[name]
        assert design.full_size and design.paper is not None
        assert {arm.neuron for arm in design.arms} >= {"lif", "clif"}
        assert all(setting.config.selection == "paper" for setting in design.settings({}))


@pytest.mark.slow
def test_the_list_names_every_design_its_runs_and_what_is_not_run(capsys: pytest.CaptureFixture[str]):
    rows = {row[0]: row for row in list_table().rows}
    assert list(rows) == list(DESIGNS)
    assert rows["table3"][2:4] == ("6 of 11 needed", str(2 * 6 * 5 * 6))
    assert rows["delayed-cue-small"][2:4] == ("7", str(4 * 7))
    assert rows["time-order-small"][2:4] == ("3 of 9 needed", str(4 * 4 * 3))
    assert rows["figure4"][4].endswith("; needs a GPU, and the complete data of cifar10, cifar100")
    command.run(["--list"])
    assert "controls-small" in capsys.readouterr().out


def test_small_designs_use_recordings_of_a_sensor_have_controls_and_train_until_runs_have_converged():
    small = {name: design for name, design in DESIGNS.items() if name.endswith("-small")}
    first = {name: design.settings({})[0].config.dataset.name for name, design in small.items()}
    assert {name for name, dataset in first.items() if dataset != "n-mnist"} == {
        "delayed-cue-small",
        "delayed-cue-tau5-small",
    }
    # The epochs of an exchange cannot be doubled.
    assert {name for name, design in small.items() if design.most_epochs is None} == {"figure3a-small"}
    for name, design in small.items():
        # A run of fewer than 20 epochs that does not fit its samples never counts as converged.
        assert all(setting.config.schedule.epochs >= 20 for setting in design.settings({}))
        if name not in ("a-a-small", "table3-small", "figure3a-small"):
            assert {arm.neuron for arm in design.arms} >= {"lif", "clif", "lif-reset1.8", "clif-detached"}
        # With batch norm of each time step, single runs lose tens of points (docs/science.md, Batch norm).
        assert all(
            "joint" in {design.config.network.batch_norm, setting.config.network.batch_norm}
            for setting in design.settings({})
        )


def test_a_design_declares_how_far_its_epochs_are_doubled_unless_a_number_is_given():
    declared = plan("table2-small")
    assert declared.auto == AutoEpochs(DESIGNS["table2-small"].most_epochs or 0) and declared.longest == 32
    assert plan("table2-small", "--max-epochs", "64").auto == AutoEpochs(64)
    assert plan("table2-small", "--schedule.epochs", "3").auto is None
    assert plan("table2-small", "--schedule.epochs", "32").auto is None
    assert plan("table2-small", "--schedule.epochs", "3", "--epochs", "auto").auto == declared.auto
    assert plan("figure3a-small").auto is None and plan("table2").auto is None
    with refuses(SpikeloomError, where="--max-epochs", found="--max-epochs 9 alone", errors=1):
        plan("table2-small", "--schedule.epochs", "3", "--max-epochs", "9")


def test_axes_make_a_product_and_every_setting_knows_its_place():
    base = DESIGNS["table3-small"].config
    settings = make_settings({"a": base, "b": base}, {"binning.timesteps": (2, 4), "neuron.tau": (1.5, 2.0)}, {})
    names = [setting.name for setting in settings]
    assert names[:3] == ["a, T = 2, tau = 1.5", "a, T = 2, tau = 2", "a, T = 4, tau = 1.5"]
    assert settings[-1].place == {"preset": "b", "binning.timesteps": 4, "neuron.tau": 2.0}
    assert settings[-1].config == override(base, {"binning.timesteps": 4, "neuron.tau": 2.0})


def test_an_exchanged_neuron_goes_on_from_a_run_that_ends_where_it_begins():
    base = DESIGNS["figure3a-small"].config
    arm = exchanged_arm("lif", "clif", 4)
    first, then = Comparison("x", (Setting("", base),), (neuron_arm("lif"), arm), (5,), Path("cache")).parts_of(
        Setting("", base), arm, 5
    )
    assert (first.neuron.name, first.schedule.last_epoch, first.start_from) == ("lif", 4, None)
    assert (then.neuron.name, then.schedule.last_epoch) == ("clif", base.schedule.epochs)
    assert then.start_from == fingerprint(first) and first.seed == then.seed == 5


def test_the_other_side_of_a_a_has_other_seeds_and_nothing_else():
    design = DESIGNS["a-a-small"]
    comparison = Comparison("a-a-small", design.settings({})[:1], design.arms, (3,), Path("cache"))
    one, other = (flatten(config) for config in comparison.configs())
    assert {path for path in one if one[path] != other[path]} == {"seed"} and other["seed"] == 1003


def plan(*argv: str) -> Comparison:
    return command.plan_comparison(command.parse_arguments(argv))


def test_a_field_on_the_command_line_applies_to_every_setting():
    epochs = ("--schedule.epochs", "3")
    table3 = plan("table3-small", *epochs)
    several = plan("gestures-small", "--also", "n-mnist-small", "--over", "binning.timesteps=4,8", *epochs)
    controls = plan("controls-small", "--neurons", *NEURONS, "--seeds", "2", "--seed", "9")
    # A value that equals the first preset's own is given as well.
    batches = plan("gestures-small", "--also", "gestures-hard-small", "--batch-size", "16")
    assert [setting.config.batch_size for setting in batches.settings] == [16, 16]
    assert {setting.config.schedule.epochs for setting in (*table3.settings, *several.settings)} == {3}
    assert len(table3.settings) == 9 and len(table3.seeds) == 2
    assert [setting.name for setting in several.settings] == [
        "gestures-small, T = 4", "gestures-small, T = 8", "n-mnist-small, T = 4", "n-mnist-small, T = 8"
    ]  # fmt: skip
    assert several.settings[2].config.binning.downsample == 1
    assert [arm.name for arm in controls.arms] == ["lif", "clif"] and controls.seeds == (9, 10)


@pytest.mark.parametrize("name", ["robustness", "robustness-small"])
def test_every_setting_of_robustness_differs_from_the_unchanged_one(name: str):
    unchanged, *changed = DESIGNS[name].settings({})
    assert len(changed) == 9 and all(setting.config != unchanged.config for setting in changed)


def test_the_settings_of_robustness_keep_the_order_of_folders_made_before():
    names = [setting.name for setting in DESIGNS["robustness"].settings({})]
    assert names[-2:] == ["batch norm over T·B", "lambda 0"]


def test_a_neuron_that_a_design_changes_is_the_designs_own_when_it_is_named():
    design = DESIGNS["robustness-small"]
    comparison = plan("robustness-small", "--neurons", "lif", "clif", "plif")
    assert comparison.arms == (*design.arms[:2], neuron_arm("plif"))
    # CLIF has no hard reset.
    for setting in comparison.settings:
        for arm in comparison.arms[:2]:
            assert comparison.config_of(setting, arm, 3).neuron.name == arm.name


def test_exchanges_that_named_neurons_leave_out_are_reported_and_may_be_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def stop(*_: object, **__: object) -> None:
        raise RunError("stopped")

    monkeypatch.setattr("tune.comparison.run_comparison.compare", stop)

    def printed(*argv: str) -> str:
        with pytest.raises(RunError, match="stopped"):
            command.run([*argv, "--out", str(tmp_path / "out")])
        return capsys.readouterr().err

    design = DESIGNS["figure3a-small"]
    assert [arm.name for arm in plan("figure3a-small", "--neurons", "lif", "clif").arms] == ["lif", "clif"]
    found = printed("figure3a-small", "--neurons", "lif", "clif")
    assert f"figure3a-small: --neurons leaves out '{design.arms[2].name}' '{design.arms[3].name}'" in found
    names = [arm.name for arm in design.arms]
    assert plan("figure3a-small", "--neurons", *names).arms == design.arms
    assert "leaves out" not in printed("figure3a-small", "--neurons", *names)
    assert "leaves out" not in printed("controls-small", "--neurons", "lif", "clif")


def test_one_neuron_joins_a_comparison_that_is_there(tmp_path: Path):
    plan("gestures-small").write(tmp_path)
    comparison = plan("gestures-small", "--neurons", "plif", "--out", str(tmp_path))
    assert [arm.name for arm in comparison.arms] == ["plif"]
    assert [arm.name for arm in _with_earlier(comparison, tmp_path).arms] == ["lif", "clif", "plif"]


def test_several_presets_and_files_have_one_selection(tmp_path: Path):
    config = override(find_preset("gestures-small").config, {"selection": "validation"})
    write_json(tmp_path / "config.json", to_dict(config))
    argv = ["--config", str(tmp_path / "config.json"), "--also", "n-mnist-small"]
    for chosen, more in (("last", []), ("validation", ["--selection", "validation"])):
        found = {setting.config.selection for setting in plan(*argv, *more).settings}
        assert found == {chosen}


def test_presets_of_one_data_set_have_one_split():
    by_split: dict[str, str] = {}
    for name, preset in PRESETS.items():
        if preset.config.dataset.name == "cifar10-dvs":
            by_split.setdefault(preset.config.dataset.split, name)
    (split, name), (other_split, other), *_ = by_split.items()
    with pytest.raises(SpikeloomError) as caught:
        command.run([name, "--also", other])
    assert str(caught.value) == (
        f"--also {other}: expected the split of {name}, {split}, found {other_split}. Results on different test "
        f"samples cannot be compared. Use one split for both: --dataset.split {split}"
    )
    given = plan(name, "--also", other, "--dataset.split", split)
    assert {setting.config.dataset.split for setting in given.settings} == {split}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["table3-small", "--over", "binning.timesteps=4,8"], "--over, --also: expected neither, because"),
        (["table3-small", "--neuron.tau", "1.5"], "--neuron.tau: expected no value, because table3-small sets"),
        (["gestures-small", "--neuron.name", "clif"], "--neuron.name: expected no value, because --neurons names"),
        (["gestures-small", "--over", "neuron.tau=1.5:3"], "--over neuron.tau: expected a list of values"),
        (["gestures-small", "--over", "neuron.name=lif,clif"], "--over neuron.name: expected another field"),
        (["gestures-small", "--over", "neuron.tua=1.5,3"], "--over"),
        (["gestures-small", "--also", "n-mnist-smal"], "Did you mean 'n-mnist-small'"),
        (["gestures-small", "--budget", "4"], "--budget: expected --fairness equal-budget, found --fairness equal."),
        # The default, given.
        (["gestures-small", "--budget", "8"], "--budget: expected --fairness equal-budget, found --fairness equal."),
        (["gestures-small", "--fairness", "none"], "fairness"),
        (
            ["n-mnist-small", "--over", "neuron.tau=1.1,3", "--fairness", "tau-grid"],
            "--fairness: expected settings without neuron.tau, which it searches for each neuron, found it in",
        ),
        (["n-mnist-small", "--over", "neuron.tau=1.1", "--fairness", "tau-grid"], "settings without neuron.tau"),
        (["table3-small", "--fairness", "tau-grid"], "found it in the settings of table3-small"),
        (
            ["n-mnist-small", "--over", "optimiser.learning_rate=0.1,0.2", "--fairness", "equal-budget"],
            "expected settings without optimiser.learning_rate, which it searches for each neuron",
        ),
        (
            ["figure3a-small", "--fairness", "tau-grid"],
            "trained from start to end, found 'LIF → CLIF after epoch 8', which is exchanged during",
        ),
    ],
)
def test_faulty_arguments_are_refused(argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpikeloomError) as caught:
        command.run(argv)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def notes_of(name: str) -> list[str]:
    design = DESIGNS[name]
    return equality_notes(Comparison(name, design.settings({}), design.arms, (1, 2), Path("cache")))


def test_what_is_the_same_within_a_seed_is_told_with_its_exceptions():
    same = "Within a seed all neurons share initial weights, shuffling, augmentation and all settings."
    assert notes_of("table2-small")[0] == notes_of("robustness-small")[0] == same
    clif = (
        "CLIF uses neuron.reset = soft, neuron.detach_reset = False in every setting, regardless of the other neurons."
    )
    assert clif in notes_of("robustness-small") and clif not in notes_of("table2-small")
    assert any(line.startswith("'LIF, other seeds' is not paired: 1000 is added") for line in notes_of("a-a-small"))


def test_a_comparison_of_the_pair_without_a_control_says_what_it_cannot_tell():
    unable = {name for name in DESIGNS if any(line.startswith("These runs cannot tell") for line in notes_of(name))}
    assert {"table3-small", "table2", "figure4"} <= unable
    assert not unable & {"table2-small", "figure11-small", "controls", "a-a-small", "delayed-cue-small"}


def test_neurons_on_which_the_tuned_fields_have_no_effect_are_named():
    settings = (Setting("", DESIGNS["table2-small"].config),)
    arms = tuple(map(neuron_arm, ("lif", "psn", "relu")))
    tuned = {("", "lif"): {"neuron.tau": 1.5}, ("", "psn"): {}, ("", "relu"): {}}
    comparison = Comparison("x", settings, arms, (1, 2), Path("cache"), Tuning(("neuron.tau=1.5,2",)), tuned)
    said = equality_notes(comparison)
    assert said[0].endswith("all settings except those tuned for each neuron.")
    assert any(line.endswith("; except PSN, ReLU, on which these fields have no effect.") for line in said)


def test_an_unknown_design_or_preset_is_named_with_the_nearest_of_both() -> None:
    for name, near in (("controls-smal", "controls-small"), ("n-mnist-smal", "n-mnist-small")):
        with refuses(ConfigError, where="PRESET", found=f"'{name}'", remedy=f"Did you mean '{near}'?", errors=1):
            command.parse_arguments([name])
