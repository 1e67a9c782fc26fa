"""The order of a sample's time steps, changed on purpose: controls of what the order of time is worth to a network.

A network that is as good on samples whose steps are shuffled does not use their order; one that is as good on one frame
does not use time at all. Padding where T varies stays behind a sample's own steps.

- shuffled: what is drawn depends on the run's seed, the epoch and the sample's number alone, as augmentation's draws
  do, so that every neuron sees the same; outside training on seed and sample, so that each pass sees the same.
- reversed: the last step first.
- one-frame: the frame with the most events, the first of equals, because no other frame shows more of the sample; it
  depends on the sample alone. It stays where it is and all others are empty, not copies of it: T copies are T times its
  events and a motionless sample that no camera gives.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config.run_config import TimeOrder

Reorder = Callable[[torch.Tensor, NDArray[np.int64], torch.Tensor | None], torch.Tensor]

# Other streams than those of order and augmentation, whose seeds are (seed, epoch), (seed, epoch, sample) and
# (seed, epoch, sample, 1 to 7).
_STREAM = 100


def reorder_steps(order: TimeOrder, seed: int | None, epoch: int | None) -> Reorder:
    """What changes the order of time of a batch.

    The function returned takes frames of any type, shape (T, B, 2, H, W), the B samples' numbers, and their lengths,
    int64, shape (B,), or None where all have T steps. It gives frames of that shape, type and device, and leaves its
    input as it was.

    Args:
        order: As `InputConfig.time_order`.
        seed: Of the run; only shuffled needs one.
        epoch: Of training; None outside it.

    Raises:
        ValueError: If shuffled has no seed.
    """
    if order == "shuffled" and seed is None:
        raise ValueError("expected a seed for time_order shuffled, found none")
    # Epochs count from 1.
    drawn_from = (seed or 0, epoch or 0)

    def change(frames: torch.Tensor, samples: NDArray[np.int64], lengths: torch.Tensor | None) -> torch.Tensor:
        if order == "as-is":
            return frames
        if order == "one-frame":
            return _fullest_alone(frames)
        steps = np.full(len(samples), len(frames)) if lengths is None else lengths.cpu().numpy()
        if order == "reversed":
            places = [np.arange(n)[::-1] for n in steps]
        else:
            seeds = [[*drawn_from, int(sample), _STREAM] for sample in samples]
            places = [np.random.default_rng(words).permutation(n) for words, n in zip(seeds, steps, strict=True)]
        return _gather_steps(frames, places)

    return change


def _gather_steps(frames: torch.Tensor, places: list[NDArray[np.int64]]) -> torch.Tensor:
    """Step t of sample b becomes its step places[b][t]; steps beyond those stay."""
    index = np.tile(np.arange(len(frames))[:, None], (1, len(places)))
    for b, place in enumerate(places):
        index[: len(place), b] = place
    batch = torch.arange(len(places), device=frames.device)
    return frames[torch.from_numpy(index).to(frames.device), batch]


def _fullest_alone(frames: torch.Tensor) -> torch.Tensor:
    """The frame with the most events of every sample where it is, and nothing else."""
    fullest = frames.flatten(2).sum(2, dtype=torch.int64).argmax(0)
    out = torch.zeros_like(frames)
    batch = torch.arange(frames.shape[1], device=frames.device)
    out[fullest, batch] = frames[fullest, batch]
    return out
