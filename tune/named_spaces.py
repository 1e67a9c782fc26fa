"""Spaces that have a name, as the words that they stand for; their values suit the configuration that is searched."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import RunConfig
from pipeline.paper_presets import TABLE3, TAUS

DEFAULT_SPACE = "timesteps-tau-neuron"
NEURONS = ("lif", "clif")
"""What the default space compares."""


def _listed(values: object) -> str:
    return ",".join(map(str, values))  # type: ignore[call-overload]


def _timesteps_tau_neuron(config: RunConfig) -> list[str]:
    """T 4, 8 and 12 where the configuration has T <= 12, else its T, a half and a quarter of it."""
    t = config.binning.timesteps
    steps = (4, 8, 12) if t <= 12 else (t // 4, t // 2, t)
    return [
        f"binning.timesteps={_listed(steps)}",
        "neuron.tau=1.5,2,3,4",
        f"neuron.name={_listed(NEURONS)}",
    ]


def _table3(config: RunConfig) -> list[str]:
    """The paper's Table 3: how many steps carry gradient and tau, for both neurons; k beyond T is T."""
    t = config.binning.timesteps
    steps = dict.fromkeys(min(k, t) for k in TABLE3)
    return [f"grad_steps={_listed(steps)}", f"neuron.tau={_listed(TAUS)}", f"neuron.name={_listed(NEURONS)}"]


def _training(config: RunConfig) -> list[str]:
    """Learning rate, weight decay, dropout, batch size and augmentation, around the configuration's own."""
    rate, batch = config.optimiser.learning_rate, config.batch_size
    names = ("none", "flip", "roll+crop") if config.input.source == "cache" else ("none", "drop-events")
    own = config.dataset.augmentation
    return [
        f"optimiser.learning_rate={rate / 30:g}:{rate * 3:g}:log",
        "optimiser.weight_decay=1e-5:1e-2:log",
        "network.dropout=0,0.1,0.2,0.4",
        f"batch_size={_listed(dict.fromkeys((max(1, batch // 2), batch, 2 * batch)))}",
        f"dataset.augmentation={_listed(dict.fromkeys((own, *names)))}",
    ]


def _everything(config: RunConfig) -> list[str]:
    """Both, and what else decides how a spiking network learns."""
    return [
        *_timesteps_tau_neuron(config),
        *_training(config),
        "neuron.surrogate=rect,triangle,sigmoid,atan",
        "neuron.alpha=0.5:4:log",
        "network.batch_norm=per-step,joint",
        "loss.mse_weight=0,0.05,0.1",
        "loss.label_smoothing=0,0.1",
    ]


NAMED_SPACES: dict[str, Callable[[RunConfig], list[str]]] = {
    DEFAULT_SPACE: _timesteps_tau_neuron,
    "table3": _table3,
    "training": _training,
    "everything": _everything,
}
