"""How many trials run at once where a GPU is there, by a Ray that says so and an nvidia-smi that stands in for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.run_config import RunConfig, override
from tune.cluster.nodes import free_gpu_memory
from tune.resources import measure_and_allocate
from tune.resources.allocation import MemoryNeed, ResourceRequest, TrialResources
from tune.resources.measure_and_allocate import MeasuredNeeds, decide_resources
from tune.resources.trial_memory import Extent

GIB = 2**30
CONFIGS = [override(RunConfig(), {"binning.timesteps": timesteps}) for timesteps in (4, 8)]


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """A machine of 8 CPUs with a GPU of 24 GiB, on which a trial takes 5 GiB; the list of what was measured."""
    measured: list[RunConfig] = []

    def measure(config: RunConfig, caches: Any, *, gpu: bool) -> MemoryNeed:
        measured.append(config)
        return MemoryNeed(1 * GIB, 5 * GIB * gpu)

    node = {"Alive": True, "NodeID": "one", "Resources": {"CPU": 8.0, "GPU": 1.0, "memory": 64.0 * GIB}}
    monkeypatch.setattr(measure_and_allocate.ray, "nodes", lambda: [node])
    monkeypatch.setattr(measure_and_allocate, "gpu_memory_of_nodes", lambda: {"one": 24.0 * GIB})
    monkeypatch.setattr(measure_and_allocate, "measure_need", measure)
    monkeypatch.setattr(
        measure_and_allocate, "measure_extents", lambda names, cache: {name: Extent(128, 128, 6, 7) for name in names}
    )
    monkeypatch.setattr(measure_and_allocate, "ensure_every_frames", lambda *words, **more: None)
    return measured


def share_of(folder: Path, count: int = 20, **asked: Any) -> TrialResources:
    needs = MeasuredNeeds(folder, folder, None)  # type: ignore[arg-type]
    return decide_resources(CONFIGS, count, ResourceRequest(**asked), needs, lambda told: None)


def test_as_many_trials_share_a_gpu_as_its_free_memory_was_measured_to_hold(one_gpu: list[RunConfig], tmp_path: Path):
    assert share_of(tmp_path) == TrialResources(4, 2, 0.25, "cuda", 1 * GIB)
    assert [config.binning.timesteps for config in one_gpu] == [8]
    # Another session knows it.
    assert share_of(tmp_path).gpu == 0.25
    assert len(one_gpu) == 1


def test_nothing_is_measured_for_a_single_trial_or_where_the_user_said_how_many(
    one_gpu: list[RunConfig], tmp_path: Path
):
    assert share_of(tmp_path, count=1).gpu == 1.0
    assert share_of(tmp_path, gpus=1.0).trials == 1
    assert share_of(tmp_path, concurrent=1).trials == 1
    assert one_gpu == []


def test_a_gpu_whose_memory_nobody_tells_has_one_trial(
    one_gpu: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(measure_and_allocate, "gpu_memory_of_nodes", dict)
    assert share_of(tmp_path) == TrialResources(1, 8, 1.0, "cuda", 1 * GIB)


def test_the_fullest_gpu_of_a_machine_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$1" = --query-gpu=memory.free ] && printf "24000\\n8000\\n"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert free_gpu_memory() == 8000 * 2**20
    tool.write_text('#!/bin/sh\necho "[Not Supported]"\n')
    assert free_gpu_memory() == 0
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert free_gpu_memory() == 0
