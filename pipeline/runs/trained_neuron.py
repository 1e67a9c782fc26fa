"""Names of a run's neuron and network for tables: those that were trained, which a custom network may choose itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.networks import NETWORKS
from pipeline.config.run_config import RunConfig


def is_configured_neuron(config: RunConfig, environment: Mapping[str, Any]) -> bool:
    """Whether the section `neuron` of a run's configuration describes its spiking layers, as far as is known.

    Args:
        config: Configuration of the run.
        environment: Its `environment.json`. Those of earlier versions do not say it, and networks from files are then
            assumed to have made their neurons themselves.
    """
    recorded = environment.get("configured_neuron")
    if recorded is None:
        return "network" not in environment and ":" not in config.network.name
    return bool(recorded)


def neuron_title(config: RunConfig, environment: Mapping[str, Any]) -> str:
    """Such as ``lif, tau 2``, or the classes of the spiking layers where the configuration does not describe them."""
    if is_configured_neuron(config, environment):
        return config.neuron.title
    classes = dict.fromkeys(str(entry).partition(" (")[0] for entry in environment.get("neurons", ()))
    return ", ".join(classes) or "none"


def subject(config: RunConfig, environment: Mapping[str, Any]) -> str:
    """What a run trained, for the titles of tables: the neuron, or the network's class if it has its own neurons."""
    configured = is_configured_neuron(config, environment)
    return _class_name(config.neuron.name if configured else config.network.name)


def network_title(config: RunConfig) -> str:
    """Such as ``vggsnn, width 1``; of a custom network the class and its file, because only it knows what it uses."""
    name = config.network.name
    if name in NETWORKS:
        return f"{name}, width {config.network.width:g}"
    where, _, kind = name.rpartition(":")
    return f"{kind} ({where})" if where else name


def network_label(config: RunConfig) -> str:
    """The name of a built-in or registered network, or the name of a custom class, for a narrow column."""
    return _class_name(config.network.name)


def unused_fields(config: RunConfig, environment: Mapping[str, Any]) -> tuple[str, ...]:
    """The field paths that did not affect the run's network: those of neurons and, for an object, of the network."""
    sections = {"neuron": config.neuron} if not is_configured_neuron(config, environment) else {}
    sections |= {"network": config.network} if "network" in environment else {}  # type: ignore[dict-item]
    paths = [f"{section}.{name}" for section, values in sections.items() for name in vars(values)]
    return tuple(path for path in paths if path != "network.name")


def _class_name(name: str) -> str:
    return name.rpartition(":")[2]
