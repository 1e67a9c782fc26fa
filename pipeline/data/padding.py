"""Which time steps of a batch hold frames, where samples have different numbers of them."""

from __future__ import annotations

import torch


def step_mask(lengths: torch.Tensor, timesteps: int) -> torch.Tensor:
    """Which steps hold frames and which padding: True where t < length, bool (T, B), of lengths, int64 (B,)."""
    return torch.arange(timesteps, device=lengths.device)[:, None] < lengths
