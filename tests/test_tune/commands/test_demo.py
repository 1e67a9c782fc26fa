"""The demo goes the whole road, takes what is whole from an earlier run, and refuses folders of anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preprocess.errors import LayoutError, RunError
from preprocess.terminal.progress import Progress
from tune.commands import demo as command
from tune.commands import demo_run


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch, shared_ray: None) -> None:
    """Settings with which the demo takes seconds, and learns nothing."""
    smaller = {"network.width": 0.125, "binning.downsample": 16, "batch_size": 8}
    for name, value in {
        "SAMPLES_PER_CLASS": 4,
        "SMALLER": smaller,
        "EPOCHS": 1,
        "SPACE": ("neuron.name=lif,clif", "binning.timesteps=2"),
        "TRIALS": 2,
        "SEEDS": 1,
    }.items():
        monkeypatch.setattr(demo_run, name, value)


def times(folder: Path) -> dict[Path, int]:
    """When each trial and cache was written."""
    paths = [*folder.glob("*/trials/*/done.json"), *folder.glob("cache/**/*.h5"), *folder.glob("recordings/*.aedat")]
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.ray
def test_demo_goes_the_whole_road_and_again_only_what_is_missing(
    tmp_path: Path, small_demo: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "demo"
    command.run(["--out", str(folder)])
    said = capsys.readouterr()
    page = (folder / "report.html").read_text()
    assert "Emulated data: comparison and search on emulated-gestures" in page
    assert f"Open the report: {folder}/report.html" in said.out
    assert "An emulated event camera filmed these gestures" in said.out
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

    monkeypatch.setattr(demo_run, "EPOCHS", 2)
    with pytest.raises(RunError, match="expected the search of this demo, found one with other settings"):
        demo_run.run_demo(folder, Progress())
    monkeypatch.setattr(demo_run, "SAMPLES_PER_CLASS", 5)
    with pytest.raises(LayoutError, match="samples-per-class"):
        demo_run.run_demo(folder, Progress())


def test_a_folder_of_anything_else_is_refused_untouched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match=r"expected a new folder or a demo's, found thesis\.tex"):
        command.run(["--out", str(tmp_path)])
    with pytest.raises(RunError, match="found a file"):
        command.run(["--out", str(tmp_path / "thesis.tex")])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_run, "run_demo", stop)
    with pytest.raises(KeyboardInterrupt):
        command.run(["--out", str(tmp_path)])
    assert f"go on with: spikeloom demo --out {tmp_path}" in capsys.readouterr().err
