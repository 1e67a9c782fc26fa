"""Whether frames are read fast enough for a GPU: ``python -m benchmarks.feeding --cache CACHE``.

Measured here: the time to read a batch from a preset's frame cache into the buffer that is copied to the device, by
wall clock and by the processor time of the reading thread, which other work on the machine affects less. Computed: the
training step of a GPU, from the FLOPs and the memory traffic of the network and the GPU's data sheet, and the share of
the time in which it would wait for the batches. docs/internals/gpu.md has the results and what is left out.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from benchmarks.neurons_gpu import moved_bytes_with_norm
from pipeline.config.run_config import RunConfig, override
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import open_data
from pipeline.dry_run.dry_run import dry_run
from pipeline.presets.registry import find_preset


@dataclass(frozen=True)
class Gpu:
    """A GPU's data sheet: dense bf16 FLOP/s, and bytes per second of its memory and of a copy from the host."""

    flops: float
    memory: float
    link: float


GPUS = {
    "A100": Gpu(312e12, 1.555e12, 25e9),
    "H100": Gpu(989e12, 3.35e12, 50e9),
    "H200": Gpu(989e12, 4.8e12, 50e9),
}
# Of the data sheet's, as docs/internals/neurons.md assumes.
REACHED_FLOPS, REACHED_MEMORY = 0.4, 0.8
# Bytes for each output of a neuron in one step, in bf16: those of batch norm and neuron as one; the convolution writes
# its output once and reads its input twice, and its gradients the same way.
BYTES_PER_NEURON = moved_bytes_with_norm("clif", 2, 20) + 2 * 6


@dataclass(frozen=True)
class Arguments:
    """Measure the reading of frames, and compute the waiting of a GPU.

    Example: python -m benchmarks.feeding gesture-vgg11 --cache cache
    """

    preset: Annotated[str, tyro.conf.Positional] = "gesture-vgg11"
    cache: Path = Path("cache")
    dataset: str | None = None
    """Name of another data set in the cache whose frames are read, such as emulated-gestures."""
    repeats: int = 20
    """Number of batches that are read; the median counts."""


def main(arguments: Arguments) -> None:
    """Print what was measured and computed."""
    config = find_preset(arguments.preset).config
    changes = {"neuron.name": "clif", "precision": "bf16", "dataset.name": arguments.dataset or config.dataset.name}
    config = override(config, changes)
    wall, processor, size = measure(config, arguments.cache, arguments.repeats)
    print("| batch of | MB | wall, ms | processor, ms | samples/s of one thread, by processor time |")
    print("|---|---|---|---|---|")
    samples = config.batch_size
    cells = (f"{size / 1e6:.3g}", f"{1000 * wall:.3g}", f"{1000 * processor:.3g}", f"{samples / processor:.0f}")
    print(f"| {samples} | {' | '.join(cells)} |\n")
    print("| GPU | step computed, ms | samples/s | copy, ms | waits | waits at its data sheet's rates |")
    print("|---|---|---|---|---|---|")
    found = dry_run(config, arguments.cache)
    for name, gpu in GPUS.items():
        outputs = found["neurons"] * found["timesteps"] * samples
        step = step_seconds(found["flops_per_step"], outputs, gpu)
        least = step_seconds(found["flops_per_step"], outputs, gpu, 1.0, 1.0)
        waits = (f"{100 * waiting_share(processor, seconds):.0f} %" for seconds in (step, least))
        cells = (f"{1000 * step:.3g}", f"{samples / step:.0f}", f"{1000 * size / gpu.link:.2g}", *waits)
        print(f"| {name} | {' | '.join(cells)} |")


def measure(config: RunConfig, cache: Path, repeats: int) -> tuple[float, float, int]:
    """Seconds by wall clock and of the processor to read a batch into the buffer, and its bytes."""
    data = open_data(config, cache, needs_test=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Of few samples, batches have some repeatedly.
    indices = np.resize(data.splits.train, max(len(data.splits.train), config.batch_size))
    loader = FrameLoader(data.frames, indices, config.batch_size, config.input, device, seed=config.seed, training=True)
    plan = loader._plan(1)
    wall, processor = [], []
    for number in range(repeats + 2):
        start, start_processor = time.perf_counter(), time.thread_time()
        read = loader._read(data.frames, plan[number % len(plan)], loader._buffers[number % 2], 1)
        wall.append(time.perf_counter() - start)
        processor.append(time.thread_time() - start_processor)
    # The first batches open files and compile.
    return statistics.median(wall[2:]), statistics.median(processor[2:]), read.nbytes


def step_seconds(
    flops: float, outputs: float, gpu: Gpu, of_flops: float = REACHED_FLOPS, of_memory: float = REACHED_MEMORY
) -> float:
    """Computed time of a training step: products, and the traffic of the neurons' outputs, one after the other.

    Args:
        flops: Of the step.
        outputs: Outputs of neurons of the batch in all time steps.
        gpu: The GPU.
        of_flops: Share of its FLOP/s that is reached.
        of_memory: Share of its memory bandwidth that is reached.
    """
    return flops / (of_flops * gpu.flops) + BYTES_PER_NEURON * outputs / (of_memory * gpu.memory)


def waiting_share(reading_s: float, step_s: float) -> float:
    """Share of the time in which a device waits for batches that are read while it computes."""
    return max(0.0, 1.0 - step_s / reading_s)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
