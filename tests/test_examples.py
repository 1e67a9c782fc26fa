"""Every example runs as it is, on recordings of the emulator, and is short enough to be read at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
MOST_LINES = 50

# What each prints; a file that needs recordings gets them as its argument.
PRINTS = {
    "01_read_and_bin": ("frames (10, 2, 32, 32)", "frames of 10 ms: (10, 2, 128, 128)"),
    "02_own_training_loop": ("44 samples of 11 classes", "epoch 2: loss"),
    "03_clif_in_my_model": ("LIFNode: logits (4, 2, 10)", "CLIFNode: logits (4, 2, 10)"),
    "04_own_neuron": ("validation ", "firing rates: "),
    "05_own_dataset": ("classes=('left', 'right')", "test 100.00% left"),
    "06_search": ("validation accuracy ", "test accuracy of the selected configuration: (", "neuron.tau"),
    "07_own_objective": ("best {'lr': ", "score"),
    "08_compare_and_report": ("clif minus lif: ", "count", "report.html"),
}
LONG = [pytest.mark.ray, pytest.mark.long]
IN_RAY = ("06_search", "07_own_objective", "08_compare_and_report")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Emulated gestures in ./recordings and their cache in ./cache."""
    folder = tmp_path_factory.mktemp("examples")
    _run(["-m", "preprocess", "emulate", "gestures", "--samples-per-class", "4", "--out", "recordings"], folder)
    _run(["-m", "preprocess", "preprocess", "emulated-gestures", "--source", "recordings"], folder)
    return folder


def _run(argv: list[str], folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment.pop("SPIKELOOM_CACHE", None)
    done = subprocess.run(
        [sys.executable, *argv], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.preloaded
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=LONG if p.stem in IN_RAY else []) for p in EXAMPLES],
)
def test_an_example_runs_and_prints_what_it_found(path: Path, folder: Path) -> None:
    argument: list[str] = []
    if path.stem == "01_read_and_bin":
        argument = [str(next((folder / "recordings").rglob("*.aedat")))]
    elif path.stem == "02_own_training_loop":
        argument = ["recordings"]
    out = _run([str(path), *argument], folder)
    assert all(text in out for text in PRINTS[path.stem]), out


def test_every_example_is_short_and_says_what_it_does() -> None:
    assert {path.stem for path in EXAMPLES} == set(PRINTS)
    for path in EXAMPLES:
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) < MOST_LINES and lines[0].startswith('"""') and lines[0].endswith('."""'), path.name
