"""Fields that compute nothing beside certain others: two runs that differ in them alone are one and the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config import RunConfig

NO_TAU = ("if", "psn", "glif", "relu")
"""Neurons that take no time constant: without a leak, or with weights of their own in its place."""
_NO_THRESHOLD = ("psn", "glif", "relu")


def idle_fields(config: RunConfig) -> Iterator[str]:
    """The paths of the fields that have no effect in a configuration, whatever they hold.

    Those that a rule of binning does not read are `Binning.plain`'s. A neuron from outside may read anything.
    """
    name = config.neuron.name
    if name in NO_TAU:
        yield "neuron.tau"
    if name in _NO_THRESHOLD:
        yield "neuron.v_threshold"
    if name == "relu":
        yield from ("neuron.surrogate", "neuron.alpha")
    if config.micro_batch == config.batch_size:
        yield "micro_batch"
    if config.optimiser.name == "adamw":
        yield "optimiser.momentum"
    if config.schedule.name != "step":
        yield from ("schedule.step_epochs", "schedule.step_factor")
    if config.schedule.stop_epoch == config.schedule.epochs:
        yield "schedule.stop_epoch"
    if config.loss.mse_weight == 0:
        yield "loss.mse_target"
    if config.loss.mse_weight == 1:
        yield "loss.label_smoothing"
    if config.input.size is None:
        yield "input.resize"
    if not config.binning.varies and config.grad_steps == config.binning.timesteps:
        yield "grad_steps"
