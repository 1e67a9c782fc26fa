"""Two processes that train together compute what one does, and leave one run folder."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import PATIENCE_S
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import override, to_dict
from pipeline.data.loader import FrameLoader
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.finished_run import evaluate_test, load_selected, open_run_data
from pipeline.evaluation.result_contents import describe_test
from pipeline.runs.run_folder import Run, open_run
from pipeline.runtime.distributed import Group, group_from_env, local_device, share_of
from preprocess.errors import ConfigError
from preprocess.files import read_lines

# torchrun's own processes, too: it starts them by sys.executable.
pytestmark = pytest.mark.preloaded

TESTS = Path(__file__).resolve().parent.parent.parent

# First evaluations, from running statistics that differ by process. Then one step with batch norm in evaluation mode:
# the gradients that each process holds afterwards. It ends by an exception whose traceback, like the variables, still
# refers to the wrapped network.
STEP = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
import torch
from tiny_run import TINY
from pipeline.cost.operations import count_run_operations
from pipeline.data.loader import Batch, FrameLoader
from pipeline.data.run_data import open_data
from pipeline.evaluation.evaluate import evaluate
from pipeline.runtime.distributed import joined, group_from_env
from preprocess.binning.binning_config import Binning
from pipeline.training.learner import Learner
from pipeline.networks import SpikeCounter, build_network

torch.set_num_threads(1)
group, cpu = group_from_env(), torch.device("cpu")
network = build_network(TINY.network, TINY.neuron, channels=2, classes=3, size=(16, 16), timesteps=3, seed=1)
for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.running_var.fill_(0.05)
network.eval()
frames = torch.randint(0, 5, (3, 8, 2, 16, 16), generator=torch.Generator().manual_seed(0)).float()
labels = torch.arange(8) % 3
name = f"{group.size}-{group.rank}"

def evaluations():
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.fill_(group.rank)
    group.share_state(network)
    operations = count_run_operations(TINY, network, (16, 16), 3, cpu)
    # Of 99.5 ms on average, so that samples have 3 or 4 frames.
    varying = Binning(split_by="duration", duration_us=33_170)
    for case, binning, samples, counted_batches in (
        ("uneven shares", TINY.binning, 36, None),
        ("a few counted batches", TINY.binning, 36, 2),
        ("fewer batches than processes", TINY.binning, 5, 2),
        ("varying T", varying, 36, None),
    ):
        data = open_data(replace(TINY, binning=binning), Path(sys.argv[2]))
        indices = data.splits.test[:samples]
        loader = FrameLoader(data.frames, indices, 8, TINY.input, cpu, group=group)
        yield case, sum(map(len, loader._plan(0))), evaluate(network, loader, TINY.loss, operations, counted_batches)

def step():
    with joined(group, cpu):
        torch.save(list(evaluations()), f"{sys.argv[1]}/evaluations-{name}.pt")
        learner = Learner(TINY, network, cpu, group)
        mine = slice(group.rank, None, group.size)
        with SpikeCounter(network) as counter:
            loss, _ = learner.loss(Batch(frames[:, mine], labels[mine]), counter)
            loss.backward()
        torch.save([p.grad for p in network.parameters()], f"{sys.argv[1]}/gradients-{name}.pt")
        raise ValueError("stopped")

try:
    step()
except ValueError as error:
    stopped = error
threads = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")]
Path(sys.argv[1], f"threads-{name}.json").write_text(json.dumps(threads))
"""


def torchrun(processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), "OMP_NUM_THREADS": "1"}
    # Any free port of this machine alone, so that tests side by side do not meet.
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run([*start, *words], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


# Both processes train; what the first has written after two epochs is kept as `cut`, as if they had ended there.
TRAINER = """
import json, shutil, sys
from pathlib import Path
from pipeline.config.run_config import from_dict
from pipeline.runtime.distributed import group_from_env
from pipeline.training.train_run import train_run

folder = Path(sys.argv[1])

def keep(row, timing):
    if row["epoch"] == 2 and group_from_env().first:
        shutil.copytree(folder / "whole", folder / "cut")

config = from_dict(json.loads((folder / "config.json").read_text()))
train_run(config, folder / "whole", Path(sys.argv[2]), on_epoch=keep)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("distributed"))


@pytest.fixture(scope="module")
def steps(tmp_path_factory, cache: Path) -> Path:
    """What one process left, and what two did."""
    folder = tmp_path_factory.mktemp("steps")
    script = folder / "step.py"
    script.write_text(STEP)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(folder), str(cache)])
        runpy.run_path(str(script))
    torch.set_num_threads(threads)
    ended = torchrun(2, str(script), str(folder), str(cache))
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.slow
def test_two_processes_average_to_the_gradients_of_the_joint_batch(steps: Path):
    joint, first, second = (torch.load(steps / f"gradients-{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert any(float(grad.abs().max()) > 1e-3 for grad in joint)
    for whole, a, b in zip(joint, first, second, strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a, whole, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_processes_that_share_an_evaluation_each_get_the_result_of_one_process(steps: Path):
    alone, first, second = (
        {case: (samples, found) for case, samples, found in torch.load(steps / file, weights_only=False)}
        for file in ("evaluations-1-0.pt", "evaluations-2-0.pt", "evaluations-2-1.pt")
    )
    shares = {case: (first[case][0], second[case][0]) for case in alone}
    assert shares.pop("fewer batches than processes") == (0, 5) and set(shares.values()) == {(16, 20)}
    for case, (_, expected) in alone.items():
        assert expected.firing_rate > 0 and expected.synapses.effective_macs > 0
        for _, found in (first[case], second[case]):
            for field in dataclasses.fields(expected):
                a, b = getattr(found, field.name), getattr(expected, field.name)
                assert np.array_equal(a, b) if isinstance(b, np.ndarray) else a == b, (case, field.name)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed where Linux lists them")
def test_no_thread_of_the_process_group_outlives_it(steps: Path):
    # One that does may want the GIL while the interpreter shuts down, which aborts the process.
    for rank in (0, 1):
        threads = json.loads((steps / f"threads-2-{rank}.json").read_text())
        assert not [name for name in threads if "gloo" in name], threads


@pytest.mark.long
@pytest.mark.slow
def test_torchrun_trains_one_run_and_resumes_it_bit_for_bit(cache: Path, tmp_path: Path):
    config = override(TINY, {"network.dropout": 0.2, "optimiser.ema_decay": 0.5})
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    (tmp_path / "trainer.py").write_text(TRAINER)
    whole = torchrun(2, str(tmp_path / "trainer.py"), str(tmp_path), str(cache))
    assert whole.returncode == 0, whole.stderr
    run = open_run(tmp_path / "whole")
    _check_evaluations(run, cache)
    assert run.result is not None and len(run.metrics) == 3 and run.environment["processes"] == 2
    assert len(read_lines(tmp_path / "cut/metrics.jsonl")) == 2 and not (tmp_path / "cut/result.json").exists()
    resumed = torchrun(2, "-m", "pipeline", "train", "--resume", str(tmp_path / "cut"))
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("test accuracy") == 1
    assert read_lines(tmp_path / "whole/metrics.jsonl") == read_lines(tmp_path / "cut/metrics.jsonl")
    weights = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"] for name in ("whole", "cut")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def _check_evaluations(run: Run, cache: Path) -> None:
    """What both processes evaluated together is what one finds with the weights that the first one wrote."""
    data = open_run_data(run, run.config, cache)
    cpu = torch.device("cpu")
    network, epoch = load_selected(run, data, cpu)
    tested, result = evaluate_test(run, network, data, cpu), run.result
    assert result is not None and {name: result[name] for name in describe_test(tested)} == describe_test(tested)
    assert np.array_equal(np.load(run.folder / "predictions.npz")["logits"], tested.logits)
    loader = FrameLoader(data.frames, data.splits.validation, run.config.batch_size, run.config.input, cpu)
    found, row = evaluate(network, loader, run.config.loss), run.metrics[epoch - 1]
    expected = (row["validation_loss"], row["validation_accuracy"], row["firing_rate"])
    assert (found.loss, found.accuracy, found.firing_rate) == expected


@pytest.mark.slow
def test_a_fault_under_torchrun_is_still_one_line(cache: Path, tmp_path: Path):
    config = override(TINY, {"batch_size": 9})
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    words = ["--config", str(tmp_path / "config.json"), "--cache", str(cache), "--out", str(tmp_path / "run")]
    ended = torchrun(2, "-m", "pipeline", "train", *words)
    assert ended.returncode != 0 and not (tmp_path / "run").exists()
    lines = [line for line in ended.stderr.splitlines() if line.startswith("spikeloom: ")]
    expected = "batch_size: expected a multiple of the 2 processes that torchrun started, found 9"
    # torchrun ends the other process when the first has failed, at times before that one has said it, too.
    ended_by_torchrun = "spikeloom: stopped by SIGTERM; nothing is half-written"
    told = [line for line in lines if line != ended_by_torchrun]
    assert told and all(expected in line for line in told)


def test_shares_are_even_and_every_sample_is_taken_once():
    assert share_of(8, Group(0, 2)) == 4
    with pytest.raises(ConfigError, match="expected a multiple of the 3 processes that torchrun started, found 8"):
        share_of(8, Group(0, 3))
    batch = np.arange(8)
    assert sorted(np.concatenate([batch[rank::2] for rank in (0, 1)])) == list(range(8))


def test_without_torchrun_a_process_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert group_from_env() == Group(0, 1) and local_device("auto") == "auto"
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert group_from_env() == Group(3, 4) and not group_from_env().first
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert local_device("auto") == "cuda:3" and local_device("cpu") == "cpu"
