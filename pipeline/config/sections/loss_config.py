"""The section `loss`: the loss and its readout, with the default of each field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LossConfig:
    """(1 - mse_weight) * mean CE(o_t, y) + mse_weight * MSE(o_t, target), over time steps and samples.

    With readout mean, o_t is replaced by the mean output over the time steps.
    """

    mse_weight: float = 0.05
    """Weight of the mean squared error, lambda in the paper; cross-entropy has 1 - mse_weight."""
    mse_target: Literal["constant", "one-hot"] = "constant"
    """Target of the mean squared error. constant: 1.0 for every class, a regulariser. one-hot: the label, or the
    mixture of labels with mixup and cutmix."""
    label_smoothing: float = 0.0
    """Label smoothing of the cross-entropy, in [0, 1)."""
    readout: Literal["per-step", "mean"] = "per-step"
    """Output that the loss sees. per-step: that of each time step, and the losses are averaged, as in temporal
    efficient training (TET). mean: the mean output over the time steps, of which there is one loss."""
    last_steps: int | None = None
    """Use only the last K time steps of a sample for the loss and the prediction (default: all T)."""
    average_over: Literal["k", "T"] = "k"
    """What the sum of the losses of single time steps is divided by if only k of T steps count (grad_steps,
    loss.last_steps): their number k, or T, which makes gradients k / T times as large. Only with readout per-step."""

    def errors(self) -> Iterator[str]:
        """A line for every field that is out of range."""
        if not 0.0 <= self.mse_weight <= 1.0:
            yield f"loss.mse_weight: expected a share in [0, 1], found {self.mse_weight}"
        if not 0.0 <= self.label_smoothing < 1.0:
            yield f"loss.label_smoothing: expected a share in [0, 1), found {self.label_smoothing}"
        if self.last_steps is not None and self.last_steps < 1:
            yield f"loss.last_steps: expected at least 1, found {self.last_steps}"
