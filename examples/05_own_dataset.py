"""A data set and a raw format of your own, and a network object trained on them."""

from pathlib import Path

import numpy as np
from spikingjelly.activation_based import layer, neuron
from torch import nn

from pipeline import RunConfig, load_run, override, train
from preprocess import Events, Layout, Sample, SourceRecording, preprocess_dataset, register_dataset, register_format

FOLDER, SIDE = Path("bars"), 16


def read_bars(path: Path) -> Events:
    """The format: rows of t, x, y, p as 32-bit integers."""
    t, x, y, p = np.fromfile(path, "<i4").reshape(-1, 4).T
    return Events(t, x, y, p, SIDE, SIDE)


def read_layout(folder: Path) -> Layout:
    """The data set: upright and level bars, a fifth of them for the test."""
    recordings = []
    for number, path in enumerate(sorted(folder.glob("*.bars"))):
        sample = Sample(label=number % 2, split=int(number % 10 > 7), index=number // 2, group="", name=path.stem)
        recordings.append(SourceRecording(path, path.name, (sample,)))
    return Layout("bars", "bars", "bars", SIDE, SIDE, ("upright", "level"), tuple(recordings))


FOLDER.mkdir(exist_ok=True)
rng = np.random.default_rng(0)
for k in range(60):
    along, across = rng.integers(0, SIDE, 200), np.sort(rng.integers(0, SIDE, 200))
    x, y = (across, along) if k % 2 == 0 else (along, across)
    rows = np.stack([np.sort(rng.integers(0, 50_000, 200)), x, y, rng.integers(0, 2, 200)], 1)
    rows.astype("<i4").tofile(FOLDER / f"{k:02}.bars")

register_format("bars", read_bars, suffix=".bars")
register_dataset("bars", read_layout)
print(preprocess_dataset(FOLDER, "bars", "cache"))
network = nn.Sequential(
    layer.Flatten(step_mode="m"), layer.Linear(512, 32, step_mode="m"), neuron.LIFNode(step_mode="m"),
    layer.Linear(32, 2, step_mode="m"),
)  # fmt: skip
changes = {"dataset.name": "bars", "binning.timesteps": 4, "optimiser.learning_rate": 0.01, "schedule.epochs": 5}
print(f"test {train(override(RunConfig(), changes), network, out='runs/bars', cache='cache').test_accuracy:.2%}")
print(load_run("runs/bars", network=network).predict(read_bars(FOLDER / "00.bars")))
