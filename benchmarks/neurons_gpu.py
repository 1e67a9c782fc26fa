"""Fused neurons on a GPU, in one command: ``python -m benchmarks.neurons_gpu``.

First equality with the CPU; then CLIF and LIF, forward and backward, compared with SpikingJelly's nodes (for CLIF one
Triton launch per time step) and torch.compile of the plain loop; then one training step of the DVS-Gesture preset,
T = 20, B = 16, with its peak memory. docs/internals/neurons.md has the expected times.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import tyro
from spikingjelly.activation_based import functional
from torch import nn

from benchmarks import neuron_peers as peers
from benchmarks.measuring import Row, format_table
from pipeline.evaluation.losses import spiking_loss
from pipeline.networks import build_network
from pipeline.presets.registry import PRESETS

# Bytes per element and step, forward and backward together, with float32 input and spikes: docs/internals/neurons.md.
MOVED_BYTES = {"clif": 36, "lif": 24}
GESTURE_CLASSES, GESTURE_SIZE = 11, (128, 128)


@dataclass(frozen=True)
class Arguments:
    """Compare the fused neurons with SpikingJelly's and with torch.compile on a GPU.

    Example: python -m benchmarks.neurons_gpu
    """

    repeats: int = 21
    """Number of timings, in turns; the median counts."""
    elements: int = 4_000_000
    """Number of neurons of a layer; there are T times as many element-steps."""


def main(arguments: Arguments) -> None:
    """Print the table."""
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.neurons_gpu: expected a CUDA device, found none. On a CPU: benchmarks.neurons")
    print(torch.cuda.get_device_name(), file=sys.stderr)
    rows: list[Row] = []
    for kind in MOVED_BYTES:
        check_against_cpu(kind)
        for steps in (4, 10, 20):
            rows += node_rows(kind, steps, arguments.elements, arguments.repeats)
    rows += gesture_rows(min(arguments.repeats, 9))
    print(format_table(rows))


def check_against_cpu(kind: str) -> None:
    """Stop unless the GPU's kernels give the same results as the CPU's."""
    x, grad = peers.draw(10, 100_000)
    on_gpu = peers.make_ours(kind)

    def moved(inputs: torch.Tensor) -> torch.Tensor:
        functional.reset_net(on_gpu)
        return on_gpu(inputs.cuda()).cpu()

    peers.check_equal(kind, x, grad, {"the GPU": moved})
    print(f"{kind.upper()}: the GPU's spikes and gradient equal the CPU's", file=sys.stderr)


def node_rows(kind: str, steps: int, elements: int, repeats: int) -> Iterator[Row]:
    """Time forward and backward of one layer, with the memory bandwidth that ours reaches by the model's bytes."""
    x, grad = peers.draw(steps, elements, "cuda")
    torch.compiler.reset()
    ours = peers.make_ours(kind)
    others: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "SpikingJelly": peers.make_spikingjellys(kind),
        "torch.compile": torch.compile(peers.PLAIN[kind]),
    }
    peers.check_equal(kind, x, grad, others)
    nodes: list[Callable[[torch.Tensor], torch.Tensor]] = [ours, *others.values()]
    mine, *theirs = time_on_gpu([partial(peers.step, node, x, grad) for node in nodes], repeats)
    bandwidth = MOVED_BYTES[kind] * x.numel() / mine / 1e9
    for name, taken in zip(others, theirs, strict=True):
        yield Row(
            f"{kind.upper()} forward + backward, T = {steps}, {x.numel() / 1e6:g} M element-steps",
            f"{1000 * mine:.3g} ms ({bandwidth:.0f} GB/s)",
            f"{name} {1000 * taken:.3g} ms",
            taken / mine,
            1.0,
        )


def gesture_rows(repeats: int) -> Iterator[Row]:
    """Time one training step of the DVS-Gesture preset with CLIF: fused, and with SpikingJelly's code."""
    config = PRESETS["gesture-vgg11"].config
    steps, batch = config.binning.timesteps, config.batch_size
    frames = torch.rand(steps, batch, 2, *GESTURE_SIZE, device="cuda")
    labels = torch.arange(batch, device="cuda") % GESTURE_CLASSES
    networks = []
    for backend in ("fused", "torch"):
        neuron = replace(config.neuron, name="clif", backend=backend)
        shape = {"channels": 2, "classes": GESTURE_CLASSES, "size": GESTURE_SIZE, "timesteps": steps}
        networks.append(build_network(config.network, neuron, **shape, seed=0).cuda())  # type: ignore[arg-type]
    for precision in ("fp32", "bf16"):

        def train(network: nn.Module, reduced: bool = precision == "bf16") -> None:
            functional.reset_net(network)
            network.zero_grad()
            with torch.autocast("cuda", torch.bfloat16, enabled=reduced):
                logits = network(frames)
            spiking_loss(logits, labels, config.loss).backward()

        peaks = [peak_memory_mb(partial(train, network)) for network in networks]
        works = [partial(train, network) for network in networks]
        fused, plain = time_on_gpu(works, repeats)
        work = f"Gesture training step, T = {steps}, B = {batch}, {precision}"
        yield Row(work, f"{1000 * fused:.3g} ms", f"SpikingJelly's code {1000 * plain:.3g} ms", plain / fused, 1.0)
        yield Row(
            f"{work}, peak memory", f"{peaks[0]:.0f} MB", f"{peaks[1]:.0f} MB", peaks[0] / peaks[1], 1.0, less=True
        )


def time_on_gpu(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Time functions in turns by the GPU's clock; return their medians in seconds."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 2):
        for times, work in zip(taken, works, strict=True):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            work()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1000)
    # The first two runs of each compile and warm up.
    return [statistics.median(times[2:]) for times in taken]


def peak_memory_mb(work: Callable[[], object]) -> float:
    """Peak memory of tensors during a call, in 10^6 bytes; that of the second call, when everything is compiled."""
    work()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 1e6


if __name__ == "__main__":
    main(tyro.cli(Arguments))
