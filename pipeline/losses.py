"""The paper's loss over time steps, and the prediction that goes with it."""

from __future__ import annotations

import torch
from torch.nn import functional

from pipeline.config import LossConfig


def spiking_loss(logits: torch.Tensor, labels: torch.Tensor, config: LossConfig) -> torch.Tensor:
    """(1 - lambda) * mean CE(o_t, y) + lambda * MSE(o_t, target), each the mean over time steps and samples.

    After temporal efficient training (Deng et al., ICLR 2022) as the CLIF authors' code has it: the target is 1 for
    every class, a regulariser, or the one-hot label.

    Args:
        logits: o, shape (T, B, classes); computed with in float32.
        labels: Class numbers, int64, shape (B,).
        config: lambda (`mse_weight`), the target and the label smoothing.

    Returns:
        A scalar, float32.
    """
    steps, batch, classes = logits.shape
    flat = logits.float().reshape(steps * batch, classes)
    repeated = labels.repeat(steps)
    loss = functional.cross_entropy(flat, repeated, label_smoothing=config.label_smoothing)
    if config.mse_weight == 0.0:
        return loss
    if config.mse_target == "one-hot":
        target = functional.one_hot(repeated, classes).float()
    else:
        target = torch.ones_like(flat)
    return (1.0 - config.mse_weight) * loss + config.mse_weight * functional.mse_loss(flat, target)


def predict(logits: torch.Tensor) -> torch.Tensor:
    """Class numbers, int64 (B,), of logits (T, B, classes): the largest sum over time steps."""
    return logits.float().sum(0).argmax(1)
