"""Collate samples into batches with time as the first dimension, as spiking networks expect it."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def time_first_collate(samples: Sequence[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Join samples of `FrameDataset` into a batch: ``DataLoader(..., collate_fn=time_first_collate)``.

    All samples must have the same T. Frames that were padded to it count as frames: the lengths before padding are not
    part of a batch, so `spiking_loss` includes the padding. `pipeline.train` leaves it out.

    Args:
        samples: B pairs of frames, shape (T, C, H, W), and class number.

    Returns:
        Frames of shape (T, B, C, H, W), and class numbers, int64, shape (B,).
    """
    frames = torch.stack([sample for sample, _ in samples], 1)
    return frames, torch.tensor([label for _, label in samples], dtype=torch.int64)
