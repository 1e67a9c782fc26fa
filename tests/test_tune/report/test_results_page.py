"""The pages in docs/results that ``python -m benchmarks.results`` writes of designs, and their index."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import CONFIG, write_comparison, write_comparison_runs, write_curve, write_run

from benchmarks.results import Arguments, main, take_common_runs
from benchmarks.results_index import ANALYSES_NAME, NAME, RESULTS, facts, index_text, write_index
from benchmarks.results_page import changes_table, write_page
from benchmarks.results_shared import shared_runs
from benchmarks.results_verdict import verdict
from pipeline.config.run_config import override
from preprocess.files import write_json
from tune.comparison.arms import Setting, neuron_arm
from tune.comparison.comparison_plan import AutoEpochs, Comparison, compare_neurons, read_outcomes
from tune.comparison.conclusions import Conclusion, conclude
from tune.comparison.designs.registry import DESIGNS
from tune.trials.ledger import BASIS, Ledger

DESIGN_PAGES = sorted(path for path in RESULTS.glob("*.md") if path.name not in (NAME, ANALYSES_NAME))


def test_page_has_what_was_run_and_the_paper_s_numbers_apart(tmp_path: Path):
    write_comparison(tmp_path / "runs", {"lif": [30, 31, None], "clif": [31, 31, 33]})
    docs = tmp_path / "docs"
    write_page("figure11-small", tmp_path / "runs", docs, "0ff1ce")
    text = (docs / "figure11-small.md").read_text()
    head, _, rest = text.partition("## What the data show")
    assert "- Command: `spikeloom compare figure11-small`\n- Commit: 0ff1ce\n" in head
    assert "- Runs: 6, " in head and "- Data: emulated-gestures (40 test samples)\n" in head
    assert "- Excluded run: LIF seed 9: failed" in rest
    measured, title, paper = rest.partition("## What the paper")
    assert "76.2 ± 1.8" in measured and title
    # Theirs is another data set and network: no number of ours is beside them.
    assert "76.2" not in paper and "emulated" not in paper
    drawn = {path.name for path in docs.glob("*.svg")}
    assert drawn == {"figure11-small-rates.svg"}
    assert all(f"]({name})" in head for name in drawn)
    assert "emulated data" in (docs / "figure11-small-rates.svg").read_text()
    assert "## Emulated data: Paired differences: emulated-gestures, official split, T = 4" in rest
    before = {path: path.read_bytes() for path in docs.iterdir()}
    write_page("figure11-small", tmp_path / "runs", docs, "0ff1ce")
    assert {path: path.read_bytes() for path in docs.iterdir()} == before


def section(text: str, title: str) -> list[dict[str, str]]:
    """The rows of the first table under a heading with this text, by column."""
    lines = text.partition(f"## {title}")[2].splitlines()[1:]
    own = [line for line in itertools.takewhile(lambda line: not line.startswith("## "), lines) if line.startswith("|")]
    table = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in own]
    return [dict(zip(table[0], row, strict=True)) for row in table[2:]]


def enumerated_p(counts: list[int]) -> float:
    """The sign-flip test with whole numbers, one pattern after another."""
    patterns = list(itertools.product((1, -1), repeat=len(counts)))
    sums = [abs(sum(sign * count for sign, count in zip(signs, counts, strict=True))) for signs in patterns]
    return sum(found >= abs(sum(counts)) for found in sums) / len(sums)


def test_every_p_value_of_a_page_can_be_recomputed_from_its_counts(tmp_path: Path):
    correct: dict[str, list[int | None]] = {
        "lif": [30, 31, 29, 33, 28, 30, 32],
        "clif": [33, 35, 30, 36, 32, 31, 36],
        "lif-reset1.8": [31, 30, 29, 34, 30, 29, 33],
    }
    write_comparison(tmp_path / "runs", correct)
    write_page("table2-small", tmp_path / "runs", tmp_path, "0ff1ce")
    text = (tmp_path / "table2-small.md").read_text()
    counts = {
        row["neuron"]: [int(value) for column, value in row.items() if column.startswith("seed")]
        for row in section(text, "Emulated data: Correct test samples by seed")
    }
    assert list(counts.values()) == list(correct.values())
    differences = section(text, "Emulated data: Paired differences")
    raw = {}
    for row in differences:
        later, _, first = row["difference"].partition(" − ")
        raw[later] = enumerated_p([a - b for a, b in zip(counts[later], counts[first], strict=True)])
        assert row["sign-flip p"] == f"{raw[later]:.2g}"
    assert 0 < raw["CLIF"] <= 0.05 < raw["LIF-reset1.8"] < 1
    # Seven seeds are enough for two differences.
    assert facts(text)["Verdict"].endswith(f", LIF-reset1.8 +1.07 (p = {raw['LIF-reset1.8']:.2g})")
    # Holm: twice the smaller one, and no less for the larger one.
    holm = {row["difference"].partition(" − ")[0]: row["Holm p"] for row in differences}
    smaller = min(1.0, 2 * raw["CLIF"])
    assert holm == {"CLIF": f"{smaller:.2g}", "LIF-reset1.8": f"{max(smaller, raw['LIF-reset1.8']):.2g}"}


def test_every_p_value_of_the_speed_of_learning_can_be_recomputed_from_the_epochs_of_the_seeds(tmp_path: Path):
    # Training accuracies after two epochs; the last run of CLIF never reaches 90 %.
    seconds = {"lif": [0.91, 0.93, 0.95, 0.99], "clif": [0.92, 0.94, 0.9, 0.7], "plif": [0.98, 0.99, 0.99, 1.0]}
    planned = write_comparison(tmp_path / "runs", {name: [30] * 4 for name in seconds})
    for arm in planned.arms:
        for seed, second in zip(planned.seeds, seconds[arm.name], strict=True):
            curve = [0.5, second, second, second, second]
            write_curve(tmp_path / "runs", planned.config_of(planned.settings[0], arm, seed), curve)
    write_page("table2-small", tmp_path / "runs", tmp_path, "0ff1ce")
    text = (tmp_path / "table2-small.md").read_text()
    shown = {
        row["neuron"]: [value for column, value in row.items() if column.startswith("seed")]
        for row in section(text, "Emulated data: Epochs to 90 % training accuracy by seed")
    }
    assert shown["LIF"] == ["1.9756", "1.9302", "1.8889", "1.8163"] and shown["CLIF"][2:] == ["2.0000", "> 5"]
    epochs = {name: [round(1e4 * float(value.strip("> "))) for value in mine] for name, mine in shown.items()}
    found = section(text, "Emulated data: Speed of learning")[len(shown) :]
    assert [row["neuron"] for row in found] == ["CLIF − LIF", "PLIF − LIF"]
    for row in found:
        later, _, first = row["neuron"].partition(" − ")
        expected = enumerated_p([a - b for a, b in zip(epochs[later], epochs[first], strict=True)])
        assert row["sign-flip p"] == f"{expected:.2g}"
    assert found[0]["sign-flip p"] != found[1]["sign-flip p"] == "0.12"


def test_a_page_of_short_runs_says_above_all_that_it_compares_speed(tmp_path: Path):
    write_comparison(tmp_path / "runs", {"lif": [30, 31], "clif": [31, 31]})
    write_page("table2-small", tmp_path / "runs", tmp_path, "0ff1ce")
    text = (tmp_path / "table2-small.md").read_text()
    assert text.startswith(
        "# table2-small\n\n**Not trained to convergence: this compares speed of learning at 5 epochs"
    )
    found = facts(text)
    assert found["Converged"] == "no, 4 of 4 runs had not after 5 epochs"
    assert found["Verdict"] == (
        "speed of learning at 5 epochs only; percentage points against LIF: CLIF +1.25 (2 seeds, too few for a test)"
    )
    assert "## Emulated data: Convergence" in text


def fitted(folder: Path, counts: dict[str, list[int]]) -> None:
    """A comparison of runs of 40 epochs that fit all of their training samples."""
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, epochs=40))
    write_comparison(folder, {neuron: list(mine) for neuron, mine in counts.items()}, config=config)


def test_a_page_of_converged_runs_says_so(tmp_path: Path):
    fitted(tmp_path / "runs", {"lif": [30, 31], "clif": [31, 31]})
    write_page("table2-small", tmp_path / "runs", tmp_path, "0ff1ce")
    text = (tmp_path / "table2-small.md").read_text()
    assert "Not trained to convergence" not in text
    assert facts(text)["Converged"] == "yes, all 4 runs after 40 epochs"
    assert facts(text)["Verdict"] == "percentage points against LIF: CLIF +1.25 (2 seeds, too few for a test)"


def concluded(folder: Path, counts: dict[str, list[list[int]]], over_samples: tuple[float, float]) -> Conclusion:
    """Runs of 40 epochs in a setting for each list of counts; every interval over test samples has these ends."""
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, epochs=40))
    first = next(iter(counts.values()))
    settings = [Setting(f"T = {k + 1}", override(config, {"binning.timesteps": k + 1}), {}) for k in range(len(first))]
    arms = tuple(map(neuron_arm, counts))
    planned = Comparison("made-up", tuple(settings), arms, tuple(range(len(first[0]))), folder / "cache")
    by_place = {(place.name, arm): mine[k] for arm, mine in counts.items() for k, place in enumerate(settings)}
    write_comparison_runs(folder, planned, {place: list(mine) for place, mine in by_place.items()})
    return with_intervals(conclude(planned, folder), over_samples)


def with_intervals(conclusion: Conclusion, ends: tuple[float, float]) -> Conclusion:
    results = [
        replace(result, differences=tuple(replace(one, over_splits=ends) for one in result.differences))
        for result in conclusion.results
    ]
    return replace(conclusion, results=tuple(results))


AHEAD = [31, 32, 31, 32, 31, 32, 31]


def test_a_verdict_says_where_a_significant_difference_may_not_generalise(tmp_path: Path):
    counts = {"lif": [[30] * 7], "clif": [AHEAD], "plif": [[30, 31, 29, 30, 30, 31, 29]]}
    wide = concluded(tmp_path, counts, over_samples=(-0.023, 0.074))
    limit = "; may not generalise: the interval over test samples, −2.30 to +7.40, includes 0"
    for conclusion, more in ((wide, limit), (with_intervals(wide, (0.001, 0.071)), "")):
        assert verdict(conclusion) == (
            f"percentage points against LIF: CLIF +3.57 (significant, p = 0.031{more}), PLIF 0.00 (p = 1)"
        )
        assert bool(more) == ("so this may not generalise" in conclusion.sentences()[0])


def test_a_verdict_over_several_settings_counts_what_may_not_generalise(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [[30] * 7] * 2, "clif": [AHEAD, [30] * 7]}, (-0.02, 0.07))
    assert verdict(conclusion) == (
        "percentage points against LIF: CLIF 0.00 to +3.57 (1 of 2 significant, 1 of which may not generalise)"
    )


def test_what_all_arms_share_is_said_once(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [[30, 31]], "clif": [[31, 31]], "plif": [[30, 32]]}, (-0.1, 0.1))
    assert verdict(conclusion) == (
        "percentage points against LIF: CLIF +1.25, PLIF +1.25 (each: 2 seeds, too few for a test)"
    )


def test_the_settings_that_a_design_changes_in_its_preset_are_listed():
    design = DESIGNS["table3-small"]
    table = changes_table(Comparison("table3-small", design.settings({}), design.arms, (1, 2), Path("cache")))
    assert table is not None
    found = {row[1]: row[2:] for row in table.rows}
    assert found["network.width"] == ("1", "0.25") and found["binning.timesteps"] == ("10", "4")
    assert found["schedule.epochs"] == ("10", "32") and found["grad_steps"] == ("none", "1, 2, 4")
    assert found["neuron.tau"] == ("2", "1.1, 1.5, 2") and found["selection"][1] == "last"
    assert "dataset.name" not in found and "seed" not in found


def test_the_index_has_a_line_for_each_page_and_is_that_of_the_committed_pages(tmp_path: Path):
    fitted(tmp_path / "runs", {"lif": [30, 31], "clif": [31, 31]})
    write_page("table2-small", tmp_path / "runs", tmp_path, "0ff1ce")
    write_index(tmp_path)
    lines = [line for line in (tmp_path / NAME).read_text().splitlines() if line.startswith("| [")]
    assert lines == [
        f"| [table2-small](table2-small.md) | {DESIGNS['table2-small'].summary} "
        "| percentage points against LIF: CLIF +1.25 (2 seeds, too few for a test) | yes, all 4 runs after 40 epochs "
        "| emulated-gestures (40 test samples) | – |"
    ]
    assert (RESULTS / NAME).read_text("utf-8") == index_text(RESULTS), "run: python -m benchmarks.results_index"


@pytest.mark.parametrize("page", DESIGN_PAGES, ids=lambda p: p.stem)
def test_committed_pages_have_their_facts_and_a_warning_above_verdicts_on_runs_that_had_not_converged(page: Path):
    text = page.read_text("utf-8")
    found = facts(text)
    assert {"Question", "Verdict", "Converged", "Data", "Command", "Commit"} <= found.keys()
    warned = text.split("\n")[2].startswith("**Not trained to convergence: ")
    assert warned == found["Converged"].startswith("no")
    assert warned == found["Verdict"].startswith("speed of learning at ")


def test_pages_of_the_same_runs_say_so_and_pages_of_the_same_configurations_with_other_results_do_not():
    pages = {name: (RESULTS / f"{name}.md").read_text("utf-8") for name in ("table2-small", "controls-small")}
    smaller, larger = (section(text, "Correct test samples by seed") for text in pages.values())
    assert [row["neuron"] for row in smaller] == [row["neuron"] for row in larger][:4]
    assert all(row.items() <= whole.items() for row, whole in zip(smaller, larger, strict=False))
    assert shared_runs(pages) == {
        "table2-small": "all 28 with controls-small",
        "controls-small": "28 with table2-small",
    }
    longer = pages | {"table2-small": pages["table2-small"].replace("after 32 epochs", "after 64 epochs")}
    assert shared_runs(longer) == {"table2-small": "–", "controls-small": "–"}
    row = "| n-mnist | CLIF | 2000 | "
    first = next(found["seed 2022"] for found in smaller if found["neuron"] == "CLIF")
    other = pages | {"table2-small": pages["table2-small"].replace(f"{row}{first}", f"{row}{int(first) + 1}")}
    assert shared_runs(other) == {"table2-small": "27 with controls-small", "controls-small": "27 with table2-small"}
    # A run that both lack is no evidence at all.
    lacking = {name: re.sub(re.escape(row) + r"\d+", f"{row}missing", text, count=1) for name, text in pages.items()}
    assert shared_runs(lacking) == {
        "table2-small": "all 27 with controls-small",
        "controls-small": "27 with table2-small",
    }
    # The runs of a setting that the design does not have are nobody's.
    strange = pages | {"controls-small": pages["controls-small"].replace("| n-mnist | CLIF |", "| elsewhere | CLIF |")}
    assert shared_runs(strange)["table2-small"] == "21 with controls-small"


@pytest.mark.parametrize("page", DESIGN_PAGES, ids=lambda p: p.stem)
def test_a_committed_verdict_has_the_numbers_of_the_table_of_its_page(page: Path):
    text = page.read_text("utf-8")
    by_arm: dict[str, list[str]] = {}
    for row in section(text, "Paired differences") or section(text, "Emulated data: Paired differences"):
        arm = row["difference"].partition(" − ")[0]
        by_arm.setdefault(arm, []).append(row["mean, percentage points"].partition(" ± ")[0])
    assert by_arm
    for arm, means in by_arm.items():
        means.sort(key=lambda mean: float(mean.replace("−", "-")))
        shown = " to ".join(dict.fromkeys((means[0], means[-1])))
        assert re.search(rf"(?:: |, ){re.escape(arm)} {re.escape(shown)}(?:,| \(|$)", facts(text)["Verdict"])


def test_the_command_writes_the_page_and_the_index(tmp_path: Path):
    write_comparison(tmp_path / "runs" / "table2-small", {"lif": [30, 31], "clif": [31, 31]})
    docs = tmp_path / "docs"
    main(Arguments(("table2-small",), runs=tmp_path / "runs", docs=docs, commit="0ff1ce", page_only=True))
    assert {path.name for path in docs.iterdir()} == {"table2-small.md", NAME}
    assert "[table2-small](table2-small.md)" in (docs / NAME).read_text()


def test_runs_that_two_designs_have_in_common_are_copied_unless_their_data_differ(tmp_path: Path):
    auto = AutoEpochs(2 * CONFIG.schedule.epochs)
    one = compare_neurons("one", CONFIG, ("lif", "clif"), (7, 8), tmp_path / "cache")
    write_comparison_runs(tmp_path / "one", one, {("", "lif"): [30, None], ("", "clif"): [31, 32]})
    write_json(tmp_path / "one" / BASIS, {"the data set": "abc"})
    other = replace(one, name="other", arms=(neuron_arm("lif"), neuron_arm("plif")), auto=auto)
    # A run of the doubled round is taken as well.
    long = other.stretched(2).configs()[0]
    write_run(Ledger(tmp_path / "one").trial_folder(long), long)
    Ledger(tmp_path / "one").end(long, "done")
    (tmp_path / "other").mkdir()
    write_json(tmp_path / "other" / BASIS, {"the data set": "another"})
    assert take_common_runs(other, tmp_path / "other") == 0
    assert take_common_runs(other, tmp_path / "third") == 2
    # Seed 8 of LIF had failed, and is left to be trained.
    there = {key: outcome.run is not None for key, outcome in read_outcomes(other, tmp_path / "third").items()}
    assert [key for key, done in there.items() if done] == [("", "lif", 7)]
    assert Ledger(tmp_path / "third").is_final(long)
    assert take_common_runs(other, tmp_path / "third") == 0
