"""Fused neurons compared with SpikingJelly 2.0 and `torch.compile`, on the CPU: ``python -m benchmarks.neurons``.

Every pair must give equal spikes and gradients before it is timed. Each layer is timed in a separate process: how much
freed memory the C library keeps depends on everything before, and determines half of SpikingJelly's time.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
import tyro
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from benchmarks import neuron_peers as peers
from benchmarks.measuring import Row, format_table, time_in_turns, timed_row
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.networks import build_network
from preprocess.freed_memory import keep_freed_memory

# Speed relative to SpikingJelly's multi-step node and to torch.compile of the plain loop; 0 means no target.
TARGETS = {"clif": (8.0, 3.0), "lif": (4.0, 0.0)}
MEMORY_TARGET = {"clif": 1 / 3, "lif": 1.0}
NETWORK_TARGETS = {"fp32": 1.08, "bf16": 1.12}


@dataclass(frozen=True)
class Arguments:
    """Compare the fused neurons with SpikingJelly's and with torch.compile.

    Example: python -m benchmarks.neurons
    """

    tiny: bool = False
    """Only check on small inputs that the results are equal; the printed times mean nothing."""
    repeats: int = 9
    """Number of timings, in turns; the median counts."""
    keep_memory: bool = False
    """Let the C library keep freed memory, for all peers, as spikeloom train does."""


def main(arguments: Arguments) -> None:
    """Print the table."""
    repeats = 1 if arguments.tiny else arguments.repeats
    sizes = [10_000] if arguments.tiny else [10_500_000, 21_000_000]  # element-steps
    rows: list[Row] = []
    for kind in TARGETS:
        for steps in (4, 10, 20):
            for size in sizes:
                rows += apart(arguments, kind, steps, size // steps)
        rows.append(memory_row(kind, 10, sizes[0] // 10))
    if arguments.keep_memory:
        keep_freed_memory()
    rows += network_rows(arguments.tiny, repeats)
    print(format_table(rows))


def apart(arguments: Arguments, kind: str, steps: int, elements: int) -> list[Row]:
    """The rows of one layer, measured in a separate process."""
    if arguments.tiny:
        return _measure(arguments, kind, steps, elements)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, arguments, kind, steps, elements).result()


def _measure(arguments: Arguments, kind: str, steps: int, elements: int) -> list[Row]:
    if arguments.keep_memory:
        keep_freed_memory()
    repeats = 1 if arguments.tiny else arguments.repeats
    return list(node_rows(kind, steps, elements, repeats, compiles=not arguments.tiny))


def node_rows(kind: str, steps: int, elements: int, repeats: int, *, compiles: bool) -> Iterator[Row]:
    """Time forward and backward of one layer through autograd."""
    x, grad = peers.draw(steps, elements)
    ours, theirs = peers.make_ours(kind), peers.make_spikingjellys(kind)
    plain: Callable[[Tensor], Tensor] = peers.PLAIN[kind]
    if compiles:
        torch.compiler.reset()
        plain = torch.compile(plain)
    left_out = peers.check_equal(kind, x, grad, {"SpikingJelly": theirs, "the plain loop": plain})
    work = f"{kind.upper()} forward + backward, T = {steps}, {steps * elements / 1e6:g} M element-steps"
    print(f"{work}: equal, {left_out:.1e} of the elements left out", file=sys.stderr)
    mine, *others = time_in_turns([partial(peers.step, node, x, grad) for node in (ours, theirs, plain)], repeats)
    names = ("SpikingJelly", "torch.compile" if compiles else "plain loop")
    for name, other, target in zip(names, others, TARGETS[kind], strict=True):
        yield timed_row(work, mine, other, name, target)


def memory_row(kind: str, steps: int, elements: int) -> Row:
    """Bytes that the graph keeps from forward to backward."""
    x, _ = peers.draw(steps, elements)
    ours, theirs = (_saved_bytes(make(kind), x) for make in (peers.make_ours, peers.make_spikingjellys))
    return Row(
        f"{kind.upper()} saved for backward, T = {steps}, bytes per element-step",
        f"{ours / x.numel():.3g}",
        f"SpikingJelly {theirs / x.numel():.3g}",
        ours / theirs,
        MEMORY_TARGET[kind],
        less=True,
    )


def _saved_bytes(node: nn.Module, x: Tensor) -> int:
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(saved: Tensor) -> Tensor:
        storages[saved.untyped_storage().data_ptr()] = saved.untyped_storage()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        node(x.clone().requires_grad_())
    return sum(storage.nbytes() for storage in storages.values())


def network_rows(tiny: bool, repeats: int) -> Iterator[Row]:
    """Time a training step of VGGSNN in comparison with the same network with ReLU."""
    steps, batch, width = (2, 2, 0.125) if tiny else (10, 8, 1.0)
    frames = torch.rand(steps, batch, 2, 48, 48, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(batch) % 10
    networks = [_build(name, width, steps) for name in ("clif", "relu")]
    for precision, target in NETWORK_TARGETS.items():
        works = [partial(_train, network, frames, labels, precision) for network in networks]
        for work in works:
            work()
        clif, relu = time_in_turns(works, repeats)
        yield Row(
            f"VGGSNN at 48x48, T = {steps}, B = {batch}, training step, {precision}",
            str(clif),
            f"ReLU instead of the neuron {relu}",
            clif.wall_s / relu.wall_s,
            target,
            less=True,
            of_processor=clif.processor_s / relu.processor_s,
        )


def _build(name: str, width: float, steps: int) -> nn.Module:
    config = NetworkConfig("vggsnn", width=width)
    return build_network(config, NeuronConfig(name), channels=2, classes=10, size=(48, 48), timesteps=steps, seed=0)


def _train(network: nn.Module, frames: Tensor, labels: Tensor, precision: str) -> None:
    functional.reset_net(network)
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = nn.functional.cross_entropy(network(frames).float().mean(0), labels)
    loss.backward()


if __name__ == "__main__":
    main(tyro.cli(Arguments))
