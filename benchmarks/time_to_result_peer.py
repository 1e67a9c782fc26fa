"""N-MNIST recordings to tested networks as a plain script of tonic and SpikingJelly: a peer of ``time_to_result``.

It does what `spikeloom preprocess n-mnist` and `spikeloom train n-mnist-small` do, in the way of both libraries'
tutorials: tonic reads the files, SpikingJelly counts the events in frames, tonic keeps them, torch trains. It has the
best settings that we know: frames stay in memory as uint8, without worker processes; SpikingJelly's fused multi-step
neurons; the C library keeps freed memory. With several values of tau or of the learning rate, it trains one network
after another on the same frames.
"""

from __future__ import annotations

import copy
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tonic
import torch
import tyro
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.datasets import integrate_events_by_fixed_frames_number
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split

from preprocess.freed_memory import keep_freed_memory

SIZE, CLASSES = 34, 10
Sample = tuple[NDArray[np.uint8], int]


@dataclass(frozen=True)
class Arguments:
    """Train one network for each combination of the values."""

    source: Path
    """Folder with Train and Test."""
    epochs: int = 8
    timesteps: int = 10
    batch_size: int = 32
    taus: tuple[float, ...] = (2.0,)
    learning_rates: tuple[float, ...] = (0.003,)
    seed: int = 2022
    width: float = 1.0


class Recordings(Dataset[Sample]):
    """The files of a split as frames of counts, uint8 (T, 2, 34, 34), and their digit."""

    def __init__(self, folder: Path, timesteps: int) -> None:
        self.files = sorted(folder.glob("*/*.bin"))
        self.timesteps = timesteps

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        file = self.files[index]
        events = tonic.io.read_mnist_file(str(file), dtype=tonic.datasets.NMNIST.dtype)
        columns = {name: events[name] for name in "txyp"}
        frames = integrate_events_by_fixed_frames_number(columns, "number", self.timesteps, SIZE, SIZE)
        return frames.astype(np.uint8), int(file.parent.name)


def make_network(tau: float, width: float) -> nn.Sequential:
    """The preset's network: three convolutions with CLIF neurons, each with average pooling behind it."""
    modules: list[nn.Module] = []
    channels = 2
    for base in (24, 48, 96):
        out = max(1, round(base * width))
        spikes = neuron.ComplementaryLIFNode(tau, 1.0, surrogate.Rect(), "m")
        modules += [layer.Conv2d(channels, out, 3, padding=1), layer.BatchNorm2d(out), spikes, layer.AvgPool2d(2)]
        channels = out
    modules += [layer.AdaptiveAvgPool2d(7), layer.Flatten(), layer.Linear(channels * 49, CLASSES)]
    network = nn.Sequential(*modules)
    functional.set_step_mode(network, "m")
    return network


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every time step, and 5 % of the squared distance to 1, logits (T, B, classes)."""
    every_step = labels.repeat(len(logits))
    entropy = nn.functional.cross_entropy(logits.flatten(0, 1), every_step)
    return 0.95 * entropy + 0.05 * ((logits - 1) ** 2).mean()


def run_network(network: nn.Sequential, frames: Tensor) -> Tensor:
    """Logits (T, B, classes) of a batch (B, T, 2, H, W), from a reset state."""
    functional.reset_net(network)
    return network(frames.transpose(0, 1).float())  # type: ignore[no-any-return]


@torch.no_grad()
def evaluate(network: nn.Sequential, loader: DataLoader[Sample]) -> float:
    """The accuracy of the summed logits."""
    network.eval()
    correct = [(run_network(network, x).sum(0).argmax(1) == y).sum() for x, y in loader]
    network.train()
    return float(sum(correct)) / len(loader.dataset)  # type: ignore[arg-type]


def train(arguments: Arguments, tau: float, rate: float, loaders: dict[str, DataLoader[Sample]]) -> dict[str, Any]:
    """Train one network, and test its weights of the epoch with the best validation accuracy."""
    torch.manual_seed(arguments.seed)
    network = make_network(tau, arguments.width)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, arguments.epochs)
    best, weights = -1.0, network.state_dict()
    for _ in range(arguments.epochs):
        for frames, labels in loaders["train"]:
            loss = loss_of(run_network(network, frames), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        if (reached := evaluate(network, loaders["validation"])) > best:
            best, weights = reached, copy.deepcopy(network.state_dict())
    network.load_state_dict(weights)
    return {"tau": tau, "learning_rate": rate, "validation": best, "test": evaluate(network, loaders["test"])}


def main(arguments: Arguments) -> None:
    """Print a line of JSON for each network."""
    keep_freed_memory()
    splits: dict[str, Dataset[Sample]] = {
        name: tonic.MemoryCachedDataset(Recordings(arguments.source / name.capitalize(), arguments.timesteps))
        for name in ("train", "test")
    }
    count = len(splits["train"])  # type: ignore[arg-type]
    held_out = count // 10
    generator = torch.Generator().manual_seed(arguments.seed)
    splits["train"], splits["validation"] = random_split(splits["train"], [count - held_out, held_out], generator)
    loaders = {
        name: DataLoader(part, arguments.batch_size, shuffle=name == "train", drop_last=name == "train")
        for name, part in splits.items()
    }
    for tau, rate in itertools.product(arguments.taus, arguments.learning_rates):
        start = time.perf_counter()
        found = train(arguments, tau, rate, loaders)
        print(json.dumps(found | {"seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
