"""Export a trained network as a NIR graph (Pedersen et al., 2024), for other frameworks and neuromorphic chips.

The graph is the network in evaluation mode, layer by layer (`pipeline.evaluation.plain_layers`), and is written by
SpikingJelly's NIR exchange. A node with several inputs receives their sum, as in residual networks. The input is
encoded frames (C, H, W), one per time step, and the output is logits. The graph does not include their sum over time
steps and the prediction.

NIR defines neurons by differential equations, which SpikingJelly writes for Euler steps of `TIME_STEP_S`. Both input
rules can be expressed: the resistance is 1 if the input decays and tau / dt if it does not. The reset must be to a
fixed value, which is also the leak potential. Neurons in NIR fire if the potential exceeds the threshold, those of
SpikingJelly also if it equals the threshold.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from pipeline.config.networks import NETWORKS, network_traits
from pipeline.config.run_config import RunConfig
from pipeline.evaluation.plain_layers import plain_network
from pipeline.runs.result_json import NirResult
from preprocess.errors import ConfigError
from preprocess.files import write_whole

TIME_STEP_S = 1e-4
"""The default of SpikingJelly and of most frameworks that read NIR."""


def refuse_inexpressible(config: RunConfig) -> None:
    """Raise a ConfigError if NIR cannot express the network of a configuration, or a required package is missing."""
    errors = []
    name = config.neuron.name
    if name not in ("lif", "if"):
        errors.append(f"neuron.name: NIR has no node for '{name}'; expected lif or if, with neuron.reset hard")
    elif config.neuron.reset != "hard":
        errors.append(
            f"neuron.reset: NIR's {name.upper()} resets to a fixed value (hard reset); this run's neuron resets "
            "softly. Train with --neuron.reset hard to export"
        )
    if not network_traits(config.network.name).has_nir:
        exported = (name for name, network in NETWORKS.items() if network.traits.has_nir)
        errors.append(
            f"network.name: NIR export is for {', '.join(exported)}; found '{config.network.name}'. Max pooling, "
            "attention and recurrent layers, for example, cannot be written"
        )
    if any(find_spec(package) is None for package in ("nir", "nirtorch")):
        errors.append("--nir: expected the package nir: pip install 'spikeloom[nir]'")
    if errors:
        raise ConfigError(*errors)


def export_nir(network: nn.Module, size: tuple[int, int], path: Path, *, channels: int) -> NirResult:
    """Write a network as a NIR graph, completely or not at all.

    Args:
        network: As for `plain_network`, with hard reset.
        size: Height and width of a frame.
        path: The file.
        channels: Number of channels of a frame.

    Returns:
        `file`; `time_step_s`, the time step that the constants of the neurons assume; `nodes`, their number.

    Raises:
        RunError: If the file cannot be written.
    """
    import nir
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    plain = plain_network(network, size)
    example = torch.zeros(1, 1, channels, *size, dtype=next(plain.parameters()).dtype)
    graph = export_to_nir(plain, example, dt=TIME_STEP_S)
    write_whole(path, lambda temporary: nir.write(temporary, graph))
    return {"file": str(path), "time_step_s": TIME_STEP_S, "nodes": len(graph.nodes)}


class ReadNetwork(nn.Module):
    """A network read from a NIR file: frames (T, B, channels, H, W) to logits (T, B, classes), always from rest."""

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        from spikingjelly.activation_based.nir_exchange import import_from_nir

        self.graph = import_from_nir(path, dt=TIME_STEP_S, device=str(device), step_mode="m")

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Run the graph on frames (T, B, channels, H, W); returns the logits (T, B, classes)."""
        logits, _ = self.graph(frames)
        return logits
