"""Named spaces, as functions that return their entries for the configuration that is searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.config.run_config import RunConfig
from pipeline.presets.paper import TABLE3, TAUS

DEFAULT_SPACE = "timesteps-tau-neuron"
NEURONS = ("lif", "clif")
"""The neurons of the default space."""


# Mirrored digits are not digits, and mirrored gestures are other gestures (DVS-Gesture has one class for each hand).
_FLIPPED = "cifar10-dvs"


def _timesteps_tau_neuron(config: RunConfig) -> list[str]:
    """T 4, 8 and 12 if the configuration has T <= 12, otherwise its T, a half and a quarter of it; tau; neurons.

    Imported frames have one T.
    """
    t = config.binning.timesteps
    steps = (4, 8, 12) if t <= 12 else (t // 4, t // 2, t)
    return [
        *([] if config.binning.imported else [f"binning.timesteps={_listed(steps)}"]),
        "neuron.tau=1.5,2,3,4",
        f"neuron.name={_listed(NEURONS)}",
    ]


def _table3(config: RunConfig) -> list[str]:
    """The paper's Table 3: the number of time steps with gradient, and tau, for both neurons; k beyond T is T."""
    t = config.binning.timesteps
    steps = [*TABLE3, "none"] if config.binning.varies else [min(k, t) for k in TABLE3]
    # A network that is read out in the last time steps cannot be trained by the first ones.
    carrying = [f"grad_steps={_listed(steps)}"] if config.loss.last_steps is None else []
    return [*carrying, f"neuron.tau={_listed(TAUS)}", f"neuron.name={_listed(NEURONS)}"]


def _training(config: RunConfig) -> list[str]:
    """Learning rate, weight decay, dropout, batch size and augmentation of frames, around the configuration's own."""
    rate, batch = config.optimiser.learning_rate, config.batch_size
    # No batch is larger than the configuration's, which suits the memory and the training set.
    batches = sorted({min(batch, max(2, batch // k)) for k in (1, 2, 4)})
    augmentations = [config.dataset.augmentation, "none", *_augmentations(config)]
    return [
        # Rates that are too high fail sooner than those that are too low.
        f"optimiser.learning_rate={rate / 30:.4g}:{rate * 3:.4g}:log",
        "optimiser.weight_decay=1e-5:1e-2:log",
        "network.dropout=0:0.5",
        f"batch_size={_listed(batches)}",
        f"dataset.augmentation={_listed(augmentations)}",
    ]


def _augmentations(config: RunConfig) -> tuple[str, ...]:
    if config.input.encoding == "direct":
        return "crop+flip", "crop+flip+cutout"
    others = ("roll", "roll+rotation", "event-drop")
    return (*others, "flip+crop") if config.dataset.name.startswith(_FLIPPED) else others


def _everything(config: RunConfig) -> list[str]:
    """Both of these, and the other settings that decide how a spiking network learns."""
    return [
        *_timesteps_tau_neuron(config),
        *_training(config),
        "neuron.surrogate=rect,triangle,sigmoid,atan",
        "neuron.alpha=0.5:4:log",
        "network.batch_norm=per-step,joint",
        "optimiser.momentum=0.8,0.9,0.95",
        f"loss.mse_weight={_listed((config.loss.mse_weight, 0.0, 0.05, 0.1))}",
        "loss.mse_target=constant,one-hot",
        "loss.label_smoothing=0,0.1",
    ]


def _listed(values: Iterable[object]) -> str:
    return ",".join(dict.fromkeys(map(str, values)))


NAMED_SPACES: dict[str, Callable[[RunConfig], list[str]]] = {
    DEFAULT_SPACE: _timesteps_tau_neuron,
    "table3": _table3,
    "training": _training,
    "everything": _everything,
}
"""The names that `--space` accepts, with the entries of each for a configuration."""
