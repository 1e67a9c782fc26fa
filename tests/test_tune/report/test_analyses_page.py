"""The page docs/results/analyses.md, which ``python -m benchmarks.analyses`` writes of every run of a design."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import analyses
from benchmarks.analyses_page import SECTIONS, Measure, Section, section_table
from benchmarks.results_index import ANALYSES_NAME, RESULTS

SEEDS = range(2022, 2029)


def results(**values: list[float]) -> dict[str, dict[int, Any]]:
    """Results with two numbers by neuron and seed."""
    return {
        name.replace("_", "-"): {
            seed: SimpleNamespace(tested=value, other=-value) for seed, value in zip(SEEDS, row, strict=True)
        }
        for name, row in values.items()
    }


def section(from_zero: bool = False) -> Section:
    measures = (Measure("tested", lambda found: found.tested), Measure("described", lambda found: found.other))
    return Section("rates", "Who?", measures, from_zero)


def enumerated_p(values: list[float]) -> float:
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product((1, -1), repeat=7)
    ]
    return sum(found >= abs(sum(values)) - 1e-12 for found in sums) / len(sums)


LIF = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
CLIF = [2.0, 3.5, 3.5, 4.25, 7.0, 6.5, 8.0]
DETACHED = [0.5, 2.5, 3.5, 3.0, 5.5, 6.5, 6.0]


def test_the_first_measure_is_tested_by_neuron_and_the_others_describe():
    table = section_table(section(), results(lif=LIF, clif=CLIF, clif_detached=DETACHED))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    lif, clif, detached = rows[:3]
    assert [row["neuron"] for row in rows] == 2 * ["LIF", "CLIF", "CLIF-detached"]
    assert lif["sign-flip p"] == lif["difference from LIF"] == "" and lif["mean"].startswith("4.000 ± ")
    differences = {"CLIF": [c - v for c, v in zip(CLIF, LIF, strict=True)]}
    differences["CLIF-detached"] = [c - v for c, v in zip(DETACHED, LIF, strict=True)]
    ps = {name: enumerated_p(found) for name, found in differences.items()}
    assert ps["CLIF"] < ps["CLIF-detached"]
    for row in (clif, detached):
        assert row["sign-flip p"] == f"{ps[row['neuron']]:.2g}"
    assert clif["Holm p"] == f"{2 * ps['CLIF']:.2g}"
    assert clif["difference from LIF"].startswith("+0.964 ± ")
    # Every value is in the row, so that the p-value can be recomputed from the page.
    assert [clif[f"seed {seed}"] for seed in SEEDS] == [f"{value:.3f}" for value in CLIF]
    assert all(row["sign-flip p"] == row["Holm p"] == "" for row in rows[3:]) and rows[4]["mean"].startswith("−4.964")


def test_a_difference_within_runs_is_tested_against_zero_for_every_neuron():
    table = section_table(section(from_zero=True), results(lif=[0.0] * 7, clif=CLIF))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert rows[0]["sign-flip p"] == "1" and rows[1]["sign-flip p"] == f"{enumerated_p(CLIF):.2g}"
    assert rows[1]["against zero"].startswith("+4.964")


def test_every_analysis_of_a_page_has_options_for_its_levels():
    assert {part.analysis for part in SECTIONS} == set(analyses.OPTIONS)


def test_every_p_value_of_the_committed_page_can_be_recomputed_from_its_row():
    page = (RESULTS / ANALYSES_NAME).read_text("utf-8")
    for part in SECTIONS:
        lines = page.partition(f"## {part.question}\n")[2].partition("\n## ")[0].splitlines()
        cells = [line.replace("\\|", "").strip("| ").split(" | ") for line in lines if line.startswith("|")]
        rows = [dict(zip(cells[0], row, strict=True)) for row in cells[2 : 2 + 4]]
        values = [[float(row[f"seed {seed}"].replace("−", "-")) for seed in SEEDS] for row in rows]
        for row, own in zip(rows, values, strict=True):
            if row["sign-flip p"].strip():
                off = own if part.from_zero else [v - base for v, base in zip(own, values[0], strict=True)]
                assert row["sign-flip p"].strip() == f"{enumerated_p(off):.2g}"


def test_results_are_read_again_unless_the_weights_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from pipeline.analysis.rates import RateResult
    from pipeline.analysis.stored_result import Subject

    run: Any = SimpleNamespace(folder=tmp_path / "run")
    run.folder.mkdir()
    (run.folder / "best.pt").write_bytes(b"weights")
    calls = []

    def analyse(*_: object) -> RateResult:
        calls.append(1)
        digest = analyses.weights_digest(run.folder)
        subject = Subject("run", True, "n-mnist", False, "test", 1, "vgg11", "lif", 2.0, 4, 32, digest)
        return RateResult(subject, 0.9, (), 0.1, (0.1,) * 4)

    kind = SimpleNamespace(result_class=RateResult, run=analyse)
    monkeypatch.setattr(analyses, "find_analysis", lambda _: kind)
    monkeypatch.setattr(analyses, "open_analysed", lambda *_, **__: None)
    first = analyses.analysed("rates", run, tmp_path, tmp_path / "kept")
    again = analyses.analysed("rates", run, tmp_path, tmp_path / "kept")
    assert again == first and len(calls) == 1
    (run.folder / "best.pt").write_bytes(b"other weights")
    analyses.analysed("rates", run, tmp_path, tmp_path / "kept")
    assert len(calls) == 2
