"""A comparison pairs runs by seed, shows what is missing, and says what the data do and do not show."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import CONFIG, write_comparison, write_run

from pipeline.config.run_config import RunConfig, fingerprint, flatten, override, to_dict
from pipeline.runs.run_folder import holding
from preprocess.errors import CacheError, ConfigError, RunError
from preprocess.files import write_json
from tune.commands import compare as command
from tune.comparison.arms import Setting, exchanged_arm, neuron_arm
from tune.comparison.comparison_plan import Comparison, Tuning, compare_neurons, read_comparison, read_outcomes
from tune.comparison.comparison_tables import accuracy_table, csv_text, seed_table
from tune.comparison.conclusions import Conclusion, conclude, seeds_warning
from tune.comparison.planned_runs import plan_lines
from tune.comparison.run_comparison import _with_earlier, compare, write_conclusion
from tune.rendering.labels import format_seeds, neuron_label
from tune.rendering.table import number, points
from tune.resources.allocation import ResourceRequest
from tune.resources.where_trials_run import ExecutionOptions
from tune.stats.sign_flip import sign_flip_p
from tune.stats.summary import t_interval
from tune.trials.ledger import Ledger

# Trials one after another, in one process; nothing is measured before them.
ONE = ExecutionOptions(request=ResourceRequest(concurrent=1))


def conclusion_of(folder: Path, correct: dict[str, list[int | None]], **options: object) -> Conclusion:
    comparison = write_comparison(folder, correct, **options)  # type: ignore[arg-type]
    return conclude(comparison, folder)


def config_of(comparison: Comparison, neuron: str, seed: int) -> RunConfig:
    return comparison.config_of(comparison.settings[0], neuron_arm(neuron), seed)


def test_within_a_seed_only_the_neuron_differs_and_between_seeds_only_the_seed():
    comparison = compare_neurons("gestures-small", CONFIG, ("lif", "clif"), (3, 4), Path("cache"))
    lif, clif, lif_next, _ = (flatten(config) for config in comparison.configs())
    assert {path for path in lif if lif[path] != clif[path]} == {"neuron.name"}
    assert {path for path in lif if lif[path] != lif_next[path]} == {"seed"}


def test_within_a_seed_first_weights_and_every_batch_are_the_same(
    tiny_cache: Path, tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    from pipeline.data.loader import Batch, FrameLoader
    from pipeline.training import train_run

    seen: list[list[torch.Tensor]] = []
    build, batches = train_run.make_run_network, FrameLoader.batches

    def build_and_note(*words: Any, **named: Any) -> torch.nn.Module:
        network = build(*words, **named)
        seen.append([value.clone() for value in network.state_dict().values()])
        return network

    def read_and_note(self: FrameLoader, epoch: int = 0) -> Iterator[Batch]:
        for batch in batches(self, epoch):
            seen[-1] += [batch.frames.clone(), batch.labels.clone()]
            yield batch

    monkeypatch.setattr(train_run, "make_run_network", build_and_note)
    monkeypatch.setattr(FrameLoader, "batches", read_and_note)
    config = override(tiny_config, {"selection": "last", "threads": 1})
    comparison = compare_neurons("tiny", config, ("lif", "clif"), (3, 4), tiny_cache)
    for config in comparison.configs():
        train_run.train_run(config, tmp_path / fingerprint(config), tiny_cache)
    lif, clif, lif_next, clif_next = seen
    assert len(lif) > 2 * 6 * 3
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(lif, clif, strict=True))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(lif_next, clif_next, strict=True))
    assert not all(torch.equal(ours, theirs) for ours, theirs in zip(lif, lif_next, strict=True))


@pytest.mark.long
@pytest.mark.ray
def test_a_comparison_runs_through_ray_and_more_seeds_run_only_what_is_new(
    tiny_cache: Path, tiny_config: RunConfig, tmp_path: Path, shared_ray: None, capsys: pytest.CaptureFixture[str]
):
    config = override(tiny_config, {"selection": "last", "seed": 5})
    folder = tmp_path / "out"
    write_json(tmp_path / "config.json", to_dict(config))
    words = ["--config", str(tmp_path / "config.json"), "--cache", str(tiny_cache), "--out", str(folder)]
    command.run([*words, "--seeds", "1"])
    said = capsys.readouterr()
    assert "2 runs of 3 epochs: LIF, CLIF, 1 seed each (5); 0 already done" in said.err
    assert "1 seed cannot show a significant difference" in said.err
    assert "1: 5" in said.out
    first = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/done.json")}
    assert len(first) == 2

    command.run([*words, "--seeds", "2"])
    said = capsys.readouterr()
    assert "4 runs of 3 epochs: LIF, CLIF, 2 seeds each (5, 6); 2 already done" in said.err
    assert "one test sample = 3.33 percentage points (30 test samples)." in said.out
    assert {path: path.stat().st_mtime_ns for path in first} == first
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert [(row["neuron.name"], row["seed"], row["status"]) for row in rows] == [
        (neuron, seed, "done") for seed in ("5", "6") for neuron in ("lif", "clif")
    ]
    table = (folder / "table.md").read_text()

    command.run(["--resume", str(folder)])
    assert "4 already done" in capsys.readouterr().err
    assert (folder / "table.md").read_text() == table


@pytest.mark.long
@pytest.mark.ray
def test_each_neuron_is_tuned_alike_before_its_seeds_run(
    tiny_cache: Path, tiny_config: RunConfig, tmp_path: Path, shared_ray: None
):
    config = override(tiny_config, {"selection": "last", "schedule.epochs": 2})
    arms = (neuron_arm("lif"), neuron_arm("psn"))
    tuning = Tuning(("neuron.tau=1.5,3",))
    comparison = Comparison("tiny", (Setting("", config),), arms, (5,), tiny_cache, tuning)
    folder = tmp_path / "out"
    conclusion = compare(comparison, folder, place=ONE)
    found = read_comparison(folder)
    # A neuron without tau has nothing to be tuned; the searches saw no test sample, and are kept.
    assert found.tuned["", "psn"] == {} and set(found.tuned["", "lif"]) == {"neuron.tau"}
    assert all("test_accuracy" not in path.read_text() for path in folder.glob("tuning/*/trials/*/metrics.jsonl"))
    assert conclusion.results[0].tuned["lif"] == found.tuned["", "lif"]
    assert "Each neuron was tuned first" in " ".join(conclusion.sentences())
    assert "## Tuned for each neuron" in (folder / "table.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("done.json")}
    compare(found, folder, place=ONE)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("done.json")} == before


@pytest.mark.long
@pytest.mark.ray
def test_an_exchanged_neuron_goes_on_where_the_first_ended(
    tiny_cache: Path, tiny_config: RunConfig, tmp_path: Path, shared_ray: None
):
    config = override(tiny_config, {"selection": "last", "schedule.epochs": 2})
    arms = (neuron_arm("lif"), exchanged_arm("lif", "clif", 1))
    comparison = Comparison("tiny", (Setting("", config),), arms, (5,), tiny_cache)
    assert compare(comparison, tmp_path / "out", place=ONE).errors == ()
    first, then = comparison.parts_of(comparison.settings[0], arms[1], 5)
    ledger = Ledger(tmp_path / "out")
    assert [row["epoch"] for row in ledger.metrics(then)] == [1, 2]
    assert ledger.metrics(then)[0] == ledger.metrics(first)[0]


def test_what_was_asked_for_reads_back(tmp_path: Path):
    comparison = compare_neurons("gestures-small", CONFIG, ("lif", "clif"), (3, 4), tmp_path / "cache")
    comparison.write(tmp_path)
    assert read_comparison(tmp_path) == comparison
    assert json.loads((tmp_path / "comparison.json").read_text())["primary_metric"] == "test_accuracy"


def test_table_rows_say_what_they_were_measured_on(tmp_path: Path):
    table = accuracy_table(conclusion_of(tmp_path, {"lif": [30, 29, 31], "clif": [31, 31, 33]}))
    assert table.title == "Emulated data: LIF against CLIF on emulated-gestures"
    place = ("emulated-gestures", "official", "4", "3: 7–9", "last epoch")
    assert table.rows == (
        ("LIF", "75.0 ± 2.5", "–", "0.080 ± 0.000", "19 ± 0", "12 ± 0", "0 of 3", *place),
        ("CLIF", "79.2 ± 2.9", "–", "0.080 ± 0.000", "20 ± 0", "12 ± 0", "0 of 3", *place),
        ("CLIF − LIF", "+4.17 ± 1.44", "–", "", "", "", "", *place),
    )


def test_seed_table_pairs_by_seed(tmp_path: Path):
    conclusion = conclusion_of(tmp_path, {"lif": [30, 29, 31], "clif": [31, 28, 33]})
    table = seed_table(conclusion, conclusion.results[0])
    assert table.columns == ("seed", "LIF, %", "CLIF, %", "CLIF − LIF, percentage points")
    assert table.rows[0] == ("7", "75.0", "77.5", "+2.50")
    assert table.rows[1] == ("8", "72.5", "70.0", "−2.50")
    low, high = t_interval([2.5, -2.5, 5.0])  # type: ignore[misc]
    assert table.rows[3][0::3] == ("mean ± std", "+1.67 ± 3.82")
    assert table.rows[4][0::3] == ("95 % interval", f"{low:.2f} to {high:+.2f}".replace("-", "−"))


def test_missing_seeds_are_shown_and_in_no_mean(tmp_path: Path):
    conclusion = conclusion_of(tmp_path, {"lif": [30, None, 31], "clif": [31, 40, 34]})
    lif, clif, difference = accuracy_table(conclusion).rows
    assert lif[1] == "76.2 ± 1.8"
    assert lif[-2] == difference[-2] == "2: 7, 9; missing 8"
    assert clif[-2] == "3: 7–9"
    assert difference[1] == "+5.00 ± 3.54"
    assert seed_table(conclusion, conclusion.results[0]).rows[1] == ("8", "missing", "100.0", "missing")
    assert conclusion.errors == ("LIF seed 8: failed: the loss was nan at step 3 of epoch 2",)
    assert "missing 8" in accuracy_table(conclusion).markdown()


def test_csv_holds_fractions_and_names_missing_seeds(tmp_path: Path):
    conclusion = conclusion_of(tmp_path, {"lif": [30, None, 31], "clif": [31, 30, 33]})
    lif, clif, difference = csv.DictReader(csv_text(conclusion).splitlines())
    assert float(clif["test_accuracy_mean"]) == pytest.approx(np.mean([31, 30, 33]) / 40)
    assert (lif["seeds"], lif["missing_seeds"]) == ("7 9", "8")
    assert (difference["neuron"], difference["minus"], difference["row"]) == ("clif", "lif", "difference")
    assert float(difference["sign_flip_p"]) == sign_flip_p([1 / 40, 2 / 40])
    assert (lif["dataset"], lif["emulated"], lif["selection"]) == ("emulated-gestures", "true", "last")


def test_a_damaged_run_is_listed_and_left_out(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30, 29], "clif": [31, 31]})
    folder = Ledger(tmp_path).trial_folder(config_of(comparison, "clif", 8))
    (folder / "result.json").write_text("{")
    conclusion = conclude(comparison, tmp_path)
    assert list(conclusion.results[0].arms["clif"].accuracy) == [7]
    assert conclusion.errors[0].startswith("CLIF seed 8: damaged: ")


def test_a_result_of_another_run_is_damaged(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30, 29], "clif": [31, 31]})
    config = config_of(comparison, "clif", 8)
    write_run(Ledger(tmp_path).trial_folder(config), replace(config, seed=99), 40)
    assert "expected the result of run" in read_outcomes(comparison, tmp_path)["", "clif", 8].missing


def test_a_run_that_never_began_is_missing(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30], "clif": [31]})
    more = replace(comparison, seeds=(7, 8))
    assert read_outcomes(more, tmp_path)["", "lif", 8].missing == "not run yet"


def test_few_seeds_are_said_to_show_nothing(tmp_path: Path):
    said = conclusion_of(tmp_path, {"lif": [30, 29, 31], "clif": [33, 33, 34]}).sentences()
    assert said[0].startswith("CLIF − LIF is +8.33 percentage points over 3 seeds (95 % interval ")
    assert said[0].endswith("p = 0.25): no significant difference; with so few seeds none could be significant.")
    assert said[1] == f"{seeds_warning(3, 1)}."
    assert said[2] == "Resolution: one test sample = 2.50 percentage points (40 test samples)."
    assert "emulated" in said[-1]


def test_enough_seeds_that_agree_show_who_is_ahead(tmp_path: Path):
    said = conclusion_of(tmp_path, {"lif": [33, 33, 34, 33, 32, 33], "clif": [30, 29, 31, 30, 30, 28]}).sentences()
    assert "sign-flip p = 0.031" in said[0]
    assert said[0].endswith("LIF is significantly better in this setting.")


def test_seeds_that_disagree_show_nothing(tmp_path: Path):
    said = conclusion_of(tmp_path, {"lif": [30, 30, 30, 30, 30, 30], "clif": [31, 29, 31, 29, 31, 29]}).sentences()
    assert said[0].endswith("sign-flip p = 1): no significant difference.")


def test_one_seed_and_no_pair_say_so(tmp_path: Path):
    said = conclusion_of(tmp_path / "a", {"lif": [30], "clif": [31]}).sentences()
    assert "cannot distinguish a difference from chance" in said[0]
    said = conclusion_of(tmp_path / "b", {"lif": [30, None], "clif": [None, 31]}).sentences()
    assert said[0].startswith("CLIF − LIF: no seed has finished runs of both")


def test_the_best_test_epoch_is_called_biased(tmp_path: Path):
    config = replace(CONFIG, selection="paper")
    conclusion = conclusion_of(tmp_path, {"lif": [30, 29], "clif": [31, 31]}, config=config)
    assert "optimistically biased" in " ".join(conclusion.sentences())
    assert accuracy_table(conclusion).rows[0][-1] == "best test epoch (the paper's convention)"


def test_recordings_are_not_called_emulated(tmp_path: Path):
    config = replace(CONFIG, dataset=replace(CONFIG.dataset, name="n-mnist"))
    conclusion = conclusion_of(tmp_path, {"lif": [30, 29], "clif": [31, 31]}, config=config)
    assert "mulated" not in accuracy_table(conclusion).markdown() + " ".join(conclusion.sentences())


def test_plan_says_how_many_runs_and_what_so_few_seeds_cannot_show(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30, None], "clif": [31, 31]})
    runs, warning = plan_lines(comparison, tmp_path)
    assert runs == "4 runs of 5 epochs: LIF, CLIF, 2 seeds each (7, 8); 3 already done"
    assert warning.startswith("2 seeds cannot show a significant difference: the smallest possible p")
    assert "sign-flip test is 0.5" in warning
    assert "(--seeds 6)" in warning
    setting = comparison.settings[0]
    short = replace(setting, config=override(setting.config, {"schedule.epochs": 1}))
    runs = plan_lines(replace(comparison, settings=(short,), seeds=(7,)), tmp_path)[0]
    assert runs == "2 runs of 1 epoch: LIF, CLIF, 1 seed each (7); 0 already done"
    _, smallest = plan_lines(replace(comparison, seeds=tuple(range(6))), tmp_path)
    assert "80 % power to detect differences of at least 1.8 standard deviations" in smallest


def test_tables_and_figures_are_written(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30, None, 31], "clif": [31, 31, 33]})
    write_conclusion(comparison, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert text.count("\n## ") == 6
    assert "- Excluded run: LIF seed 8: failed" in text
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    names = ("learning-curves", "paired-differences")
    assert figures == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert "emulated data" in (tmp_path / "figures" / "learning-curves.svg").read_text()
    again = (tmp_path / "figures" / "learning-curves.svg").read_bytes()
    write_conclusion(comparison, tmp_path)
    assert (tmp_path / "figures" / "learning-curves.svg").read_bytes() == again


def test_nothing_is_written_where_no_run_came_to_a_result(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [None], "clif": [None]})
    with pytest.raises(RunError, match=r"with a result, found none\. The first run: LIF seed 7: failed: the loss"):
        write_conclusion(comparison, tmp_path)
    assert not (tmp_path / "table.md").exists()


def test_a_folder_of_other_settings_is_refused_with_the_difference(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30], "clif": [31]})
    other = replace(comparison, settings=(Setting("", replace(CONFIG, batch_size=8)),))
    with pytest.raises(RunError, match="expected a comparison with batch_size = 8, found 4") as caught:
        compare(other, tmp_path)
    assert "Choose another --out" in caught.value.errors[-1]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="expected an empty folder or a comparison"):
        compare(comparison, tmp_path / "elsewhere")


def test_a_folder_of_another_comparison_is_refused_with_both_names(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30], "clif": [31]})
    with pytest.raises(RunError) as caught:
        compare(replace(comparison, name="figure4-small"), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: expected the comparison figure4-small, found gestures-small. Choose another --out, or continue "
        f"the one that is there: spikeloom compare --resume {tmp_path}"
    )


def test_a_comparison_keeps_others_out_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    comparison = write_comparison(tmp_path, {"lif": [30, 31], "clif": [31, 33]})
    ran = []

    def run(*_: object) -> None:
        before = (tmp_path / "comparison.json").read_bytes()
        with pytest.raises(RunError, match="found one that trains here"):
            compare(replace(comparison, seeds=(7, 8, 9)), tmp_path)
        assert (tmp_path / "comparison.json").read_bytes() == before
        ran.append(True)

    monkeypatch.setattr("tune.comparison.run_comparison._check_runs", lambda _: None)
    monkeypatch.setattr("tune.comparison.run_comparison._run", run)
    compare(comparison, tmp_path)
    assert ran == [True]
    with holding(tmp_path):
        pass


def test_what_another_process_declared_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    comparison = write_comparison(tmp_path, {"lif": [30, 31], "clif": [31, 33]})

    @contextmanager
    def late(folder: Path) -> Iterator[None]:
        replace(comparison, arms=(*comparison.arms, neuron_arm("plif"))).declare(4).write(folder)
        with holding(folder):
            yield

    monkeypatch.setattr("tune.comparison.run_comparison._check_runs", lambda _: None)
    monkeypatch.setattr("tune.comparison.run_comparison._run", lambda *_: None)
    monkeypatch.setattr("tune.comparison.run_comparison.holding", late)
    compare(comparison, tmp_path)
    found = read_comparison(tmp_path)
    assert [arm.name for arm in found.arms] == ["lif", "clif", "plif"]
    assert [entry["arms"] for entry in found.declared] == [["lif", "clif", "plif"]]


def test_an_unknown_neuron_is_refused_before_anything_is_written(tmp_path: Path):
    comparison = compare_neurons("gestures-small", CONFIG, ("lif", "clfi"), (1,), tmp_path / "cache")
    with pytest.raises(ConfigError, match="Did you mean 'clif'"):
        compare(comparison, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_event_store_is_refused_before_anything_is_written(tmp_path: Path):
    comparison = compare_neurons("gestures-small", CONFIG, ("lif", "clif"), (1,), tmp_path / "cache")
    with pytest.raises(CacheError, match="then spikeloom preprocess emulated-gestures"):
        compare(comparison, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_comparisons_and_searches_need_a_test_split_before_anything_is_written(tmp_path: Path):
    from tiny_run import TINY, tiny_cache

    from tune.search.search_plan import SearchOptions, plan_search

    cache = tiny_cache(tmp_path, 12, tests=False)
    config = replace(TINY, batch_size=2)
    message = "expected a test split, found only the 12 samples of the official training split in tiny. Preprocess the"
    with pytest.raises(ConfigError, match=message):
        compare(compare_neurons("tiny", config, ("lif", "clif"), (1,), cache), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=message):
        plan_search("tiny", config, SearchOptions(("neuron.tau=1.5,2",)), cache)


def test_numbers_that_round_to_nothing_have_no_sign():
    assert points(-0.00004) == points(0.00004) == "0.00"
    assert points(-0.00006) == "−0.01"
    assert number(-1e-9, ".1f") == "0.0"


def test_names_of_neurons_and_seeds():
    assert neuron_label("clif") == "CLIF"
    assert neuron_label("mine/neurons.py:Fast") == "Fast"
    assert format_seeds([2022, 2023]) == "2022, 2023"
    assert format_seeds([2022, 2023, 2024]) == "2022–2024"
    assert format_seeds([2022, 2024, 2025]) == "2022, 2024, 2025"


def test_neurons_and_seeds_of_before_are_never_dropped(tmp_path: Path):
    earlier = compare_neurons("x", CONFIG, ("lif", "clif"), (1, 2, 3), tmp_path)
    earlier.write(tmp_path)
    found = _with_earlier(replace(earlier, arms=(neuron_arm("lif"), neuron_arm("plif")), seeds=(3, 4)), tmp_path)
    assert [arm.name for arm in found.arms] == ["lif", "clif", "plif"] and found.seeds == (1, 2, 3, 4)
