"""The paper's loss over time steps, and the prediction that goes with it."""

from __future__ import annotations

import torch
from torch.nn import functional

from pipeline.config.run_config import LossConfig


def answer_mask(mask: torch.Tensor | None, logits: torch.Tensor, last_steps: int | None) -> torch.Tensor | None:
    """Which steps count for loss and prediction: of each sample the last so many of its own, or all that it has.

    Args:
        mask: Of `step_mask`, shape (T, B); None where all steps hold frames.
        logits: Shape (T, B, classes); only their shape and device matter.
        last_steps: As `LossConfig.last_steps`; a sample of fewer steps counts all of them.

    Returns:
        bool, shape (T, B), at least one step of every sample; None where all steps count.
    """
    if last_steps is None:
        return mask
    steps, batch = logits.shape[:2]
    t = torch.arange(steps, device=logits.device)[:, None]
    if mask is None:
        return (t >= steps - last_steps).expand(steps, batch)
    return mask & (t >= mask.sum(0) - last_steps)


def spiking_loss(
    logits: torch.Tensor, labels: torch.Tensor, config: LossConfig, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """(1 - lambda) * mean CE(o_t, y) + lambda * MSE(o_t, target), each the mean over time steps and samples.

    After temporal efficient training (Deng et al., ICLR 2022) as the CLIF authors' code has it: the target is 1 for
    every class, a regulariser, or the one-hot label. Where T varies, each sample's mean is over its own steps, so that
    a long sample weighs as much as a short one; with `last_steps`, over the last of them.

    Args:
        logits: o, shape (T, B, classes); computed with in float32.
        labels: Class numbers, int64, shape (B,).
        config: lambda (`mse_weight`), the target, the label smoothing and the steps that count (`last_steps`).
        mask: Of `step_mask`, shape (T, B), at least one step of every sample; None counts all steps.

    Returns:
        A scalar, float32.
    """
    steps, batch, classes = logits.shape
    mask = answer_mask(mask, logits, config.last_steps)
    flat = logits.float().reshape(steps * batch, classes)
    repeated = labels.repeat(steps)
    reduction = "mean" if mask is None else "none"
    loss = functional.cross_entropy(flat, repeated, label_smoothing=config.label_smoothing, reduction=reduction)
    if config.mse_weight != 0.0:
        if config.mse_target == "one-hot":
            target = functional.one_hot(repeated, classes).float()
        else:
            target = torch.ones_like(flat)
        error = functional.mse_loss(flat, target, reduction=reduction)
        error = error if mask is None else error.mean(1)
        loss = (1.0 - config.mse_weight) * loss + config.mse_weight * error
    if mask is None:
        return loss
    kept = torch.where(mask, loss.reshape(steps, batch), 0.0)
    return (kept.sum(0) / mask.sum(0)).mean()


def sum_logits(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Logits (T, B, classes) summed over time steps, those of `answer_mask` alone where given; float32 (B, classes)."""
    logits = logits.float()
    return logits.sum(0) if mask is None else torch.where(mask[..., None], logits, 0.0).sum(0)


def predict(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Class numbers, int64 (B,), of logits (T, B, classes): the largest sum over time steps."""
    return sum_logits(logits, mask).argmax(1)
