"""Results are read back as they were written; damaged files and those of other versions are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from messages import refuses

from pipeline.analysis.analysis_options import AnalysisOptions
from pipeline.analysis.rates import LayerRates, RateResult
from pipeline.analysis.registry import ANALYSES, find_analysis
from pipeline.analysis.stored_result import AnalysisResult, Subject, read_result
from preprocess.errors import ConfigError, RunError

SUBJECT = Subject("run", True, "tiny", False, "test", 3, "vgg", "lif", 2.0, 4, 7, "ab")
RESULT = RateResult(SUBJECT, 0.9, (LayerRates("a", 4, 0.5, (0.25, 0.75), 0.0, 0.1, 0.0, (1.0, 0.0)),), 0.5, (0.5,))


def test_a_result_is_read_as_it_was_written(tmp_path: Path):
    path = RESULT.write(tmp_path / "analysis")
    assert path == tmp_path / "analysis" / "rates.json" and [*path.parent.iterdir()] == [path]
    assert read_result(RateResult, path.parent) == RESULT
    assert read_result(RateResult, tmp_path) is None
    assert json.loads(path.read_text())["analysis"] == "rates"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 99},
        {"analysis": "gradients"},
        {"rate": "much"},
        {"layers": [{"layer": "a"}]},
        {"by_step": 0.5},
        {"subject": None},
    ],
    ids=str,
)
def test_a_file_of_other_content_is_refused_with_the_command_that_repeats_it(tmp_path: Path, change: dict[str, object]):
    path = RESULT.write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with refuses(RunError, where="rates.json", expected="this version", remedy="spikeloom analyse RUN_DIR rates"):
        read_result(RateResult, tmp_path)


def test_a_subject_says_what_was_analysed():
    assert SUBJECT.about == "run: vgg, lif, tau 2, T = 4, tiny, 3 test samples, weights of epoch 7"


@pytest.mark.parametrize("name", ANALYSES)
def test_every_entry_names_a_function_a_result_and_options(name: str):
    analysis = find_analysis(name)
    assert issubclass(analysis.result_class, AnalysisResult) and name == analysis.result_class.ANALYSIS
    assert issubclass(analysis.options, AnalysisOptions) and "Example: spikeloom analyse" in (
        analysis.options.__doc__ or ""
    )
    assert analysis.options() == analysis.options()


def test_an_unknown_analysis_is_refused_with_the_nearest_name():
    with refuses(ConfigError, where="ANALYSIS", expected="gradients", found="gradient", remedy="'gradients'"):
        find_analysis("gradient")
