"""The rules for the resources of each trial: CPUs, a fraction of a GPU, memory, and how many trials fit beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.run_config import RunConfig
from preprocess.errors import ConfigError

# The fraction of a machine's free memory that trials may use: only one trial is measured, and cached files need room.
MEMORY_SHARE = 0.9
# Small networks leave a GPU idle between their steps; with more trials than this on one GPU, they only take turns.
_MOST_ON_A_GPU = 4


@dataclass(frozen=True)
class Node:
    """The resources that one machine of a cluster has for trials.

    Attributes:
        cpus: Number of CPUs.
        gpus: Number of GPUs.
        memory: Main memory for all trials together, in bytes.
        gpu_memory: Memory of one GPU, in bytes; 0 if there is none or it is unknown.
    """

    cpus: int
    gpus: float = 0.0
    memory: float = math.inf
    gpu_memory: float = 0.0


@dataclass(frozen=True)
class MemoryNeed:
    """The measured memory of one trial, in bytes; 0 if nothing was measured.

    Attributes:
        memory: Main memory.
        gpu_memory: Memory of a GPU.
        fits: False if the trial did not fit in memory: it uses gradient accumulation, whose memory is not measured.
    """

    memory: float = 0.0
    gpu_memory: float = 0.0
    fits: bool = True


@dataclass(frozen=True)
class ResourceRequest:
    """The resources that the user requests; None leaves the decision to `plan_resources`.

    Attributes:
        concurrent: Number of trials that run at once.
        cpus: CPUs per trial.
        gpus: GPUs per trial: a fraction, or a whole number.
    """

    concurrent: int | None = None
    cpus: int | None = None
    gpus: float | None = None

    def errors(self) -> list[str]:
        """Every error, a line each."""
        found = [
            f"--{name}: expected at least 1, found {value}"
            for name, value in (("concurrent", self.concurrent), ("cpus-per-trial", self.cpus))
            if value is not None and value < 1
        ]
        if self.gpus is not None and not (0 <= self.gpus <= 1 or self.gpus == int(self.gpus)):
            found.append(f"--gpus-per-trial: expected a fraction from 0 to 1 or a whole number, found {self.gpus}")
        return found


@dataclass(frozen=True)
class TrialResources:
    """The resources of each trial.

    Attributes:
        trials: Number of trials that run at once.
        threads: CPUs, and therefore threads, per trial.
        gpu: Fraction of a GPU per trial, or a number of GPUs; 0 without a GPU.
        device: cpu or cuda.
        memory: Main memory reserved per trial, in bytes; 0 if nothing was measured.
    """

    trials: int
    threads: int
    gpu: float
    device: str
    memory: int = 0

    def for_ray(self) -> dict[str, float]:
        """The resources of a trial in Ray's terms."""
        found: dict[str, float] = {"cpu": self.threads, "gpu": self.gpu}
        return found | {"memory": self.memory} if self.memory else found


def plan_resources(
    config: RunConfig,
    count: int,
    nodes: Sequence[Node],
    request: ResourceRequest | None = None,
    need: MemoryNeed | None = None,
) -> TrialResources:
    """Divide the resources of a cluster equally among the trials that run at once.

    Args:
        config: One of the trials, which all have the same device and number of threads.
        count: Number of trials to run.
        nodes: The cluster's machines.
        request: The user's request.
        need: The measured memory of one trial: a machine runs only as many trials as fit in its memory, or one if the
            trial does not fit.

    Raises:
        ConfigError: If the configuration requests a GPU and there is none, or no machine has the requested CPUs or
            enough memory for a single trial.
    """
    request, need = request or ResourceRequest(), need or MemoryNeed()
    gpus = sum(node.gpus for node in nodes)
    device = config.device
    if (device.startswith("cuda") or (request.gpus or 0) > 0) and not gpus:
        wants = f"'{device}'" if device.startswith("cuda") else f"--gpus-per-trial {request.gpus:g}"
        raise ConfigError(f"device: expected a GPU for {wants}, found none in Ray. Use auto or cpu.")
    on_gpu = gpus > 0 and device != "cpu" and request.gpus != 0
    nodes = [node for node in nodes if node.cpus and (node.gpus or not on_gpu)]
    if not nodes:
        raise ConfigError("expected a machine that offers CPUs for trials, found none. See: spikeloom cluster status")
    if request.cpus is not None:
        largest = max(node.cpus for node in nodes)
        nodes = [node for node in nodes if node.cpus >= request.cpus]
        if not nodes:
            rule = "expected a machine with that many CPUs"
            raise ConfigError(f"--cpus-per-trial {request.cpus}: {rule}, found at most {largest}. Lower it.")
    # All CPUs of a trial are on one machine; the smallest machine limits them.
    most = min(node.cpus for node in nodes)
    threads = min(request.cpus or config.threads or 1, most)
    if not need.fits and not on_gpu:
        # Planned as if a trial filled the smallest machine. On GPUs each trial has its own GPU anyway.
        need = MemoryNeed(math.floor(min(node.memory for node in nodes) * MEMORY_SHARE))
    gpu = 0.0
    if on_gpu:
        gpu = request.gpus or _gpu_share(nodes, request, need)
    at_once = sum(trials_that_fit(node, threads, gpu, need.memory) for node in nodes)
    if not at_once:
        free = max(node.memory for node in nodes)
        raise ConfigError(
            f"expected at least {need.memory / 1e9:.1f} GB of memory, which a trial needs, found at most "
            f"{free * MEMORY_SHARE / 1e9:.1f} GB for trials on a machine, {MEMORY_SHARE} of {free / 1e9:.1f} GB free. "
            "Lower batch_size, input.size, network.width or binning.timesteps, or set micro_batch."
        )
    at_once = min(at_once, count, request.concurrent or count)
    if request.cpus is None and config.threads is None:
        threads = max(1, min(sum(node.cpus for node in nodes) // at_once, most))
    return TrialResources(at_once, threads, gpu, "cuda" if on_gpu else "cpu", math.ceil(need.memory))


def trials_that_fit(node: Node, threads: int, gpu: float, memory: float) -> int:
    """Number of trials with these resources that a machine can run at once."""
    found = [node.cpus // threads]
    if gpu:
        # Two trials with 0.7 of a GPU each do not share one.
        found.append(int(node.gpus // gpu) if gpu >= 1 else int(node.gpus) * int(1 / gpu + 1e-9))
    if memory:
        found.append(int(node.memory * MEMORY_SHARE // memory))
    return max(0, min(found))


def _gpu_share(nodes: Sequence[Node], request: ResourceRequest, need: MemoryNeed) -> float:
    """One trial per GPU; several if that was requested, or if memory and CPUs were measured to allow it."""
    gpus = sum(node.gpus for node in nodes)
    if request.concurrent is not None:
        on_each = max(1, math.ceil(request.concurrent / gpus))
    elif not need.gpu_memory or not all(node.gpu_memory for node in nodes):
        on_each = 1
    else:
        fits = min(int(node.gpu_memory * MEMORY_SHARE // need.gpu_memory) for node in nodes)
        cpus = min(int(node.cpus // node.gpus) for node in nodes)
        on_each = max(1, min(fits, cpus, _MOST_ON_A_GPU))
    # Ray has four digits of a fraction; a fraction of a GPU is never spread over two GPUs.
    return min(1.0, int(10_000 / on_each) / 10_000)
