"""Accuracy over time: how many samples are right already when only the first t steps of theirs are used."""

from __future__ import annotations

from itertools import accumulate

import torch
from spikingjelly.activation_based import neuron
from torch import nn

from pipeline.evaluation.losses import sum_logits


def correct_by_step(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Samples whose largest sum of the first t steps' logits is their label's, for t = 1 .. T.

    Args:
        logits: Shape (T, B, classes).
        labels: Class numbers, int64, shape (B,).
        mask: Of `pipeline.evaluation.losses.answer_mask`, shape (T, B): a sample keeps the prediction of its own last
        step, and
            before the first step that counts it has none, which is not right. None counts all steps.

    Returns:
        int64, shape (T,); the last is what `pipeline.evaluation.losses.predict` gets right.
    """
    logits = logits.float()
    kept = logits if mask is None else torch.where(mask[..., None], logits, 0.0)
    # Not torch.cumsum, which CUDA refuses where only deterministic algorithms may run.
    sums = torch.stack(list(accumulate(kept)))
    # Added in another order, sums differ in the last digit, which decides ties: the last is the prediction's own.
    sums[-1] = sum_logits(logits, mask)
    right = sums.argmax(2) == labels
    if mask is not None:
        right &= torch.stack(list(accumulate(mask, torch.logical_or)))
    return right.sum(1)


def looks_ahead(network: nn.Module) -> bool:
    """Whether early outputs depend on later frames, as with the parallel spiking neuron: then t steps need all T."""
    return any(isinstance(module, neuron.PSN) for module in network.modules())
