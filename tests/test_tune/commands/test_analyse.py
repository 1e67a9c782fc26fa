"""spikeloom analyse: files, tables and JSON of every analysis, its part of the report, and errors as one line."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape
from tiny_run import TINY, tiny_cache

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.registry import ANALYSES
from pipeline.config.run_config import override
from pipeline.evaluation.evaluate_run import run_cache
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.terminal.command_line import run_main
from tune.analysis_views.layer_choice import shown_layers
from tune.analysis_views.registry import VIEWS
from tune.cli import COMMANDS
from tune.rendering.firing_rate_figure import name_layers
from tune.report.analysis_parts import analysis_parts
from tune.report.page import read_report

# Options that keep each analysis short.
FEW = {
    "gradients": ["--samples", "6"],
    "dynamics": ["--steps", "40", "--lags", "10"],
    "rates": ["--samples", "6"],
    "energy": ["--samples", "6"],
    "robustness": [*("--samples", "6", "--noise", "0.5", "--hot-pixels", "1", "--dropped", "0.5", "--jitter-ms", "3")],
    "inference": ["--samples", "6", "--resets", "0", "-0.1"],
    "batch-norm": ["--samples", "6"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analyse")
    cache = tiny_cache(folder, samples=48)
    changes = {"neuron.name": "clif", "binning.timesteps": 4, "network.width": 0.1, "schedule.epochs": 1}
    train_run(override(TINY, changes), folder / "run", cache)
    return folder / "run"


@pytest.fixture(scope="module")
def psn_run(run: Path) -> Path:
    """The folder of a run with a neuron whose equations few analyses know."""
    changes = {"neuron.name": "psn", "binning.timesteps": 4, "network.width": 0.1, "schedule.epochs": 1}
    train_run(override(TINY, changes), run.parent / "psn", run_cache(open_run(run), None))
    return run.parent / "psn"


@pytest.fixture(scope="module")
def analysed(run: Path) -> dict[str, str]:
    """What every analysis of the run printed, by its name."""
    printed = {}
    for name in ANALYSES:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert spikeloom(run, name, *FEW.get(name, [])) == 0
        printed[name] = out.getvalue()
    return printed


def spikeloom(*argv: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["analyse", *map(str, argv)])


def test_every_analysis_has_a_view():
    assert VIEWS.keys() == ANALYSES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_writes_its_result_and_its_figure_and_prints_tables(analysed: dict[str, str], name: str, run: Path):
    printed, folder = analysed[name], run / "analysis"
    assert f"result: {folder / name}.json" in printed and f"figure: {folder / name}.svg" in printed
    assert ANALYSES[name].title in printed
    assert (folder / f"{name}.svg").read_text().count("<svg") == 1
    assert json.loads((folder / f"{name}.json").read_text())["analysis"] == name


def test_json_is_the_content_of_the_file_in_the_chosen_folder(run: Path, tmp_path: Path, capsys):
    assert spikeloom(run, "rates", "--samples", 6, "--json", "--out", tmp_path / "out") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "rates.json").read_text())


@pytest.mark.parametrize("name", ANALYSES)
def test_the_help_of_an_analysis_shows_its_options(name: str, capsys):
    assert spikeloom("RUN_DIR", name, "--help") == 0
    shown = capsys.readouterr().out
    assert "spikeloom analyse" in shown and "Example" in shown
    assert "--json" in shown and ("--seed" in shown or name not in FEW)


@pytest.mark.slow
def test_the_report_shows_stored_analyses_with_tables_and_figures(analysed: dict[str, str], run: Path):
    report = read_report(run)
    (section,) = report.sections
    assert [part.title for part in section.parts] == [ANALYSES[name].title for name in analysed]
    page = report.write_page().read_text()
    for part in section.parts:
        assert part.tables and part.pictures and f"<h2>{part.title}</h2>" in page
        assert all(escape(table.title) in page for table in part.tables)
        assert not any("have changed" in sentence for sentence in part.sentences)
    rates = [part for part in section.parts if part.title == ANALYSES["rates"].title]
    short = replace(section, tables=(), pictures=(), parts=tuple(rates))
    paper = {path.name for path in replace(report, sections=(short,)).write_paper()}
    assert {"figure-firing-rate-by-time-step.svg", "table-firing-rates-by-layer.tex"} <= paper


@pytest.mark.slow
def test_the_report_says_if_weights_changed_or_a_result_is_damaged(analysed: dict[str, str], run: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for path in (folder / "analysis").glob("*.json"):
        path.write_text("{}" if path.stem == "dynamics" else path.read_text())
        if path.stem not in ("dynamics", "rates"):
            path.unlink()
    (folder / "best.pt").write_bytes((folder / "best.pt").read_bytes() + b"0")
    parts, errors = analysis_parts(folder, "name")
    (part,) = parts
    assert any("have changed since" in sentence for sentence in part.sentences)
    assert len(errors) == 1 and "dynamics.json" in errors[0]
    shutil.rmtree(folder / "analysis")
    assert analysis_parts(folder, "name") == ((), ())


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["RUN"], "expected RUN_DIR or PRESET, and then ANALYSIS"),
        ([], "found neither"),
        (["RUN", "gradient"], "Did you mean 'gradients'?"),
        (["RUN", "rates", "--samples", "0"], "--samples: expected at least 1, found 0"),
        (["RUN", "rates", "--sample-count", "3"], "--sample-count"),
        (["RUN", "dynamics", "--neurons", "psn"], "neuron psn: expected"),
        (["RUN", "dynamics", "--tau", "1"], "--tau: expected more than 1"),
        (["RUN", "dynamics", "--steps", "0"], "--steps: expected 2"),
        (["RUN", "robustness", "--dropped", "1.5"], "--dropped: expected more than 0 and at most 1, found 1.5"),
        (["RUN", "robustness", "--timesteps", "0"], "--timesteps: expected 1 to 20000, found 0"),
        (["RUN", "robustness", "--kinds", "fog"], "--kinds"),
        (["RUN", "inference", "--resets", "1"], "--resets: expected values below the threshold 1, found 1"),
        (["RUN", "inference", "--nir", "nowhere/x.nir"], "--nir: expected a file in an existing folder"),
        (["RUN", "energy", "--samples", "-1"], "--samples: expected at least 1, found -1"),
        (["EMPTY", "energy"], "expected selected weights (best.pt), found none"),
        (["EMPTY", "inference"], "expected selected weights (best.pt), found none"),
        (["EMPTY", "robustness"], "expected selected weights (best.pt), found none"),
        (["NOTHING", "rates"], "expected a run folder"),
        (["no-such-preset", "rates"], "no-such-preset"),
        (["EMPTY", "gradients"], "expected selected weights (best.pt), found none"),
        *((["RUN", name, "--device", "tpu"], "device: expected auto, cpu, cuda or") for name in ANALYSES),
        (["n-mnist-small", "dynamics", "--device", "xla"], "cuda:<number>, found 'xla'. Use auto."),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(run: Path, tmp_path: Path, argv: list[str], part: str, capsys):
    for path in ("config.json", "environment.json"):
        shutil.copy(run / path, tmp_path / path)
    places = {"RUN": run, "NOTHING": tmp_path / "nothing", "EMPTY": tmp_path}
    assert spikeloom(*(places.get(word, word) for word in argv)) == 2
    err = capsys.readouterr().err
    assert part in err and err.count("\n") == 1, err


# Dynamics only use the weights and data of a run for a layer.
NEEDS_NETWORK = {"dynamics": ["--layer", "features.conv1"]}


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The error of a command that ends with exit code 2 and one line."""
    assert spikeloom(*argv) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbage", "other weights"])
def test_missing_and_damaged_weights_are_refused_by_every_analysis(
    run: Path, psn_run: Path, tmp_path: Path, damage: str, name: str, capsys
):
    for path in ("config.json", "environment.json"):
        shutil.copy(run / path, tmp_path / path)
    content = (run / "best.pt").read_bytes()
    weights = {
        "empty": b"",
        "truncated": content[: len(content) // 2],
        "garbage": bytes(range(256)) * 8,
        "other weights": (psn_run / "best.pt").read_bytes(),
    }
    if damage in weights:
        (tmp_path / "best.pt").write_bytes(weights[damage])
    cache = run_cache(open_run(run), None)
    assert "best.pt" in refused(capsys, tmp_path, name, *NEEDS_NETWORK.get(name, []), "--cache", cache)
    assert not (tmp_path / "analysis").exists()


@pytest.mark.parametrize("name", ANALYSES)
def test_a_preset_whose_data_set_was_not_preprocessed_is_refused_by_every_analysis(tmp_path: Path, name: str, capsys):
    out = tmp_path / "out"
    argv = ("n-mnist-small", name, *NEEDS_NETWORK.get(name, []), "--cache", tmp_path / "cache", "--out", out)
    assert "spikeloom preprocess" in refused(capsys, *argv)
    assert not out.exists()


@pytest.mark.parametrize("name", ANALYSES)
@pytest.mark.parametrize("tau", ["1", "0", "nan", "inf"])
def test_a_time_constant_out_of_range_is_refused_by_every_analysis(run: Path, name: str, tau: str, capsys):
    assert "--tau" in refused(capsys, run, name, "--tau", tau)


@pytest.mark.parametrize("name", ANALYSES)
def test_a_neuron_is_either_analysed_or_refused_with_the_reason(psn_run: Path, tmp_path: Path, name: str, capsys):
    reasons = {
        "gradients": "PSN, which keeps no potential from step to step",
        "dynamics": "--neurons",
        "inference": "'psn'",
    }
    argv = (psn_run, name, *FEW[name], "--out", tmp_path)
    if name in reasons:
        err = refused(capsys, *argv)
        assert reasons[name] in err and "lif, clif" in err
    else:
        assert spikeloom(*argv) == 0


def test_an_analysis_works_with_fewer_samples_than_a_batch_of_training_has(run: Path, tmp_path: Path, capsys):
    """Of a run, as if it had been trained with more samples, and of a preset."""
    for path in run.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path / path.name)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"batch_size": 500}))
    assert spikeloom(tmp_path, "rates", "--samples", "3") == 0, capsys.readouterr().err
    cache = open_analysed(run).cache
    preset = Analysed("tiny", override(TINY, {"batch_size": 500}), cache, None)
    assert 0 < len(preset.open_data().splits.train) < 500


def test_many_layers_are_numbered_because_their_names_would_overlap():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    name_layers(axes, ["a.neuron", "b.neuron"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    name_layers(axes, [f"layer{k}" for k in range(25)])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "7", "10", "13", "16", "19", "22", "25"]


def test_figures_show_the_first_the_last_and_a_middle_layer():
    assert shown_layers(range(2)) == [0, 1]
    assert shown_layers(range(9)) == [0, 4, 8]
