"""The machines of a Ray cluster: run a function on each of them, and check that their software is the same."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tune.cluster.head_node import ClusterError

_PACKAGES = ("torch", "spikeloom", "numpy", "numba", "spikingjelly", "ray")
_SOURCES = ("preprocess", "pipeline", "tune")
# A working machine starts a worker in a few seconds; a busy one takes longer.
_ANSWER_S = 120.0


@dataclass(frozen=True)
class Answer:
    """The answer of one machine of the cluster.

    Attributes:
        node: Ray's id of the machine.
        name: Its host name and address, for people.
        value: The answer.
    """

    node: str
    name: str
    value: Any


def on_every_node(ask: Callable[..., Any], *arguments: Any) -> list[Answer]:
    """Call a function on every machine of the cluster that is alive; return the answers, this machine's first.

    Raises:
        ClusterError: If a machine does not answer in two minutes, or the call fails there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    own = ray.get_runtime_context().get_node_id()
    nodes = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"] != own)
    remote: Any = ray.remote
    task = remote(num_cpus=0, max_retries=0)(ask)
    asked = []
    for node in nodes:
        affinity = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked.append((node, task.options(scheduling_strategy=affinity).remote(*arguments)))
    answers = []
    for node, reference in asked:
        name = node_name(node)
        try:
            answers.append(Answer(node["NodeID"], name, ray.get(reference, timeout=_ANSWER_S)))
        except ray.exceptions.GetTimeoutError:
            raise ClusterError(
                f"{name}: expected an answer within {_ANSWER_S:.0f} s, found none. Check that Ray is running there."
            ) from None
        except ray.exceptions.RayError as error:
            raise ClusterError(f"{name}: {_reason(error)}. Is the same spikeloom installed there?") from None
    return answers


def actor_here(kind: type[Any], *arguments: Any, concurrency: int = 1) -> Any:
    """An actor of a class on this machine, which reserves none of its CPUs."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote: Any = ray.remote
    return remote(num_cpus=0, max_concurrency=concurrency)(kind).options(scheduling_strategy=here).remote(*arguments)


def node_name(node: dict[str, Any]) -> str:
    """A machine as host name and address, for people."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200].rstrip(".") if lines else type(error).__name__


def describe_software() -> dict[str, str]:
    """The versions of the packages that trials use on this machine, and a hash of spikeloom's sources."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["spikeloom"] = f"{found['spikeloom']}, sources {source_hash()}"
    return found


def gpu_memory_of_nodes() -> dict[str, float]:
    """Free memory of the fullest GPU of each machine in bytes, by Ray's id of the machine; 0 if it is unknown."""
    return {answer.node: answer.value for answer in on_every_node(free_gpu_memory)}


def free_gpu_memory() -> float:
    """Free memory of this machine's fullest GPU in bytes, from nvidia-smi, because Ray hides GPUs from CUDA here."""
    argv = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
        return min(float(line) for line in output.splitlines() if line.strip()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0


@cache
def source_hash() -> str:
    """Eight digits of a hash over every Python file of the three packages."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.submodule_search_locations is not None
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def check_software() -> None:
    """Refuse machines whose software differs from this machine's: their trials would not be comparable.

    Raises:
        ClusterError: With a line for each difference.
    """
    own, *others = on_every_node(describe_software)
    errors = [message for other in others for message in _differences(own, other)]
    if errors:
        raise ClusterError(*errors)


def _differences(own: Answer, other: Answer) -> Iterator[str]:
    for what, here in own.value.items():
        there = other.value.get(what, "not installed")
        if there != here:
            yield f"{other.name}: expected {what} {here} as on {own.name}, found {there}. Install the same on both."
