"""The demo runs the complete pipeline, reuses complete steps of an earlier run, and refuses other folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from preprocess.errors import LayoutError, RunError
from preprocess.terminal.progress import Progress
from tune.commands import demo as command
from tune.commands import demo_run

# The demo then takes seconds, and learns nothing.
SMALL = demo_run.DemoSettings(
    samples_per_class=4,
    changes={"network.width": 0.125, "binning.downsample": 16, "batch_size": 8},
    epochs=1,
    space=("neuron.name=lif,clif", "binning.timesteps=2"),
    trials=2,
    seeds=1,
)


def times(folder: Path) -> dict[Path, int]:
    """When each trial and cache was written."""
    paths = [*folder.glob("*/trials/*/done.json"), *folder.glob("cache/**/*.h5"), *folder.glob("recordings/*.aedat")]
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.long
@pytest.mark.ray
def test_demo_runs_the_complete_pipeline_and_then_only_missing_steps(
    tmp_path: Path, shared_ray: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(demo_run, "DemoSettings", lambda: SMALL)
    folder = tmp_path / "demo"
    command.run(["--out", str(folder)])
    said = capsys.readouterr()
    page = (folder / "report.html").read_text()
    assert "Emulated data: comparison and search on emulated-gestures" in page
    assert f"Open the report: {folder}/report.html" in said.out
    assert "An emulated event camera recorded these gestures" in said.out
    assert [f"[{number}/5]" in said.err for number in range(1, 6)] == [True] * 5
    assert {path.name for path in folder.iterdir()} == set(demo_run.PARTS)
    asked = json.loads((folder / "comparison" / "comparison.json").read_text())
    assert asked["settings"][0]["config"]["selection"] == "last"

    before = times(folder)
    assert len(before) == 2 + 2 + 2 + 4
    (folder / "report.html").unlink()
    command.run(["--out", str(folder)])
    assert times(folder) == before
    assert (folder / "report.html").exists()

    with pytest.raises(RunError, match="expected the search of this demo, found one with other settings"):
        demo_run.run_demo(folder, Progress(), replace(SMALL, epochs=2))
    with pytest.raises(LayoutError, match="samples-per-class"):
        demo_run.run_demo(folder, Progress(), replace(SMALL, samples_per_class=5))


def test_a_folder_of_anything_else_is_refused_untouched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match=r"expected a new folder or that of a demo, found thesis\.tex"):
        command.run(["--out", str(tmp_path)])
    with pytest.raises(RunError, match="found a file"):
        command.run(["--out", str(tmp_path / "thesis.tex")])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_ctrl_c_prints_the_command_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_run, "run_demo", stop)
    with pytest.raises(KeyboardInterrupt):
        command.run(["--out", str(tmp_path)])
    assert f"Resume with: spikeloom demo --out {tmp_path}" in capsys.readouterr().err
