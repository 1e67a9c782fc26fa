"""The loss is the paper's formula, written down again in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.config.run_config import LossConfig
from pipeline.evaluation.losses import predict, spiking_loss


def plain_loss(logits: np.ndarray, labels: np.ndarray, config: LossConfig) -> float:
    steps, batch, classes = logits.shape
    total = 0.0
    for t in range(steps):
        for b in range(batch):
            o = logits[t, b].astype(np.float64)
            log_shares = o - np.log(np.exp(o).sum())
            target = np.full(classes, config.label_smoothing / classes)
            target[labels[b]] += 1 - config.label_smoothing
            one_hot = np.eye(classes)[labels[b]]
            wanted = one_hot if config.mse_target == "one-hot" else np.ones(classes)
            entropy = -(target * log_shares).sum()
            total += (1 - config.mse_weight) * entropy + config.mse_weight * ((o - wanted) ** 2).mean()
    return total / (steps * batch)


@pytest.mark.parametrize("target", ["constant", "one-hot"])
@pytest.mark.parametrize(("weight", "smoothing"), [(0.0, 0.0), (0.05, 0.0), (0.5, 0.1)])
def test_loss_is_the_papers_formula(target: str, weight: float, smoothing: float):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(4, 5, 3)).astype(np.float32), rng.integers(0, 3, 5)
    config = LossConfig(weight, target, smoothing)
    found = spiking_loss(torch.from_numpy(logits), torch.from_numpy(labels), config)
    assert float(found) == pytest.approx(plain_loss(logits, labels, config), rel=1e-5)


@pytest.mark.parametrize("last_steps", [None, 2])
def test_averaged_over_all_steps_the_loss_of_k_of_them_is_k_over_t_as_large(last_steps: int | None):
    logits = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0])
    by_k, by_t = (LossConfig(last_steps=last_steps, average_over=over) for over in ("k", "T"))  # type: ignore[arg-type]
    k = last_steps or 5
    expected = spiking_loss(logits, labels, by_k) * k
    torch.testing.assert_close(spiking_loss(logits, labels, by_t, timesteps=20), expected / 20)
    torch.testing.assert_close(spiking_loss(logits, labels, by_t), expected / 5)
    torch.testing.assert_close(spiking_loss(logits, labels, by_k, timesteps=20), expected / k)


def test_averaged_over_all_steps_samples_of_different_lengths_keep_their_own():
    logits = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1))
    labels, config = torch.tensor([1, 3]), LossConfig(average_over="T")
    # The first three steps of samples of two and six steps.
    mask = torch.tensor([[True, True], [True, True], [False, True]])
    found = spiking_loss(logits, labels, config, mask, timesteps=torch.tensor([2, 6]))
    short = spiking_loss(logits[:2, :1], labels[:1], LossConfig())
    long = spiking_loss(logits[:, 1:], labels[1:], LossConfig()) * 3 / 6
    torch.testing.assert_close(found, (short + long) / 2)


@pytest.mark.parametrize("target", ["constant", "one-hot"])
@pytest.mark.parametrize("readout", ["per-step", "mean"])
def test_labels_that_are_mixed_are_a_mixture_of_losses(target: str, readout: str):
    """Cross-entropy is linear in its target; so is the squared error, but for the part that all mixtures share."""
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    config = LossConfig(0.3, target, 0.1, readout)  # type: ignore[arg-type]
    first, second, share = torch.tensor([0, 1, 4]), torch.tensor([3, 1, 2]), 0.7
    one_hot = torch.nn.functional.one_hot
    mixed = share * one_hot(first, 5) + (1 - share) * one_hot(second, 5)
    found = spiking_loss(logits, mixed, config)
    expected = share * spiking_loss(logits, first, config) + (1 - share) * spiking_loss(logits, second, config)
    if target == "one-hot":
        # |x - (s a + (1 - s) b)|^2 = s |x - a|^2 + (1 - s) |x - b|^2 - s (1 - s) |a - b|^2, as a mean over classes.
        apart = (one_hot(first, 5) - one_hot(second, 5)).float().square().mean()
        expected = expected - 0.3 * share * (1 - share) * apart
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    # A class with the whole share is its label.
    torch.testing.assert_close(
        spiking_loss(logits, one_hot(first, 5).float(), config), spiking_loss(logits, first, config)
    )


@pytest.mark.parametrize("last_steps", [None, 2])
def test_the_loss_of_the_mean_output_is_that_of_a_network_of_one_step(last_steps: int | None):
    logits = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0, 3, 1])
    config, plain = LossConfig(readout="mean", last_steps=last_steps), LossConfig()
    found = spiking_loss(logits, labels, config, timesteps=9)
    torch.testing.assert_close(found, spiking_loss(logits[-(last_steps or 5) :].mean(0)[None], labels, plain))
    # Padding is in no mean: samples of two and of five steps.
    mask = torch.arange(5)[:, None] < torch.tensor([5, 2, 5])
    short = torch.where(mask[..., None], logits, torch.inf)
    found = spiking_loss(short, labels, LossConfig(readout="mean"), mask)
    means = torch.stack([logits[:, 0].mean(0), logits[:2, 1].mean(0), logits[:, 2].mean(0)])
    torch.testing.assert_close(found, spiking_loss(means[None], labels, plain))


def test_half_precision_logits_are_computed_with_in_float32():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.tensor([0, 1, 3])
    found = spiking_loss(logits, labels, LossConfig())
    assert found.dtype == torch.float32
    assert found == spiking_loss(logits.float(), labels, LossConfig())


def test_prediction_is_the_largest_sum_over_time():
    first = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 2.0, 1.0]])
    second = torch.tensor([[5.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    assert predict(torch.stack([first, second], 1)).tolist() == [1, 0]
