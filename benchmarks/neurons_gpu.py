"""Fused neurons on a GPU, in one command: ``python -m benchmarks.neurons_gpu``.

First equality with the CPU; then CLIF and LIF, forward and backward, compared with SpikingJelly's nodes and with
torch.compile of the plain loop, and batch norm and neuron as one compared with the two apart. SpikingJelly chooses its
CUDA code by environment variables as it is imported, so each of its implementations is measured in a process of its
own: `triton` (for CLIF one launch per time step) and `cuda`, the compiled extension that replaced its CuPy kernels,
where it was built. docs/internals/neurons.md has the expected times.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import tyro
from spikingjelly.activation_based import functional

from benchmarks import neuron_peers as peers
from benchmarks.gpu_timing import seconds_in_turns
from benchmarks.measurements import measured
from benchmarks.measuring import Row, format_table
from pipeline.kernels.norm_neuron import can_fuse, run_length
from pipeline.layers.batch_norm import SequenceBatchNorm

# Float32 values that a kernel reads and writes for each element and step besides input, spikes and their gradients.
_FLOAT32_VALUES = {"clif": 5, "lif": 2}
IMPLEMENTATIONS = ("triton", "cuda")
MODES: tuple[Literal["per-step", "joint"], ...] = ("per-step", "joint")


@dataclass(frozen=True)
class Arguments:
    """Compare the fused neurons with SpikingJelly's and with torch.compile on a GPU.

    Example: python -m benchmarks.neurons_gpu
    """

    repeats: int = 21
    """Number of timings, in turns; the median counts."""
    elements: int = 4_000_000
    """Number of neurons of a layer; there are T times as many element-steps."""
    tiny: bool = False
    """Take few elements on the CPU, without torch.compile, to check that the benchmark works; the printed times mean
    nothing."""


def moved_bytes(kind: str, size: int) -> int:
    """Bytes per element and step, forward and backward together (docs/internals/neurons.md).

    Args:
        kind: clif or lif.
        size: Bytes of an element of the input.
    """
    return 4 * size + 4 * _FLOAT32_VALUES[kind]


def moved_bytes_with_norm(kind: str, size: int, steps: int) -> float:
    """The same of batch norm and neuron as one, with states saved before each run of steps and read again."""
    states = {"clif": 2, "lif": 1}[kind]
    return 9 * size + 2 * 4 * states * -(-steps // run_length(steps)) / steps


def main(arguments: Arguments) -> None:
    """Print the table."""
    if not arguments.tiny and not torch.cuda.is_available():
        raise SystemExit("benchmarks.neurons_gpu: expected a CUDA device, found none. On a CPU: benchmarks.neurons")
    rows: list[Row] = []
    for kind in _FLOAT32_VALUES:
        # On the CPU, SpikingJelly has one implementation.
        for implementation in ("torch",) if arguments.tiny else IMPLEMENTATIONS:
            rows += apart(arguments, kind, implementation)
    print(format_table(rows))


def apart(arguments: Arguments, kind: str, implementation: str) -> list[Row]:
    """The rows of a neuron beside one of SpikingJelly's implementations, measured in a process of its own."""
    if arguments.tiny:
        return _measure(arguments, kind, implementation)
    os.environ[f"SJ_{kind.upper()}_CUDA_IMPLEMENTATION"] = implementation
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, arguments, kind, implementation).result()


def _measure(arguments: Arguments, kind: str, implementation: str) -> list[Row]:
    device = torch.device("cpu" if arguments.tiny else "cuda")
    if device.type == "cuda":
        missing = why_missing(kind, device)
        if missing is not None:
            print(f"{kind.upper()}: SpikingJelly has no implementation {implementation}: {missing}", file=sys.stderr)
            return []
        check_against_cpu(kind)
    elements, repeats = (1000, 1) if arguments.tiny else (arguments.elements, arguments.repeats)
    compiles = not arguments.tiny and implementation == IMPLEMENTATIONS[0]
    # The one in the middle, which the documentation is about, first.
    return [
        row
        for steps in (10, 4, 20)
        for row in node_rows(kind, implementation, steps, elements, repeats, device, compiles=compiles)
    ] + ([] if implementation == "cuda" else list(norm_rows(kind, elements, repeats, device)))


def why_missing(kind: str, device: torch.device) -> str | None:
    """Why the implementation that the environment names is not there; None if it is."""
    try:
        functional.neuron_implementation(kind, device)
    except RuntimeError as error:
        return str(error)
    return None


def check_against_cpu(kind: str) -> None:
    """Stop unless the GPU's kernels give the same results as the CPU's."""
    x, grad = peers.draw(10, 100_000)
    on_gpu = peers.make_ours(kind)

    def moved(inputs: torch.Tensor) -> torch.Tensor:
        functional.reset_net(on_gpu)
        return on_gpu(inputs.cuda()).cpu()

    peers.check_equal(kind, x, grad, {"the GPU": moved})
    print(f"{kind.upper()}: the GPU's spikes and gradient equal the CPU's", file=sys.stderr)


def node_rows(
    kind: str, implementation: str, steps: int, elements: int, repeats: int, device: torch.device, *, compiles: bool
) -> Iterator[Row]:
    """Time forward and backward of one layer, with the memory bandwidth that ours reaches by the model's bytes."""
    x, grad = peers.draw(steps, elements, device.type)
    torch.compiler.reset()
    others: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        f"spikingjelly-{implementation}": peers.make_spikingjellys(kind)
    }
    if compiles:
        others["compile"] = torch.compile(peers.PLAIN[kind])
    peers.check_equal(kind, x, grad, others)
    nodes: list[Callable[[torch.Tensor], torch.Tensor]] = [peers.make_ours(kind), *others.values()]
    copied = torch.empty_like(x)
    works = [partial(peers.step, node, x, grad) for node in nodes]
    mine, *theirs, copying = seconds_in_turns([*works, lambda: copied.copy_(x)], device, repeats)
    bandwidth, of_copy = moved_bytes(kind, x.element_size()) * x.numel() / mine / 1e9, 2 * x.nbytes / copying / 1e9
    note = f"{bandwidth:.0f} GB/s, a copy {of_copy:.0f} GB/s"
    measured(f"{kind}-T{steps}-bandwidth", bandwidth / of_copy, "", note)
    for name, taken in zip(others, theirs, strict=True):
        measured(f"{kind}-T{steps}-{name}", taken / mine, "", f"{1000 * mine:.3g} ms, {name} {1000 * taken:.3g} ms")
        yield Row(
            f"{kind.upper()} forward + backward, T = {steps}, {x.numel() / 1e6:g} M element-steps",
            f"{1000 * mine:.3g} ms ({bandwidth:.0f} GB/s)",
            f"{name} {1000 * taken:.3g} ms",
            taken / mine,
            1.0,
        )


def norm_rows(kind: str, elements: int, repeats: int, device: torch.device) -> Iterator[Row]:
    """Time batch norm and neuron as one beside the two apart, in float32 and bfloat16, T = 10.

    Raises:
        SystemExit: If the gradients of the weights differ.
    """
    steps, channels, side = 10, 64, 16 if device.type == "cpu" else 64
    images = max(2, elements // (channels * side * side))
    generator = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(steps, images, channels, side, side, generator=generator).to(device) for _ in range(2))
    for mode in MODES:
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            node, norm = peers.make_ours(kind), SequenceBatchNorm(channels, mode).to(device)
            inputs, given = x.to(dtype).requires_grad_(), grad.to(dtype)

            def step(together: bool) -> torch.Tensor:
                functional.reset_net(node)  # noqa: B023
                spikes = node(inputs, norm=norm) if together else node(norm(inputs))  # noqa: B023
                return torch.autograd.grad(spikes, [inputs, norm.weight], given)[1]  # noqa: B023

            if not can_fuse(node, norm, inputs):
                raise SystemExit(f"benchmarks.neurons_gpu: {kind}: batch norm and neuron do not run as one")
            as_one, apart = step(True), step(False)
            found = float((as_one - apart).norm() / apart.norm())
            # Apart, batch norm's result is rounded to the input's type, so that few spikes differ.
            if not found < (1e-2 if dtype == torch.float32 else 0.2):
                raise SystemExit(f"benchmarks.neurons_gpu: {kind}: the gradient of the weights is {found:.2g} away")
            mine, theirs = seconds_in_turns([partial(step, True), partial(step, False)], device, repeats)
            rate = moved_bytes_with_norm(kind, inputs.element_size(), steps) * inputs.numel() / mine / 1e9
            note = f"{1000 * mine:.3g} ms ({rate:.0f} GB/s), apart {1000 * theirs:.3g} ms"
            measured(f"{kind}-with-norm-{mode}-{name}", theirs / mine, "", note)
            yield Row(
                f"batch norm {mode} + {kind.upper()}, T = {steps}, {name}, {inputs.numel() / 1e6:g} M element-steps",
                f"{1000 * mine:.3g} ms ({rate:.0f} GB/s)",
                f"apart {1000 * theirs:.3g} ms",
                theirs / mine,
                1.0,
            )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
