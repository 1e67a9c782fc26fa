"""Optimiser steps on a CUDA device without one: nothing in them meets the CPU or waits for the device.

`tests/fake_cuda.py` says what fails there, and walks the graph of the loss in place of the autograd engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fake_cuda
import pytest
import torch
from fake_cuda import CUDA, CopyError, Strict
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode, unset_fake_temporarily

from pipeline.config.run_config import RunConfig, override
from pipeline.data.loader import Batch
from pipeline.evaluation.losses import answer_mask, predict
from pipeline.networks import SpikeCounter, build_network
from pipeline.runtime.distributed import Group
from pipeline.training import learner as learner_module
from pipeline.training.learner import Learner
from pipeline.training.weight_averaging import moving_average

pytest.importorskip("triton", reason="Triton comes with torch for CUDA only")

STEPS, BATCH, CLASSES, SIZE = 3, 4, 3, (16, 16)
SMALL = RunConfig(batch_size=BATCH, device="cuda")
VGG = {"network.name": "spiking-vgg-small", "network.width": 1 / 16, "network.head": "gap", "network.dropout": 0.1}
CASES: dict[str, dict[str, Any]] = {
    "sgd-fp32": VGG | {"precision": "fp32", "neuron.name": "lif"},
    "adamw-bf16": VGG | {"precision": "bf16", "neuron.name": "clif", "optimiser.name": "adamw"},
    "lamb-fp16": VGG | {"precision": "fp16", "neuron.name": "clif", "optimiser.name": "lamb"},
    "micro-batches": VGG | {"precision": "fp16", "neuron.name": "plif", "micro_batch": 2},
    "last-steps": VGG | {"precision": "bf16", "neuron.name": "psn", "loss.last_steps": 1},
    "recurrent": {"network.name": "rsnn", "network.width": 1 / 16, "precision": "bf16", "neuron.name": "clif"},
    "windows": VGG | {"grad_steps": 2, "precision": "fp32", "neuron.name": "clif", "neuron.temporal_window": 1},
    "sliding": VGG
    | {"precision": "fp32", "neuron.name": "lif", "neuron.temporal_window": 0, "neuron.truncation": "sliding"},
    "one-hot": VGG | {"precision": "fp16", "neuron.name": "lif", "loss.mse_target": "one-hot", "loss.mse_weight": 0.1},
}
ALL = {"optimiser.clip_norm": 1.0, "optimiser.ema_decay": 0.9}


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    def step_always(_scaler: object, optimiser: torch.optim.Optimizer, _state: object) -> None:
        optimiser.step()

    # The one value that a step reads: in fp16, torch's gradient scaler asks whether gradients overflowed.
    monkeypatch.setattr(torch.amp.GradScaler, "_maybe_opt_step", step_always)
    monkeypatch.setattr(torch.Tensor, "backward", fake_cuda.backward)
    with fake_cuda.fake_cuda() as mode:
        yield mode


def learner_of(mode: FakeTensorMode, changes: dict[str, Any]) -> Learner:
    config = override(SMALL, ALL | changes)
    form = {"channels": 2, "classes": CLASSES, "size": SIZE, "timesteps": STEPS, "seed": 0}
    with unset_fake_temporarily():
        network = build_network(config.network, config.neuron, **form)  # type: ignore[arg-type]
        assert config.optimiser.ema_decay is not None
        average = moving_average(network, config.optimiser.ema_decay)
    fake_cuda.move(network, mode)
    # Fake tensors cannot be copied with the module that they belong to, as the learner does.
    fake_cuda.move(average.module, mode)
    average.n_averaged = torch.tensor(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner_module, "moving_average", lambda *_: average)
        return Learner(config, network, CUDA, Group())


def batch_of(*, lengths: bool = False, shares: bool = False) -> Batch:
    return Batch(
        torch.empty(STEPS, BATCH, 2, *SIZE, device=CUDA),
        torch.empty(BATCH, dtype=torch.int64, device=CUDA),
        torch.empty(BATCH, dtype=torch.int64, device=CUDA) if lengths else None,
        torch.empty(BATCH, CLASSES, device=CUDA) if shares else None,
    )


def step(learner: Learner, batch: Batch) -> torch.Tensor:
    """What `pipeline.training.train_run` does with a batch; returns the number of correct predictions."""
    with Strict(), SpikeCounter(learner.network) as counter:
        loss, logits = learner.loss(batch, counter)
        learner.update(loss)
        counted = answer_mask(batch.mask, logits, learner.config.loss.last_steps)
        assert loss.dtype == torch.float32 and loss.device == logits.device == CUDA
        return (predict(logits, counted) == batch.labels).sum()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_steps_neither_wait_for_the_device_nor_meet_the_cpu(device: FakeTensorMode, case: str):
    learner = learner_of(device, CASES[case])
    batch = batch_of(lengths=case in ("sgd-fp32", "micro-batches"), shares=case == "adamw-bf16")
    for _ in range(2):
        assert step(learner, batch).device == CUDA
    for name, parameter in learner.network.named_parameters():
        assert parameter.grad is not None and parameter.grad.device == CUDA, name
        assert parameter.dtype == parameter.grad.dtype == torch.float32, name
    averages = [*learner.evaluated.parameters(), *learner.evaluated.buffers()]
    assert averages and all(tensor.device == CUDA for tensor in averages)


@pytest.mark.parametrize(
    ("defect", "error"),
    [
        ("learning rate by a loss that is read", DataDependentOutputException),
        ("loss kept on the CPU", CopyError),
        ("weights on the CPU", RuntimeError),
    ],
)
def test_a_planted_defect_fails(
    device: FakeTensorMode, monkeypatch: pytest.MonkeyPatch, defect: str, error: type[Exception]
):
    learner = learner_of(device, CASES["recurrent"])
    given = learner._scaler.scale

    def scale(loss: torch.Tensor) -> torch.Tensor:
        if defect == "learning rate by a loss that is read":
            learner.set_learning_rate(float(loss))
        elif defect == "loss kept on the CPU":
            loss.detach().cpu()
        else:
            loss = loss * torch.ones(BATCH)
        return given(loss)

    monkeypatch.setattr(learner._scaler, "scale", scale)
    with pytest.raises(error):
        step(learner, batch_of())
