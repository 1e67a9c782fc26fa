"""Input currents for the dynamics of neurons: Poisson spikes, a constant, a file, or what a layer of a run receives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.analysis.analysed_network import Analysed
from pipeline.analysis.analysis_options import DynamicsOptions
from pipeline.data.run_data import RunData
from pipeline.networks import neuron_layers, reset_network
from preprocess.errors import ConfigError

# Neurons of a layer whose currents are kept.
_MOST_COLUMNS = 1 << 14


def poisson_current(steps: int, neurons: int, rate: float, amplitude: float, seed: int) -> torch.Tensor:
    """Poisson input, float64 (T, N): amplitude times the number of input spikes in each step, `rate` in the mean."""
    counts = np.random.default_rng(seed).poisson(rate, (steps, neurons))
    return torch.from_numpy(amplitude * counts.astype(np.float64))


def read_current(path: Path) -> torch.Tensor:
    """The input current in a file, float64 (T, 1): a .npy array of one dimension, or text with one value per line.

    Raises:
        ConfigError: If the file cannot be read, or does not contain at least two finite values.
    """
    where = f"--input: expected {path} to contain the input current, one number for each of at least 2 time steps"
    try:
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, dtype=np.float64)
        values = np.asarray(values, dtype=np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{where}, found: {' '.join(str(error).split())}") from None
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ConfigError(f"{where}, found shape {values.shape} with {int((~np.isfinite(values)).sum())} not finite")
    return torch.from_numpy(values)[:, None]


def layer_currents(
    analysed: Analysed, data: RunData, options: DynamicsOptions
) -> tuple[torch.Tensor, nn.Module, int, int | None]:
    """What a layer of a network receives for samples of its data, in evaluation mode.

    Args:
        analysed: The run or preset.
        data: Its data.
        options: The layer and the samples.

    Returns:
        The currents of at most 2^14 of its neurons and samples, drawn at random, float64 (T, N); the layer; the number
        of samples; the epoch of the weights.

    Raises:
        ConfigError: If there is no such layer, or samples differ in their number of time steps.
    """
    if analysed.config.binning.varies:
        raise ConfigError("--layer: expected a run with a fixed T, found one whose samples differ in T. Leave it out.")
    indices = analysed.choose_samples(data, options)
    with analysed.device() as device:
        network, epoch = analysed.load_network(data, device)
        layer = _find_layer(network, options.layer or "")
        seen: list[torch.Tensor] = []
        # Also keeps batch norm apart from the neuron, so that its input exists.
        hook = layer.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()))
        rng = np.random.default_rng(options.seed)
        kept: list[torch.Tensor] = []
        try:
            with torch.no_grad():
                for batch in analysed.load_samples(data, indices, device).batches():
                    network(batch.frames)
                    reset_network(network)
                    share = len(batch.labels) / len(indices)
                    kept.append(_some_columns(torch.cat(seen), round(share * _MOST_COLUMNS), rng))
                    seen.clear()
        finally:
            hook.remove()
    return torch.cat(kept, 1), layer, len(indices), epoch


def _find_layer(network: nn.Module, name: str) -> nn.Module:
    layers = neuron_layers(network)
    short = {full.removesuffix(".neuron"): full for full in layers}
    found = short.get(name, name)
    if found not in layers:
        raise ConfigError(f"--layer: expected one of {', '.join(short)}, found '{name}'")
    return layers[found]


def _some_columns(current: torch.Tensor, count: int, rng: Any) -> torch.Tensor:
    flat = current.flatten(1)
    chosen = rng.choice(flat.shape[1], min(max(count, 1), flat.shape[1]), replace=False)
    return flat[:, torch.from_numpy(chosen).to(flat.device)].double().cpu()
