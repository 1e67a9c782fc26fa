"""Truncated back-propagation through time inside a neuron: how far back in time gradients flow.

Spikes do not change. A window of 0 leaves the gradient of each step alone, as in spatial learning through time (SLTT,
Meng et al., ICCV 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from preprocess.errors import ConfigError

Truncation = Literal["block", "sliding"]
States = tuple[Any, ...]
Outputs = tuple[tuple[torch.Tensor, ...], States]
Run = Callable[[torch.Tensor, States], Outputs]
"""From a sequence x (T, B, ...) and states (B, ...) to spikes and the new states."""


def check_window(temporal_window: int | None, stores: bool) -> None:
    """Raise a ConfigError if a window is negative, or if the state of every step is stored, which excludes a window."""
    if temporal_window is not None and (temporal_window < 0 or stores):
        found = f"{temporal_window} with stored states" if stores else temporal_window
        raise ConfigError(f"temporal_window: expected None, or at least 0 without stored states, found {found}")


def in_windows(
    temporal_window: int | None, truncation: Truncation, x: torch.Tensor, states: States, run: Run
) -> Outputs:
    """Run a sequence x (T, B, ...) so that gradients flow back through at most temporal_window steps.

    Args:
        temporal_window: h; None for no limit.
        truncation: ``block`` runs blocks of h + 1 steps, which pass on states but no gradients. ``sliding`` passes the
            gradient from step t' back to step t exactly if t' - t <= h, at h + 1 times the work and memory.
        x: Input.
        states: States before the first step, to which no gradient is passed unless h is None.
        run: Runs a sequence without a limit.
    """
    if temporal_window is None or not torch.is_grad_enabled():
        return run(x, states)
    # Between the parts that are run separately, states keep the precision that they have inside a fused run.
    wide = torch.promote_types(x.dtype, torch.float32)
    parts = _blocks if truncation == "block" else _slide
    spikes, after = parts(temporal_window, x.to(wide), tuple(state.detach().to(wide) for state in states), run)
    return (spikes.to(x.dtype),), tuple(state.to(x.dtype) for state in after)


def _blocks(window: int, x: torch.Tensor, states: States, run: Run) -> tuple[torch.Tensor, States]:
    blocks = []
    for block in x.split(window + 1):
        (spikes,), states = run(block, tuple(state.detach() for state in states))
        blocks.append(spikes)
    return torch.cat(blocks), states


def _slide(window: int, x: torch.Tensor, states: States, run: Run) -> tuple[torch.Tensor, States]:
    """The first h + 1 outputs come from one run; each later one is the last of a run of the h + 1 steps up to it.

    These runs start from states without gradient, and are computed as one with more samples.
    """
    (first,), after = run(x[: window + 1], states)
    later = len(x) - window - 1
    if later <= 0:
        return first, after
    befores = []
    with torch.no_grad():
        for current in x[:later].split(1):
            _, states = run(current, states)
            befores.append(states)
    starts = tuple(torch.cat(each) for each in zip(*befores, strict=True))
    windows = torch.stack([x[start : start + window + 1] for start in range(1, later + 1)], 1).flatten(1, 2)
    (spikes,), after = run(windows, starts)
    last = spikes[-1].unflatten(0, (later, -1))
    return torch.cat([first, last]), tuple(state.unflatten(0, (later, -1))[-1] for state in after)
