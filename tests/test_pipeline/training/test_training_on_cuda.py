"""What runs on a GPU alone: mixed precision that trains and resumes, several GPUs, the kernels' benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patience import PATIENCE_S
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import override
from pipeline.runs.checkpoint import load_checkpoint
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.files import read_lines

REPOSITORY = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("cuda"))


class Stop(Exception):
    pass


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_precision_trains_and_resumes(cache: Path, tmp_path: Path, precision: str):
    changes = {"precision": precision, "device": "cuda", "deterministic": True, "optimiser.clip_norm": 1.0}
    config = override(TINY, changes)
    train_run(config, tmp_path / "alone", cache)

    def stop(row: dict, timing: dict) -> None:
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train_run(config, tmp_path / "broken", cache, on_epoch=stop)
    train_run(config, tmp_path / "broken", cache)
    run = open_run(tmp_path / "broken")
    assert run.environment["precision"] == precision and run.environment["device"].startswith("cuda")
    assert run.timings[-1]["peak_memory_mb"] > 0
    assert read_lines(tmp_path / "alone/metrics.jsonl") == read_lines(tmp_path / "broken/metrics.jsonl")
    alone, broken = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("alone", "broken"))
    assert alone.scaler == broken.scaler and (precision == "bf16") == (not alone.scaler)
    assert all(torch.equal(value, broken.network[name]) for name, value in alone.network.items())


def test_precision_of_auto_is_half_and_neurons_keep_float32_states(cache: Path, tmp_path: Path):
    train_run(override(TINY, {"device": "cuda"}), tmp_path / "run", cache)
    assert open_run(tmp_path / "run").environment["precision"] in ("bf16", "fp16")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_torchrun_trains_on_two_gpus(cache: Path, tmp_path: Path):
    words = ["--nproc-per-node=2", "-m", "pipeline", "train", "n-mnist-small", "--dataset.name", "tiny"]
    words += ["--cache", str(cache), "--out", str(tmp_path / "run"), "--schedule.epochs", "1", "--batch-size", "8"]
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", *words],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    assert open_run(tmp_path / "run").environment["processes"] == 2


def test_the_kernels_benchmark_runs_and_its_results_are_equal():
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.neurons_gpu", "--repeats", "1", "--elements", "10000"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
