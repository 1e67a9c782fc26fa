"""Accuracy over time: how many samples are classified correctly from their first t time steps."""

from __future__ import annotations

from itertools import accumulate

import torch
from spikingjelly.activation_based import neuron
from torch import nn

from pipeline.evaluation.losses import sum_logits


def correct_by_step(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Number of samples that are classified correctly from the sum of the first t steps' logits, for t = 1 .. T.

    Args:
        logits: Shape (T, B, classes).
        labels: Class numbers, int64, shape (B,).
        mask: As returned by `pipeline.evaluation.losses.answer_mask`, shape (T, B); None counts all steps. A sample
            keeps the prediction of its last step. Before the first step that counts, it has no prediction and is not
            counted as correct.

    Returns:
        int64, shape (T,); the last value is that of `pipeline.evaluation.losses.predict`.
    """
    logits = logits.float()
    kept = logits if mask is None else torch.where(mask[..., None], logits, 0.0)
    # torch.cumsum has no deterministic implementation on CUDA.
    sums = torch.stack(list(accumulate(kept)))
    # The order of summation affects the last digit and so ties; the last sum is therefore computed as in predict.
    sums[-1] = sum_logits(logits, mask)
    right = sums.argmax(2) == labels
    if mask is not None:
        right &= torch.stack(list(accumulate(mask, torch.logical_or)))
    return right.sum(1)


def looks_ahead(network: nn.Module) -> bool:
    """Whether outputs depend on later frames, as with the parallel spiking neuron (PSN)."""
    return any(isinstance(module, neuron.PSN) for module in network.modules())
