"""Measure the memory of the most expensive trial, and allocate resources by it on the machines that Ray lists.

The rules are in `allocation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ray

from pipeline.config.run_config import RunConfig, fingerprint
from preprocess.building.build_frame_cache import ensure_every_frames
from preprocess.files import read_json, write_json
from preprocess.terminal.progress import Progress
from tune.cluster.node_caches import NodeCaches
from tune.cluster.nodes import gpu_memory_of_nodes
from tune.resources.allocation import MemoryNeed, Node, ResourceRequest, TrialResources, plan_resources
from tune.resources.trial_memory import measure_extents, measure_need, most_expensive


def nodes_of_ray(gpu_memory: Mapping[str, float] | None = None) -> list[Node]:
    """The machines of the cluster, as Ray lists them.

    Args:
        gpu_memory: Memory of one GPU of each machine in bytes, by Ray's id of the machine; Ray does not know it.
    """
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            has, of_gpu = node["Resources"], (gpu_memory or {}).get(node["NodeID"], 0.0)
            found.append(Node(int(has.get("CPU", 0)), float(has.get("GPU", 0)), float(has.get("memory", 0)), of_gpu))
    return found


class MeasuredNeeds:
    """The memory of trials, measured on the first request and kept in the search's memory.json."""

    def __init__(self, folder: Path, cache: Path, caches: NodeCaches, progress: Progress | None = None) -> None:
        self._path, self._cache, self._caches, self._progress = folder / "memory.json", cache, caches, progress

    def of_most_expensive(self, configs: Sequence[RunConfig], *, gpu: bool) -> MemoryNeed:
        """The memory of the most expensive trial, measured now or by an earlier session."""
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
    note: Callable[[str], None],
) -> TrialResources:
    """Plan the resources of each trial, by the measured memory of the most expensive one if several may run at once.

    Args:
        configs: At least one trial; all that are known, and representatives of those to come.
        count: Number of trials to run.
        request: The user's request.
        measured: Measures the memory of trials.
        note: Prints a line that the user should know.

    Raises:
        ConfigError: As `plan_resources`.
        ClusterError: If a machine of the cluster does not answer.
    """
    nodes = nodes_of_ray()
    resources = plan_resources(configs[0], count, nodes, request)
    # The memory of the GPUs is not known yet, so each was planned for a single trial.
    crowded = resources.device == "cuda" and (request.gpus, request.concurrent) == (None, None)
    if count == 1 or (resources.trials == 1 and not crowded):
        return resources
    if crowded:
        nodes = nodes_of_ray(gpu_memory_of_nodes())
    need = measured.of_most_expensive(configs, gpu=resources.device == "cuda")
    if not need.fits:
        note("The most expensive trial does not fit in memory; running one trial per machine.")
    return plan_resources(configs[0], count, nodes, request, need)
