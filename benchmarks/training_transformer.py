"""A training step of the Spike-Driven Transformer compared with SpikingJelly 2.0's.

``python -m benchmarks.training_transformer``. First, every block of both must give equal outputs and gradients for
small frames. In a block of the full size, one potential in a million is within rounding of the threshold, and what its
spike changes reaches every later layer of the block; the tests compare blocks in float64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import tyro
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer as Theirs
from torch import Tensor, nn

from benchmarks.measuring import Row, Timing, format_table, timed_row
from benchmarks.neuron_peers import make_spikingjellys
from benchmarks.training import LOSS, plain_step, timed, train_step
from benchmarks.vgg_peers import both_ways, distance
from pipeline.config.run_config import NetworkConfig, NeuronConfig, OptimiserConfig, RunConfig
from pipeline.data.loader import Batch
from pipeline.layers.attention import GATE_THRESHOLD
from pipeline.networks import build_network
from pipeline.networks.spike_driven_transformer import HEADS, SIZES, SpikeDrivenTransformer
from preprocess.freed_memory import keep_freed_memory

NAME, CLASSES, TARGET = "spike-driven-transformer-gesture", 11, 1.3

Part = tuple[str, Callable[[Tensor], Tensor], list[nn.Parameter]]


@dataclass(frozen=True)
class Arguments:
    """Compare training steps.

    Example: python -m benchmarks.training_transformer
    """

    tiny: bool = False
    """Only check on small inputs that the results are equal; the printed times mean nothing."""
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
    small, full = Shape(2, 3, 0.125, 16), Shape(16, 4, 1.0, 64)
    for neuron in ("clif", "lif"):
        check_equal(neuron, small, draw(small))
    shape = small if arguments.tiny else full
    print(format_table(list(rows(shape, draw(shape), 1 if arguments.tiny else arguments.repeats))))


def draw(shape: Shape) -> Batch:
    """Draw frames of counts."""
    mean = torch.full((shape.steps, shape.batch, 2, shape.side, shape.side), 0.3)
    frames = torch.poisson(mean, generator=torch.Generator().manual_seed(0))
    return Batch(frames, torch.arange(shape.batch) % CLASSES)


def rows(shape: Shape, batch: Batch, repeats: int) -> Iterator[Row]:
    """Compare both neurons."""
    for neuron in ("clif", "lif"):
        found = timed({"ours": our_step(shape, batch, neuron), "theirs": their_step(shape, batch, neuron)}, repeats)
        yield _row(neuron, shape, found)


def _row(neuron: str, shape: Shape, found: dict[str, Timing]) -> Row:
    ours, theirs = found["ours"], found["theirs"]
    size = f"{shape.side}x{shape.side}, T = {shape.steps}, B = {shape.batch}"
    work = f"Spike-Driven Transformer 2-256 {size}, training step, {neuron.upper()}, fp32"
    return timed_row(work, ours, theirs, "SpikingJelly fp32", TARGET)


def build_ours(shape: Shape, neuron: str) -> tuple[RunConfig, SpikeDrivenTransformer]:
    network = NetworkConfig(NAME, width=shape.width, batch_norm="joint")
    config = replace(
        RunConfig(network=network, neuron=NeuronConfig(neuron), loss=LOSS, optimiser=OptimiserConfig()),
        precision="fp32",
    )
    size = (shape.side, shape.side)
    form = {"channels": 2, "classes": CLASSES, "size": size, "timesteps": shape.steps, "seed": 0}
    built = build_network(config.network, config.neuron, **form).train()  # type: ignore[arg-type]
    assert isinstance(built, SpikeDrivenTransformer)
    return config, built


def build_theirs(shape: Shape, neuron: str) -> nn.Module:
    """Build their network with our weights; the biases of their first convolutions, which ours has not, are 0."""
    sizes = SIZES[NAME]
    network = Theirs(
        in_channels=2,
        num_classes=CLASSES,
        embed_dims=round(sizes.channels * shape.width),
        num_heads=HEADS,
        depths=sizes.blocks,
        pooling_stat="".join(str(int(pooled)) for pooled in sizes.pooled),
        spiking_neuron=lambda step_mode: make_spikingjellys(neuron),
    )
    for block in network.blocks:
        block.attn.attn_lif.v_threshold *= GATE_THRESHOLD
    functional.set_step_mode(network, "m")
    state = network.state_dict()
    biases = [name for name in state if _is_first_bias(name)]
    others = [name for name in state if name not in biases]
    weights = build_ours(shape, neuron)[1].state_dict().values()
    network.load_state_dict(
        dict(zip(others, weights, strict=True)) | {name: torch.zeros_like(state[name]) for name in biases}
    )
    return network


def _is_first_bias(name: str) -> bool:
    return name.endswith(".0.bias")


def their_forward(network: nn.Module, frames: Tensor) -> Tensor:
    """Logits for each time step; their own forward pass averages over time before the last layer."""
    for _, part, _ in parts_of_theirs(network):
        frames = part(frames)
    return frames


def parts_of_ours(network: SpikeDrivenTransformer) -> Iterator[Part]:
    """The parts of our network: name, function and parameters."""
    for name, part in (("patches", network.patches), *network.blocks.named_children()):
        yield name, part, list(part.parameters())
    yield "head", partial(_head, network.neuron, network.classifier), list(network.classifier.parameters())


def parts_of_theirs(network: nn.Module) -> Iterator[Part]:
    """The same parts of theirs."""
    assert isinstance(network, Theirs)
    stem = [parameter for name, parameter in network.patch_embed.named_parameters() if not _is_first_bias(name)]
    yield "patches", network.patch_embed, stem
    for block in network.blocks:
        for part in (block.attn, block.mlp):
            yield "block", part, list(part.parameters())
    yield "head", partial(_head, network.head_lif, network.head), list(network.head.parameters())


def _head(neuron: nn.Module, linear: nn.Module, potentials: Tensor) -> Tensor:
    return linear(neuron(potentials.flatten(3).mean(3)))


def our_step(shape: Shape, batch: Batch, neuron: str) -> Callable[[], Tensor]:
    """A step of our network."""
    config, network = build_ours(shape, neuron)
    return train_step(config, network, batch)


def their_step(shape: Shape, batch: Batch, neuron: str) -> Callable[[], Tensor]:
    """The same step with SpikingJelly's network."""
    network = build_theirs(shape, neuron)
    reset = partial(functional.reset_net, network)
    return plain_step(network, partial(their_forward, network), batch, "fp32", reset)


def check_equal(neuron: str, shape: Shape, batch: Batch) -> None:
    """Check that every block of both networks gives the same outputs and gradients for the same input.

    Raises:
        SystemExit: If a block does not.
    """
    ours, theirs = build_ours(shape, neuron)[1], build_theirs(shape, neuron)
    worst, x = 0.0, batch.frames
    for (name, part, weights), (_, peer, peers) in zip(parts_of_ours(ours), parts_of_theirs(theirs), strict=True):
        mine, expected = both_ways(part, x, weights), both_ways(peer, x, peers)
        worst, x = max(worst, distance(f"{neuron}, {name}", mine, expected)), expected[0]
    print(f"{neuron}: every block's outputs are equal, gradients at most {worst:.1e} apart", file=sys.stderr)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
