"""Register your own data set and raw format, and train a network object on them."""

from pathlib import Path

import numpy as np
from spikingjelly.activation_based import layer, neuron
from torch import nn

from pipeline import RunConfig, load_run, override, train
from preprocess import Events, Layout, Sample, SourceRecording, preprocess_dataset, register_dataset, register_format

FOLDER, SIDE = Path("dots"), 16


class TwoLayers(nn.Sequential):
    def __init__(self) -> None:
        first, second = layer.Linear(2 * SIDE * SIDE, 32, step_mode="m"), layer.Linear(32, 2, step_mode="m")
        super().__init__(layer.Flatten(step_mode="m"), first, neuron.LIFNode(step_mode="m"), second)


def read_dots(path: Path) -> Events:
    """Read a file of the format: rows of t, x, y, p as 32-bit integers."""
    t, x, y, p = np.fromfile(path, "<i4").reshape(-1, 4).T
    return Events(t, x, y, p, SIDE, SIDE)


def read_layout(folder: Path) -> Layout:
    """Describe the data set: dots on the left or on the right; a fifth of the recordings are the test split."""
    recordings = []
    for number, path in enumerate(sorted(folder.glob("*.dots"))):
        sample = Sample(label=number % 2, split=int(number % 10 > 7), index=number // 2, group="", name=path.stem)
        recordings.append(SourceRecording(path, path.name, (sample,)))
    return Layout("dots", "dots", "dots", SIDE, SIDE, ("left", "right"), tuple(recordings))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for k in range(60):
        x, y = rng.integers(0, 8, 200) + 8 * (k % 2), rng.integers(0, SIDE, 200)
        rows = np.stack([np.sort(rng.integers(0, 50_000, 200)), x, y, rng.integers(0, 2, 200)], 1)
        rows.astype("<i4").tofile(FOLDER / f"{k:02}.dots")
    register_format("dots", read_dots, suffix=".dots")
    register_dataset("dots", read_layout)
    print(preprocess_dataset(FOLDER, "dots", "cache"))
    changes = {"dataset.name": "dots", "binning.timesteps": 4, "batch_size": 8, "schedule.epochs": 10}
    changes |= {"optimiser.name": "adamw", "optimiser.learning_rate": 0.01}
    result = train(override(RunConfig(), changes), TwoLayers(), out="runs/dots", cache="cache")
    print(f"test {result.test_accuracy:.2%}", load_run("runs/dots").predict(read_dots(FOLDER / "00.dots"))[0].name)
