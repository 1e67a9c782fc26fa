"""Changes of the order of time steps: control experiments that show how much a network uses temporal order.

A network that is as accurate on shuffled time steps does not use their order; one that is as accurate on a single frame
does not use time at all. If T varies, padding stays after the time steps of a sample.

- shuffled: in training, the order depends only on the run's seed, the epoch and the sample's number, as augmentation
  does, so that it is the same for every neuron. In evaluation it depends only on seed and sample, so that it is the
  same in every pass.
- reversed: the last step first.
- one-frame: only the frame with the most events, which shows more of the sample than any other (the first such frame if
  there are several). It stays at its time step, and all other frames are empty. They are not copies of it, because T
  copies would have T times its events and show a motionless sample, which an event camera does not record.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config.run_config import TimeOrder
from pipeline.data.on_device import on_device

Reorder = Callable[[torch.Tensor, NDArray[np.int64], torch.Tensor | None], torch.Tensor]

# Keeps the random numbers apart from those of shuffling and augmentation, whose seeds are (seed, epoch), (seed, epoch,
# sample) and (seed, epoch, sample, 1 to 9).
_STREAM = 100


def reorder_steps(order: TimeOrder, seed: int | None, epoch: int | None) -> Reorder:
    """Return the function that changes the order of the time steps of a batch.

    That function accepts frames of any type, shape (T, B, 2, H, W), the B sample numbers, and their lengths, int64,
    shape (B,), or None if all have T steps. It returns frames of the same shape, type and device, and does not change
    its input.

    Args:
        order: As `InputConfig.time_order`.
        seed: Seed of the run; only required for shuffled.
        epoch: Number of the training epoch; None in evaluation.

    Raises:
        ValueError: If the order is shuffled and there is no seed.
    """
    if order == "shuffled" and seed is None:
        raise ValueError("expected a seed for time_order shuffled, found none")
    # Epochs count from 1.
    base_seed = (seed or 0, epoch or 0)

    def change(frames: torch.Tensor, samples: NDArray[np.int64], lengths: torch.Tensor | None) -> torch.Tensor:
        if order == "as-is":
            return frames
        if order == "one-frame":
            return _keep_fullest(frames)
        steps = np.full(len(samples), len(frames)) if lengths is None else lengths.cpu().numpy()
        if order == "reversed":
            places = [np.arange(n)[::-1] for n in steps]
        else:
            seeds = [[*base_seed, int(sample), _STREAM] for sample in samples]
            places = [np.random.default_rng(entropy).permutation(n) for entropy, n in zip(seeds, steps, strict=True)]
        return _gather_steps(frames, places)

    return change


def _gather_steps(frames: torch.Tensor, places: list[NDArray[np.int64]]) -> torch.Tensor:
    """Replace step t of sample b by its step places[b][t]; later steps are unchanged."""
    index = np.tile(np.arange(len(frames))[:, None], (1, len(places)))
    for b, place in enumerate(places):
        index[: len(place), b] = place
    batch = torch.arange(len(places), device=frames.device)
    return frames[on_device(index, frames.device), batch]


def _keep_fullest(frames: torch.Tensor) -> torch.Tensor:
    """Keep only the frame with the most events of every sample, at its time step."""
    fullest = frames.flatten(2).sum(2, dtype=torch.float64 if frames.is_floating_point() else torch.int64).argmax(0)
    out = torch.zeros_like(frames)
    batch = torch.arange(frames.shape[1], device=frames.device)
    out[fullest, batch] = frames[fullest, batch]
    return out
