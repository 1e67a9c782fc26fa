"""A training step of VGGSNN compared with the same network from SpikingJelly 2.0: ``python -m benchmarks.training``.

Every block of both must give equal outputs and gradients before they are timed. The C library keeps freed memory for
both, as in `spikeloom train`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import tyro
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from benchmarks.measuring import Row, Timing, format_table, time_in_turns, timed_row
from benchmarks.residual_peers import copy_weights
from benchmarks.vgg_peers import check_blocks, make_peer
from pipeline.config.run_config import LossConfig, NetworkConfig, NeuronConfig, OptimiserConfig, RunConfig
from pipeline.data.loader import Batch
from pipeline.evaluation.losses import spiking_loss
from pipeline.networks import SpikeCounter, build_network
from pipeline.networks.vggsnn import PLAN
from pipeline.runtime.device import autocast
from pipeline.runtime.distributed import Group
from pipeline.training.learner import Learner
from preprocess.freed_memory import keep_freed_memory

SIZE, CLASSES = 48, 10
TARGETS = {"fp32": 1.4, "bf16": 1.35}
BF16_AGAINST_FP32 = 2.4
LOSS = LossConfig()


@dataclass(frozen=True)
class Arguments:
    """Compare training steps.

    Example: python -m benchmarks.training
    """

    tiny: bool = False
    """Only check on small inputs that the results are equal; the printed times mean nothing."""
    repeats: int = 7
    """Number of timings, in turns; the median counts."""
    compiled: bool = False
    """Also measure torch.compile, whose compilation takes minutes."""


@dataclass(frozen=True)
class Shape:
    steps: int
    batch: int
    width: float


def main(arguments: Arguments) -> None:
    """Print the table."""
    keep_freed_memory()
    shape = Shape(2, 4, 0.125) if arguments.tiny else Shape(10, 8, 1.0)
    frames = torch.randint(0, 4, (shape.steps, shape.batch, 2, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    batch = Batch(frames.float(), torch.arange(shape.batch) % CLASSES)
    for neuron in ("clif", "lif"):
        check_equal(neuron, shape, batch)
    repeats = 1 if arguments.tiny else arguments.repeats
    print(format_table(list(rows(shape, batch, repeats, arguments.compiled))))


def rows(shape: Shape, batch: Batch, repeats: int, compiled: bool) -> Iterator[Row]:
    """Compare every neuron and precision with SpikingJelly's, then our default with the alternatives."""
    for neuron in ("clif", "lif"):
        works = {
            "ours fp32": our_step(shape, batch, neuron, "fp32"),
            "ours bf16": our_step(shape, batch, neuron, "bf16"),
            "theirs fp32": their_step(shape, batch, neuron, "fp32"),
            "theirs bf16": their_step(shape, batch, neuron, "bf16"),
        }
        found = timed(works, repeats)
        # The targets are CLIF's.
        kept = neuron == "clif"
        for precision, target in TARGETS.items():
            ours, theirs = f"ours {precision}", f"theirs {precision}"
            yield row(f"{neuron.upper()}, {precision}", found, ours, theirs, target * kept)
        yield row(f"{neuron.upper()}, bf16", found, "ours bf16", "theirs fp32", BF16_AGAINST_FP32 * kept)
    works = {
        "joint": our_step(shape, batch, "clif", "fp32"),
        "per-step": our_step(shape, batch, "clif", "fp32", batch_norm="per-step"),
        "one forward per time step": loop_step(shape, batch, "clif", "fp32"),
    }
    if compiled:
        works["torch.compile"] = our_step(shape, batch, "clif", "fp32", compiles=True)
    found = timed(works, repeats)
    for name in list(works)[1:]:
        yield row(f"CLIF, fp32: joint batch norm compared with {name}", found, "joint", name, 0.0, peer="spikeloom")


def timed(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Call each function once to warm up, then time them in turns."""
    for work in works.values():
        work()
    return dict(zip(works, time_in_turns(list(works.values()), repeats), strict=True))


def row(work: str, found: dict[str, Timing], ours: str, other: str, target: float, peer: str = "SpikingJelly") -> Row:
    mine, theirs = found[ours], found[other]
    name = f"{peer} {other.removeprefix('theirs ')}"
    return timed_row(f"VGGSNN {SIZE}x{SIZE} training step, {work}", mine, theirs, name, target)


def configured(
    shape: Shape, neuron: str, precision: str, batch_norm: str = "joint", compiles: bool = False
) -> RunConfig:
    network = NetworkConfig("vggsnn", width=shape.width, batch_norm=batch_norm)  # type: ignore[arg-type]
    return replace(
        RunConfig(network=network, neuron=NeuronConfig(neuron), loss=LOSS, optimiser=OptimiserConfig()),
        precision=precision,
        compile=compiles,
    )


def build_ours(shape: Shape, config: RunConfig) -> nn.Module:
    return build_network(
        config.network,
        config.neuron,
        channels=2,
        classes=CLASSES,
        size=(SIZE, SIZE),
        timesteps=shape.steps,
        seed=0,
    ).train()


def our_step(
    shape: Shape, batch: Batch, neuron: str, precision: str, batch_norm: str = "joint", compiles: bool = False
) -> Callable[[], Tensor]:
    """A step of our network with these settings."""
    config = configured(shape, neuron, precision, batch_norm, compiles)
    return train_step(config, build_ours(shape, config), batch)


def train_step(config: RunConfig, network: nn.Module, batch: Batch) -> Callable[[], Tensor]:
    """A step as in `spikeloom train`, including the counting of spikes."""
    learner = Learner(config, network, batch.frames.device, Group())
    counter = SpikeCounter(learner.network)
    counter.__enter__()

    def step() -> Tensor:
        loss, _ = learner.loss(batch, counter)
        learner.update(loss)
        return loss.detach()

    return step


def build_theirs(shape: Shape, neuron: str) -> nn.Sequential:
    """Build VGGSNN from SpikingJelly's multi-step layers."""
    return make_peer(PLAN, neuron, channels=2, classes=CLASSES, size=SIZE, width=shape.width)


def their_step(shape: Shape, batch: Batch, neuron: str, precision: str) -> Callable[[], Tensor]:
    """The same step with SpikingJelly's network."""
    network = build_theirs(shape, neuron)
    copy_weights(build_ours(shape, configured(shape, neuron, precision)), network)
    return plain_step(network, network, batch, precision, partial(functional.reset_net, network))


def loop_step(shape: Shape, batch: Batch, neuron: str, precision: str) -> Callable[[], Tensor]:
    """The step as in the CLIF authors' code: SpikingJelly's network is called once per time step."""
    network = build_theirs(shape, neuron)
    functional.set_step_mode(network, "s")

    def forward(frames: Tensor) -> Tensor:
        return torch.stack([network(frame) for frame in frames])

    return plain_step(network, forward, batch, precision, partial(functional.reset_net, network))


def plain_step(
    network: nn.Module, forward: Callable[[Tensor], Tensor], batch: Batch, precision: str, reset: Callable[[], None]
) -> Callable[[], Tensor]:
    """A plain PyTorch step in fp32, bf16 or fp16, on the device of the batch."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    device = batch.frames.device
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def step() -> Tensor:
        optimiser.zero_grad()
        with autocast(device, precision):
            loss = spiking_loss(forward(batch.frames), batch.labels, LOSS)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        reset()
        return loss.detach()

    return step


def check_equal(neuron: str, shape: Shape, batch: Batch) -> None:
    """Check every block with `benchmarks.vgg_peers.check_blocks`."""
    ours, theirs = build_ours(shape, configured(shape, neuron, "fp32")), build_theirs(shape, neuron)
    copy_weights(ours, theirs)
    worst = check_blocks(neuron, ours, theirs, batch.frames)
    print(f"{neuron}: every block's outputs are equal, gradients at most {worst:.1e} apart", file=sys.stderr)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
