"""Where T varies, padded steps change nothing: loss, prediction and rates are those of each sample by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_layout import random_events, tiny_layout
from tiny_run import TINY

from pipeline.config.run_config import LossConfig
from pipeline.data.loader import FrameLoader
from pipeline.data.padding import step_mask
from pipeline.data.run_data import RunData, open_data
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.losses import predict, spiking_loss, sum_logits
from pipeline.networks import SpikeCounter, build_network, reset_network
from pipeline.training.train_run import train_run
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store

CONFIG = replace(TINY, binning=Binning(split_by="duration", duration_us=10_000))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 samples of 2 to 8 frames."""
    folder = tmp_path_factory.mktemp("lengths")
    events = [random_events(i, 300, height=16, width=16, span_us=20_000 + 15_000 * (i % 5)) for i in range(60)]
    layout = tiny_layout(folder / "src", events)
    groups = [replace(s, samples=tuple(replace(x, group=x.name) for x in s.samples)) for s in layout.recordings]
    build_event_store(replace(layout, recordings=tuple(groups)), folder / "cache")
    return folder / "cache"


@pytest.fixture(scope="module")
def data(cache: Path) -> RunData:
    return open_data(CONFIG, cache)


def network_of(data: RunData) -> torch.nn.Module:
    network = build_network(
        CONFIG.network, CONFIG.neuron, channels=2, classes=3, size=(16, 16), timesteps=data.frames.timesteps, seed=1
    )
    # Layers that fire and logits that move without events, so that padding would show.
    generator = torch.Generator().manual_seed(5)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data += torch.rand(parameter.shape, generator=generator)
    return network.eval()


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(0.3, "one-hot", 0.1), LossConfig(0.0)], ids=str)
def test_loss_and_prediction_are_the_mean_and_choice_of_samples_by_themselves(loss: LossConfig):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 5, 4, generator=generator)
    labels = torch.tensor([0, 3, 1, 1, 2])
    lengths = torch.tensor([6, 1, 3, 5, 2])
    mask = step_mask(lengths, 6)
    alone = [spiking_loss(logits[:n, b : b + 1], labels[b : b + 1], loss) for b, n in enumerate(lengths)]
    torch.testing.assert_close(spiking_loss(logits, labels, loss, mask), torch.stack(alone).mean())
    expected = [int(logits[:n, b].sum(0).argmax()) for b, n in enumerate(lengths)]
    assert predict(logits, mask).tolist() == expected != predict(logits).tolist()


def test_a_mask_of_all_steps_is_no_mask():
    generator = torch.Generator().manual_seed(3)
    logits, labels = torch.randn(6, 5, 4, generator=generator), torch.tensor([0, 3, 1, 1, 2])
    mask = step_mask(torch.full((5,), 6), 6)
    torch.testing.assert_close(
        spiking_loss(logits, labels, LossConfig(), mask), spiking_loss(logits, labels, LossConfig())
    )
    torch.testing.assert_close(sum_logits(logits, mask), sum_logits(logits))


def test_padding_that_is_not_finite_stays_out_of_loss_and_sums():
    logits = torch.zeros(3, 2, 4)
    logits[2, 0] = float("inf")
    mask = step_mask(torch.tensor([2, 3]), 3)
    loss = spiking_loss(logits, torch.tensor([1, 2]), LossConfig(0.0), mask)
    assert torch.isfinite(loss) and torch.isfinite(sum_logits(logits, mask)).all()


def test_padded_batches_evaluate_as_samples_by_themselves(data: RunData):
    network = network_of(data)
    indices = data.splits.train[:12]
    assert len(set(data.frames.lengths[indices].tolist())) > 2
    found = evaluate(network, FrameLoader(data.frames, indices, 5, CONFIG.input, torch.device("cpu")), CONFIG.loss)
    losses, logits = [], []
    spikes: dict[str, float] = {}
    steps = 0
    for i in indices:
        length = int(data.frames.lengths[i])
        frames = torch.from_numpy(data.frames.read(int(i))[:length].astype(np.float32))[:, None]
        with torch.no_grad(), SpikeCounter(network) as counter:
            out = network(frames)
        reset_network(network)
        losses.append(float(spiking_loss(out, torch.from_numpy(data.frames.samples.label[[i]]), CONFIG.loss)))
        logits.append(out.sum(0)[0].numpy())
        for name, rate in counter.rates().items():
            spikes[name] = spikes.get(name, 0.0) + rate * length
        steps += length
    np.testing.assert_allclose(found.logits, np.stack(logits), rtol=1e-4, atol=1e-5)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.firing_rates == pytest.approx({name: count / steps for name, count in spikes.items()}, rel=1e-3)
    assert found.firing_rate > 0


def test_a_run_of_different_lengths_trains_and_says_how_many_steps_it_took(cache: Path, data: RunData, tmp_path: Path):
    result = train_run(replace(CONFIG, grad_steps=3), tmp_path / "run", cache)
    assert result["timesteps"] == data.frames.timesteps == 8
    assert 0 < result["firing_rate"] < 1 and np.isfinite(result["test_loss"])
