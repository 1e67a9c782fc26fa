"""A training step of the spiking ResNet-18 on still images, compared with the same network from SpikingJelly 2.0.

``python -m benchmarks.training_resnet``. Every block of both must give equal outputs and gradients first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import tyro
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from benchmarks.measuring import format_table, timed_row
from benchmarks.neuron_peers import make_spikingjellys
from benchmarks.residual_peers import copy_weights, make_peer, parts_of
from benchmarks.training import LOSS, plain_step, timed, train_step
from benchmarks.vgg_peers import both_ways, relative
from pipeline.config.run_config import NetworkConfig, NeuronConfig, OptimiserConfig, RunConfig
from pipeline.data.loader import Batch
from pipeline.networks import build_network, reset_network
from pipeline.networks.spiking_resnet import SpikingResNet
from preprocess.freed_memory import keep_freed_memory

LAYERS, CHANNELS, CLASSES, TARGET = 18, 3, 10, 1.8


@dataclass(frozen=True)
class Arguments:
    """Compare training steps.

    Example: python -m benchmarks.training_resnet
    """

    tiny: bool = False
    """Only check on small inputs that the results are equal; the printed times mean nothing."""
    batch: int = 32
    """Samples in a batch."""
    repeats: int = 5
    """Number of timings, in turns; the median counts."""


@dataclass(frozen=True)
class Shape:
    steps: int
    batch: int
    width: float
    side: int


def main(arguments: Arguments) -> None:
    """Print the table."""
    keep_freed_memory()
    shape = Shape(2, 3, 0.125, 16) if arguments.tiny else Shape(6, arguments.batch, 1.0, 32)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(shape.batch, CHANNELS, shape.side, shape.side, generator=generator)
    batch = Batch(images.expand(shape.steps, *images.shape), torch.arange(shape.batch) % CLASSES)
    check_equal("clif", shape, batch)
    works = {"ours": our_step(shape, batch, "clif"), "theirs": their_step(shape, batch, "clif")}
    found = timed(works, 1 if arguments.tiny else arguments.repeats)
    work = f"ResNet-18 {shape.side}x{shape.side}, T = {shape.steps}, B = {shape.batch}, training step, CLIF, fp32"
    row = timed_row(work, found["ours"], found["theirs"], "SpikingJelly fp32", TARGET)
    print(format_table([row]))


def build_ours(shape: Shape, neuron: str) -> tuple[RunConfig, SpikingResNet]:
    network = NetworkConfig(f"spiking-resnet{LAYERS}", width=shape.width, batch_norm="joint")
    config = replace(
        RunConfig(network=network, neuron=NeuronConfig(neuron), loss=LOSS, optimiser=OptimiserConfig()),
        precision="fp32",
    )
    size = (shape.side, shape.side)
    form = {"channels": CHANNELS, "classes": CLASSES, "size": size, "timesteps": shape.steps, "seed": 0}
    built = build_network(config.network, config.neuron, **form).train()  # type: ignore[arg-type]
    assert isinstance(built, SpikingResNet)
    return config, built


def build_theirs(shape: Shape, neuron: str) -> nn.Sequential:
    """Build their network with our weights."""
    theirs = make_peer(LAYERS, CHANNELS, CLASSES, partial(make_spikingjellys, neuron), width=shape.width)
    copy_weights(build_ours(shape, neuron)[1], theirs)
    return theirs


def our_step(shape: Shape, batch: Batch, neuron: str) -> Callable[[], Tensor]:
    """A step of our network."""
    config, network = build_ours(shape, neuron)
    return train_step(config, network, batch)


def their_step(shape: Shape, batch: Batch, neuron: str) -> Callable[[], Tensor]:
    """The same step with SpikingJelly's network."""
    network = build_theirs(shape, neuron)
    return plain_step(network, network, batch, "fp32", partial(functional.reset_net, network))


def check_equal(neuron: str, shape: Shape, batch: Batch) -> None:
    """Check that every block of both networks gives the same outputs and gradients for the same input.

    Blocks end with a convolution: a potential within rounding of the threshold, of which there are at most one in ten
    thousand, changes 9 outputs of each channel. If a sixth of the inputs are spikes, the outputs are then up to 0.025
    apart.

    Raises:
        SystemExit: If a block does not.
    """
    ours, theirs = build_ours(shape, neuron)[1], build_theirs(shape, neuron)
    worst, x = 0.0, batch.frames
    for (name, part, parameters), peer in zip(parts_of(ours), theirs, strict=True):
        mine, expected = both_ways(part, x, parameters), both_ways(peer, x, list(peer.parameters()))
        outputs, gradients = map(relative, mine, expected)
        if not (outputs < 0.025 and gradients < 0.025):
            raise SystemExit(f"benchmarks: {neuron}, {name}: outputs {outputs:.2g} apart, gradients {gradients:.2g}")
        worst, x = max(worst, outputs, gradients), expected[0]
    reset_network(ours)
    print(f"{neuron}: outputs and gradients of every block are at most {worst:.1e} apart", file=sys.stderr)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
