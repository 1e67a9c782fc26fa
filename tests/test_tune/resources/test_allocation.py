"""How trials share machines: by CPUs, GPUs and the memory that one was measured to need."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.run_config import RunConfig, override
from preprocess.errors import ConfigError
from tune.resources.allocation import (
    MEMORY_SHARE,
    MemoryNeed,
    Node,
    ResourceRequest,
    TrialResources,
    plan_resources,
    trials_that_fit,
)

GB = 1e9


def trial(**changes: Any) -> RunConfig:
    return override(RunConfig(), changes)


@pytest.mark.parametrize(
    ("nodes", "count", "asked", "expected"),
    [
        # One trial a CPU; fewer trials share all of them.
        ([Node(8)], 20, ResourceRequest(), TrialResources(8, 1, 0.0, "cpu")),
        ([Node(8)], 3, ResourceRequest(), TrialResources(3, 2, 0.0, "cpu")),
        ([Node(8)], 20, ResourceRequest(concurrent=2), TrialResources(2, 4, 0.0, "cpu")),
        ([Node(8)], 20, ResourceRequest(cpus=4), TrialResources(2, 4, 0.0, "cpu")),
        # No more than there are CPUs for.
        ([Node(2)], 20, ResourceRequest(concurrent=5), TrialResources(2, 1, 0.0, "cpu")),
        # One trial a GPU, or several on each; none is spread over two.
        ([Node(8, 2)], 20, ResourceRequest(), TrialResources(2, 4, 1.0, "cuda")),
        ([Node(8, 2)], 20, ResourceRequest(concurrent=4), TrialResources(4, 2, 0.5, "cuda")),
        ([Node(8, 1)], 20, ResourceRequest(concurrent=3), TrialResources(3, 2, 0.3333, "cuda")),
        ([Node(8, 2)], 20, ResourceRequest(gpus=0.25), TrialResources(8, 1, 0.25, "cuda")),
        ([Node(8, 2)], 20, ResourceRequest(gpus=0.7), TrialResources(2, 4, 0.7, "cuda")),
        ([Node(8, 4)], 20, ResourceRequest(gpus=2), TrialResources(2, 4, 2, "cuda")),
        ([Node(8, 2)], 20, ResourceRequest(gpus=0), TrialResources(8, 1, 0.0, "cpu")),
        ([Node(8, 2)], 1, ResourceRequest(), TrialResources(1, 8, 1.0, "cuda")),
        # A trial fits on the smallest machine of a cluster; one without CPUs has none.
        ([Node(4), Node(16)], 2, ResourceRequest(), TrialResources(2, 4, 0.0, "cpu")),
        ([Node(4), Node(0)], 9, ResourceRequest(), TrialResources(4, 1, 0.0, "cpu")),
        # Trials on GPUs leave machines without them alone.
        ([Node(32), Node(8, 1)], 9, ResourceRequest(), TrialResources(1, 8, 1.0, "cuda")),
    ],
)
def test_trials_get_equal_shares(nodes: list[Node], count: int, asked: ResourceRequest, expected: TrialResources):
    assert plan_resources(trial(), count, nodes, asked) == expected


def test_threads_and_device_that_the_configuration_names_are_kept():
    nodes = [Node(8, 1)]
    assert plan_resources(trial(device="cpu"), 20, nodes) == TrialResources(8, 1, 0.0, "cpu")
    assert plan_resources(trial(device="cpu", threads=3), 20, nodes) == TrialResources(2, 3, 0.0, "cpu")
    # More threads than CPUs would wait for ever.
    assert plan_resources(trial(device="cpu", threads=64), 20, nodes) == TrialResources(1, 8, 0.0, "cpu")


def test_as_many_run_at_once_as_the_memory_holds():
    need = MemoryNeed(memory=3 * GB)
    assert plan_resources(trial(), 20, [Node(8, memory=10 * GB)], need=need) == TrialResources(
        3, 2, 0.0, "cpu", 3 * 10**9
    )
    # On each machine by itself: 10 GB and 1 GB are no 11 GB.
    nodes = [Node(8, memory=10 * GB), Node(8, memory=1 * GB)]
    assert plan_resources(trial(), 20, nodes, need=need).trials == 3


def test_several_share_a_gpu_that_holds_them():
    need = MemoryNeed(1 * GB, gpu_memory=5 * GB)
    assert plan_resources(trial(), 20, [Node(8, 1, 64 * GB, 24 * GB)], need=need).gpu == 0.25
    # Two CPUs are for two trials; an unknown GPU is for one.
    assert plan_resources(trial(), 20, [Node(2, 1, 64 * GB, 24 * GB)], need=need).gpu == 0.5
    assert plan_resources(trial(), 20, [Node(8, 1, 64 * GB)], need=need).gpu == 1.0


def test_trial_that_no_machine_holds_is_one_line():
    told = r"expected at least 30\.0 GB of memory, .* found at most 18\.0 GB for trials on a machine, 0\.9 of 20\.0 GB"
    with pytest.raises(ConfigError, match=told):
        plan_resources(trial(), 4, [Node(8, memory=20 * GB)], need=MemoryNeed(30 * GB))


def test_trials_that_do_not_fit_run_one_at_a_time_on_each_machine():
    nodes = [Node(8, memory=10 * GB), Node(8, memory=11 * GB)]
    resources = plan_resources(trial(), 20, nodes, need=MemoryNeed(fits=False))
    assert (resources.trials, resources.threads) == (2, 8)
    # As machines are counted anew later.
    assert [trials_that_fit(node, resources.threads, resources.gpu, resources.memory) for node in nodes] == [1, 1]
    assert plan_resources(trial(), 20, nodes, ResourceRequest(concurrent=4), MemoryNeed(fits=False)).trials == 2
    assert plan_resources(trial(), 20, [Node(8, 2, 10 * GB, 8 * GB)], need=MemoryNeed(fits=False)).gpu == 1.0


def test_gpu_that_is_not_there_is_one_line():
    with pytest.raises(ConfigError, match=r"device: expected a GPU for 'cuda:0', found none in Ray"):
        plan_resources(trial(device="cuda:0"), 2, [Node(8)])
    with pytest.raises(ConfigError, match=r"expected a GPU for --gpus-per-trial 0\.5, found none"):
        plan_resources(trial(), 2, [Node(8)], ResourceRequest(gpus=0.5))


def test_cluster_without_cpus_is_one_line():
    with pytest.raises(ConfigError, match="expected a machine that offers CPUs for trials, found none"):
        plan_resources(trial(), 2, [Node(0)])


def test_machines_with_fewer_cpus_than_asked_for_are_left_out():
    assert plan_resources(trial(), 9, [Node(4), Node(16)], ResourceRequest(cpus=8)) == TrialResources(2, 8, 0.0, "cpu")
    with pytest.raises(ConfigError, match=r"--cpus-per-trial 8: expected .*, found at most 4\. Lower it"):
        plan_resources(trial(), 9, [Node(4), Node(2)], ResourceRequest(cpus=8))


def test_shares_that_make_no_sense_are_told_together():
    assert ResourceRequest(0, -1, 1.5).errors() == [
        "--concurrent: expected at least 1, found 0",
        "--cpus-per-trial: expected at least 1, found -1",
        "--gpus-per-trial: expected a fraction from 0 to 1 or a whole number, found 1.5",
    ]


@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(0, 8), st.floats(4e9, 1e12)), min_size=1, max_size=5),
    st.integers(1, 100),
    st.none() | st.integers(1, 50),
    st.floats(1e8, 4e9 * MEMORY_SHARE),
)
def test_no_machine_is_ever_overfull(
    machines: list[tuple[int, int, float]], count: int, concurrent: int | None, memory: float
):
    nodes = [Node(cpus, min(gpus, cpus), held) for cpus, gpus, held in machines]
    resources = plan_resources(trial(), count, nodes, ResourceRequest(concurrent), MemoryNeed(memory))
    assert 1 <= resources.trials <= min(count, concurrent or count)
    used = [node for node in nodes if node.gpus] if resources.device == "cuda" else nodes
    # With the threads that were settled in the end, trials may wait for a machine, but never crowd one.
    assert resources.threads <= min(node.cpus for node in used)
    for node in used:
        at_once = trials_that_fit(node, resources.threads, resources.gpu, resources.memory)
        assert at_once * resources.threads <= node.cpus and at_once * resources.gpu <= node.gpus + 1e-9
        assert at_once * resources.memory <= node.memory
