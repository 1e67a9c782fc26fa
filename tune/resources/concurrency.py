"""How many trials run at once: by what one was measured to take, and by the machines that are there just now."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ray

from pipeline.config.run_config import RunConfig, fingerprint
from preprocess.building.build_frame_cache import ensure_every_frames
from preprocess.files import read_json, write_json
from preprocess.terminal.progress import Progress
from tune.cluster.node_caches import NodeCaches
from tune.cluster.nodes import gpu_memory_of_nodes
from tune.resources.allocation import MemoryNeed, Node, ResourceRequest, TrialResources, plan_resources, trials_that_fit
from tune.resources.trial_memory import measure_extents, measure_need, most_expensive

# How often it is looked whether machines came or went.
_NODES_S = 10.0


def nodes_of_ray(gpu_memory: Mapping[str, float] | None = None) -> list[Node]:
    """The machines of the cluster, as Ray knows them.

    Args:
        gpu_memory: Bytes of one GPU of each machine by Ray's id of the machine, of which Ray knows nothing.
    """
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            has, of_gpu = node["Resources"], (gpu_memory or {}).get(node["NodeID"], 0.0)
            found.append(Node(int(has.get("CPU", 0)), float(has.get("GPU", 0)), float(has.get("memory", 0)), of_gpu))
    return found


class MeasuredNeeds:
    """What trials take, measured when it is asked for the first time; kept in the search's memory.json."""

    def __init__(self, folder: Path, cache: Path, caches: NodeCaches, progress: Progress | None = None) -> None:
        self._path, self._cache, self._caches, self._progress = folder / "memory.json", cache, caches, progress

    def of_most_expensive(self, configs: Sequence[RunConfig], *, gpu: bool) -> MemoryNeed:
        """As measured, now or by an earlier session, of the trial that takes the most memory."""
        extents = measure_extents((config.dataset.name for config in configs), self._cache)
        config = most_expensive(configs, extents)
        key = f"{fingerprint(config)} on {'cuda' if gpu else 'cpu'}"
        known = read_json(self._path) or {}
        if key not in known:
            if config.input.source == "cache":
                ensure_every_frames(self._cache, config.dataset.name, [config.binning.plain()], progress=self._progress)
            need = measure_need(config, self._caches, gpu=gpu)
            if not need.memory:
                return need
            known |= {key: {"memory": need.memory, "gpu_memory": need.gpu_memory}}
            write_json(self._path, known)
        return MemoryNeed(**known[key])


def decide_resources(
    configs: Sequence[RunConfig],
    count: int,
    request: ResourceRequest,
    measured: MeasuredNeeds,
    tell: Callable[[str], None],
) -> TrialResources:
    """Cut the cluster into shares, by what the costliest trial was measured to take where several may run.

    Args:
        configs: One trial at least; all that is known of those to come.
        count: How many trials are to run.
        asked: What the user wants.
        measured: What trials take.
        tell: Says what the user would not expect.

    Raises:
        ConfigError: As `plan_resources`.
        ClusterError: If a machine of the cluster does not answer.
    """
    nodes = nodes_of_ray()
    resources = plan_resources(configs[0], count, nodes, request)
    # Of a GPU's memory nothing is known yet, so that each was planned for a single trial.
    crowded = resources.device == "cuda" and (request.gpus, request.concurrent) == (None, None)
    if count == 1 or (resources.trials == 1 and not crowded):
        return resources
    if crowded:
        nodes = nodes_of_ray(gpu_memory_of_nodes())
    need = measured.of_most_expensive(configs, gpu=resources.device == "cuda")
    if not need.fits:
        tell("memory does not hold the costliest trial as a whole: one at a time runs on each machine")
    return plan_resources(configs[0], count, nodes, request, need)


class ConcurrencyLimit:
    """How many trials run at once, as machines come and go."""

    def __init__(self) -> None:
        self._count, self._resources, self._most, self._next = 1, TrialResources(1, 1, 0.0, "cpu"), 1, 0.0

    def open(self, resources: TrialResources, most: int | None) -> None:
        """From now on as many as the cluster has room for, at most so many if given."""
        self._count, self._resources, self._most = resources.trials, resources, most or sys.maxsize
        self._next = time.monotonic() + _NODES_S

    def __call__(self) -> int:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _NODES_S
            resources = self._resources
            room = sum(
                trials_that_fit(node, resources.threads, resources.gpu, resources.memory)
                for node in nodes_of_ray()
                if node.cpus
            )
            self._count = max(1, min(room, self._most))
        return self._count
