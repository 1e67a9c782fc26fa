"""The mask of a batch whose samples have different numbers of time steps."""

from __future__ import annotations

import torch


def step_mask(lengths: torch.Tensor, timesteps: int) -> torch.Tensor:
    """True for time steps before padding: t < length, bool (T, B), for lengths, int64 (B,)."""
    return torch.arange(timesteps, device=lengths.device)[:, None] < lengths
