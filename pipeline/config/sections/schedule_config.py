"""The section `schedule`: epochs, learning-rate schedule and early stopping, with the default of each field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScheduleConfig:
    """The number of epochs and the learning-rate schedule."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    """cosine: decay to min_learning_rate. step: multiply by step_factor every step_epochs. constant: no decay."""
    epochs: int = 300
    """Number of training epochs."""
    warmup_epochs: int = 0
    """Number of epochs of linear warm-up at the beginning."""
    warmup_learning_rate: float | None = None
    """Learning rate of the first warm-up epoch (default: learning_rate / (warmup_epochs + 1))."""
    cosine_from: Literal["warmup", "start"] = "warmup"
    """First epoch of the cosine. warmup: the one after the warm-up, which has the full learning rate. start: the first
    of the run, so that the warm-up replaces a part of the cosine, as in timm."""
    min_learning_rate: float = 0.0
    """Learning rate to which the cosine decays."""
    cooldown_epochs: int = 0
    """How many of the epochs, at the end, have min_learning_rate; the cosine decays over the others."""
    step_epochs: int = 100
    """Epochs between the steps of the step schedule."""
    step_factor: float = 0.1
    """Factor of the step schedule."""
    patience: int | None = None
    """Early stopping: stop after this many epochs without a better one (default: off). Not with selection last."""
    stop_epoch: int | None = None
    """Stop after this epoch, with the schedule still computed for all epochs (default: the last epoch)."""

    @property
    def last_epoch(self) -> int:
        """The epoch after which the run ends."""
        return self.epochs if self.stop_epoch is None else self.stop_epoch

    def errors(self) -> Iterator[str]:
        """A line for every field that is out of range; the ranges of several depend on the number of epochs."""
        if self.epochs < 1:
            yield f"schedule.epochs: expected at least 1, found {self.epochs}"
        if not 0 <= self.warmup_epochs < max(self.epochs, 1):
            yield f"schedule.warmup_epochs: expected 0 to epochs - 1, found {self.warmup_epochs}"
        elif not 0 <= self.cooldown_epochs < max(self.epochs, 1) - self.warmup_epochs:
            most = "epochs - warmup_epochs - 1"
            yield f"schedule.cooldown_epochs: expected 0 to {most}, found {self.cooldown_epochs}"
        for name in ("warmup_learning_rate", "min_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < math.inf:
                yield f"schedule.{name}: expected at least 0, found {rate}"
        if self.step_epochs < 1:
            yield f"schedule.step_epochs: expected at least 1, found {self.step_epochs}"
        if not 0.0 < self.step_factor <= 1.0:
            yield f"schedule.step_factor: expected a share in (0, 1], found {self.step_factor}"
        if self.patience is not None and self.patience < 1:
            yield f"schedule.patience: expected at least 1 epoch, found {self.patience}"
        if self.stop_epoch is not None and not 1 <= self.stop_epoch <= max(self.epochs, 1):
            yield f"schedule.stop_epoch: expected 1 to epochs = {self.epochs}, found {self.stop_epoch}"
