"""What each trial gets of the machine or cluster: CPUs, a share of a GPU, memory; and how many run at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.run_config import RunConfig
from preprocess.errors import ConfigError

# Part of a machine's free memory that trials may fill: the measure is one trial's, and pages of files want room, too.
MEMORY_SHARE = 0.9
# Small networks leave a GPU idle between their steps; more than so many on one only take turns.
_MOST_ON_A_GPU = 4


@dataclass(frozen=True)
class Node:
    """What one machine of a cluster has for trials.

    Attributes:
        cpus: Whole CPUs.
        gpus: GPUs.
        memory: Bytes that trials may take in all.
        gpu_memory: Bytes of one GPU; 0 where there is none, or it is not known.
    """

    cpus: int
    gpus: float = 0.0
    memory: float = math.inf
    gpu_memory: float = 0.0


@dataclass(frozen=True)
class MemoryNeed:
    """What one trial was measured to take, in bytes; 0 where nothing was measured.

    Attributes:
        memory: Of main memory.
        gpu_memory: Of a GPU.
        fits: False where the memory did not hold it: it is trained in pieces, of which nobody knows what they take.
    """

    memory: float = 0.0
    gpu_memory: float = 0.0
    fits: bool = True


@dataclass(frozen=True)
class ResourceRequest:
    """What the user asked for each trial; None leaves it to `plan_resources`."""

    concurrent: int | None = None
    cpus: int | None = None
    gpus: float | None = None

    def errors(self) -> list[str]:
        """Every fault, a line each."""
        found = [
            f"--{name}: expected at least 1, found {value}"
            for name, value in (("concurrent", self.concurrent), ("cpus-per-trial", self.cpus))
            if value is not None and value < 1
        ]
        if self.gpus is not None and not (0 <= self.gpus <= 1 or self.gpus == int(self.gpus)):
            found.append(f"--gpus-per-trial: expected a share from 0 to 1 or a whole number, found {self.gpus}")
        return found


@dataclass(frozen=True)
class TrialResources:
    """What each trial gets.

    Attributes:
        trials: How many run at once.
        threads: CPUs, and so threads, of each.
        gpu: Share of a GPU of each, 0 without.
        device: What each computes on.
        memory: Bytes of main memory that each is counted with; 0 where nothing was measured.
    """

    trials: int
    threads: int
    gpu: float
    device: str
    memory: int = 0


def plan_resources(
    config: RunConfig,
    count: int,
    nodes: Sequence[Node],
    request: ResourceRequest | None = None,
    need: MemoryNeed | None = None,
) -> TrialResources:
    """Cut what a cluster has into equal shares for the trials that run at once.

    Args:
        config: One of the trials, which do not differ in device and threads; where it names threads, each gets so many.
        count: How many trials are to run.
        nodes: The cluster's machines.
        asked: What the user wants.
        need: What one trial was measured to take: no more of them run on a machine than its memory holds, and of those
            that it does not hold one.

    Raises:
        ConfigError: If the configuration asks for a GPU and there is none, or no machine has the CPUs asked for or
            holds a single trial.
    """
    request, need = request or ResourceRequest(), need or MemoryNeed()
    gpus = sum(node.gpus for node in nodes)
    device = config.device
    if (device.startswith("cuda") or (request.gpus or 0) > 0) and not gpus:
        wants = f"'{device}'" if device.startswith("cuda") else f"--gpus-per-trial {request.gpus:g}"
        raise ConfigError(f"device: expected a GPU for {wants}, found none that Ray knows. Use auto or cpu.")
    on_gpu = gpus > 0 and device != "cpu" and request.gpus != 0
    nodes = [node for node in nodes if node.cpus and (node.gpus or not on_gpu)]
    if not nodes:
        raise ConfigError("expected a machine that offers CPUs for trials, found none: see spikeloom cluster status")
    if request.cpus is not None:
        largest = max(node.cpus for node in nodes)
        nodes = [node for node in nodes if node.cpus >= request.cpus]
        if not nodes:
            rule = "expected a machine of as many CPUs"
            raise ConfigError(f"--cpus-per-trial {request.cpus}: {rule}, found at most {largest}. Lower it.")
    # A trial's CPUs are of one machine, the smallest that has any.
    most = min(node.cpus for node in nodes)
    threads = min(request.cpus or config.threads or 1, most)
    if not need.fits and not on_gpu:
        # As if a trial filled the smallest machine. On GPUs one is alone on each anyway.
        need = MemoryNeed(math.floor(min(node.memory for node in nodes) * MEMORY_SHARE))
    gpu = 0.0
    if on_gpu:
        gpu = request.gpus or _gpu_share(nodes, request, need)
    at_once = sum(trials_that_fit(node, threads, gpu, need.memory) for node in nodes)
    if not at_once:
        free = max(node.memory for node in nodes)
        raise ConfigError(
            f"a trial takes {need.memory / 1e9:.1f} GB of memory, and no machine has more than "
            f"{free * MEMORY_SHARE / 1e9:.1f} GB for trials, {MEMORY_SHARE} of {free / 1e9:.1f} GB that are free. "
            "Lower batch_size, input.size, network.width or binning.timesteps, or set micro_batch."
        )
    at_once = min(at_once, count, request.concurrent or count)
    if request.cpus is None and config.threads is None:
        threads = max(1, min(sum(node.cpus for node in nodes) // at_once, most))
    return TrialResources(at_once, threads, gpu, "cuda" if on_gpu else "cpu", math.ceil(need.memory))


def trials_that_fit(node: Node, threads: int, gpu: float, memory: float) -> int:
    """How many trials of so many CPUs, such a share of a GPU and so many bytes run on a machine at once."""
    found = [node.cpus // threads]
    if gpu:
        # Two trials of 0.7 do not share a GPU.
        found.append(int(node.gpus // gpu) if gpu >= 1 else int(node.gpus) * int(1 / gpu + 1e-9))
    if memory:
        found.append(int(node.memory * MEMORY_SHARE // memory))
    return max(0, min(found))


def _gpu_share(nodes: Sequence[Node], request: ResourceRequest, need: MemoryNeed) -> float:
    """One trial a GPU; several where they fit its memory, CPUs are there for them, and that was measured or asked."""
    gpus = sum(node.gpus for node in nodes)
    if request.concurrent is not None:
        on_each = max(1, math.ceil(request.concurrent / gpus))
    elif not need.gpu_memory or not all(node.gpu_memory for node in nodes):
        on_each = 1
    else:
        fits = min(int(node.gpu_memory * MEMORY_SHARE // need.gpu_memory) for node in nodes)
        cpus = min(int(node.cpus // node.gpus) for node in nodes)
        on_each = max(1, min(fits, cpus, _MOST_ON_A_GPU))
    # Ray knows four digits of a share; more than one trial never spreads over two GPUs.
    return min(1.0, int(10_000 / on_each) / 10_000)
