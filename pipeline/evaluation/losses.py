"""The paper's loss over time steps, and the prediction from the logits of all steps."""

from __future__ import annotations

import torch
from torch.nn import functional

from pipeline.config.run_config import LossConfig


def answer_mask(mask: torch.Tensor | None, logits: torch.Tensor, last_steps: int | None) -> torch.Tensor | None:
    """Return the mask of the time steps that count for loss and prediction.

    Args:
        mask: As returned by `step_mask`, shape (T, B); None if there is no padding.
        logits: Shape (T, B, classes); only their shape and device are used.
        last_steps: As `LossConfig.last_steps`; all steps of a shorter sample count.

    Returns:
        bool, shape (T, B), with at least one step of every sample; None if all steps count.
    """
    if last_steps is None:
        return mask
    steps, batch = logits.shape[:2]
    t = torch.arange(steps, device=logits.device)[:, None]
    if mask is None:
        return (t >= steps - last_steps).expand(steps, batch)
    return mask & (t >= mask.sum(0) - last_steps)


def spiking_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    config: LossConfig,
    mask: torch.Tensor | None = None,
    *,
    timesteps: int | torch.Tensor | None = None,
) -> torch.Tensor:
    """Return (1 - lambda) * mean CE(o_t, y) + lambda * MSE(o_t, target), each the mean over time steps and samples.

    After temporal efficient training (Deng et al., ICLR 2022) as in the CLIF authors' code: the target is 1 for every
    class, as a regulariser, or the one-hot label. If T varies, each sample's mean is over its own steps, so that long
    and short samples have the same weight; with `last_steps`, it is over the last of them. With `average_over` T, the
    sum over the steps that count is divided by the number of all steps. With `readout` mean, o is the mean over the
    time steps that count, and there is one loss of each sample.

    Args:
        logits: o, shape (T, B, classes), or those of the first time steps; converted to float32.
        labels: Class numbers, int64, shape (B,), or the share of each class, float, shape (B, classes), where Mixup or
            CutMix mix samples; the shares are then the target of the cross-entropy and the "one-hot" one.
        config: lambda (`mse_weight`), the target, the label smoothing, the steps that count (`last_steps`) and what
            their sum is divided by (`average_over`).
        mask: As returned by `step_mask`, shape (T, B), with at least one step of every sample; None counts all steps.
        timesteps: T of the samples, or of each, int64 (B,), if logits only has the first of them.

    Returns:
        A scalar, float32.
    """
    steps, batch, classes = logits.shape
    if timesteps is None:
        timesteps = steps if mask is None else mask.sum(0)
    mask = answer_mask(mask, logits, config.last_steps)
    if config.readout == "mean":
        counted = steps if mask is None else mask.sum(0)[:, None]
        logits, mask, steps, timesteps = (sum_logits(logits, mask) / counted)[None], None, 1, 1
    flat = logits.float().reshape(steps * batch, classes)
    mixed = labels.ndim == 2
    repeated = labels.repeat(steps, 1) if mixed else labels.repeat(steps)
    reduction = "mean" if mask is None else "none"
    loss = functional.cross_entropy(flat, repeated, label_smoothing=config.label_smoothing, reduction=reduction)
    if config.mse_weight != 0.0:
        if config.mse_target == "one-hot":
            target = repeated if mixed else functional.one_hot(repeated, classes).float()
        else:
            target = torch.ones_like(flat)
        error = functional.mse_loss(flat, target, reduction=reduction)
        error = error if mask is None else error.mean(1)
        loss = (1.0 - config.mse_weight) * loss + config.mse_weight * error
    by_t = config.average_over == "T"
    if mask is None:
        # Without a mask, all samples have the same number of time steps.
        return loss * (steps / timesteps) if by_t else loss
    kept = torch.where(mask, loss.reshape(steps, batch), 0.0)
    return (kept.sum(0) / (timesteps if by_t else mask.sum(0))).mean()


def sum_logits(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Sum of logits (T, B, classes) over the time steps of the mask, or over all; float32 (B, classes)."""
    logits = logits.float()
    return logits.sum(0) if mask is None else torch.where(mask[..., None], logits, 0.0).sum(0)


def predict(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Predicted class numbers, int64 (B,): those with the largest sum of logits (T, B, classes) over time steps."""
    return sum_logits(logits, mask).argmax(1)
