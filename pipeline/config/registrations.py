"""Neurons, networks and surrogates that a program registers under new names.

A registered name works wherever a built-in one does: in a configuration, a search space, a comparison and a report.
Processes that train for the program receive its registrations (`tune.cluster.registered_code`); another program that
opens the same run or search folder has to register the name again before it builds the network.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config.networks import NETWORKS
from pipeline.config.neurons import NEURONS, Neuron, NeuronTraits
from pipeline.config.surrogates import SURROGATES
from preprocess.errors import ConfigError, RunError

if TYPE_CHECKING:
    from pipeline.config.run_config import RunConfig

Field = Literal["neuron.name", "network.name", "neuron.surrogate"]

# Names are listed with commas, set with =, and become parts of folder names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Registration:
    """One registered name.

    Attributes:
        field: The path of the configuration field that accepts the name.
        name: The name.
        make: Makes the neuron, network or surrogate.
        file: The file that defines `make`; None for a notebook, or for the script that is run.
        traits: Of a neuron.
        code: SHA-256 of the code of `make` in the process that registered it, if that was another one.
        values: SHA-256 of the values that `make` carries, likewise.
    """

    field: Field
    name: str
    make: Callable[..., Any]
    file: Path | None
    traits: NeuronTraits | None = None
    code: str = ""
    values: str = ""


_registered: dict[tuple[str, str], Registration] = {}


def register_neuron(name: str, make: Callable[..., Any], traits: NeuronTraits | None = None) -> None:
    """Make a neuron available as `neuron.name`.

    Args:
        name: Letters, digits, ``.``, ``_`` and ``-``. Registering a name again replaces what it stood for.
        make: A function from a `NeuronConfig` to a `torch.nn.Module` that maps input current (T, B, ...) to spikes of
            the same shape, and whose ``reset()`` clears what it keeps between batches.
        traits: Which fields affect the neuron, its operations and its label; the default assumes that all fields do.

    Raises:
        ConfigError: If the name is not valid or is that of a built-in neuron.
    """
    _register("neuron.name", name, make, NEURONS, traits or NeuronTraits())


def register_network(name: str, build: Callable[..., Any]) -> None:
    """Make a network available as `network.name`.

    Args:
        name: As for `register_neuron`.
        build: A class or function that returns a `torch.nn.Module` from frames (T, B, channels, H, W) to logits
            (T, B, classes). It is called with those of the keyword arguments config (a `NetworkConfig`), make_neuron
            (a function without arguments that makes a spiking layer), channels, classes, size (height and width) and
            timesteps that it accepts. It sets its own initial weights.

    Raises:
        ConfigError: If the name is not valid or is that of a built-in network.
    """
    _register("network.name", name, build, NETWORKS)


def register_surrogate(name: str, make: Callable[[float], Any]) -> None:
    """Make a surrogate gradient available as `neuron.surrogate`.

    Args:
        name: As for `register_neuron`.
        make: A function from alpha to a surrogate function of SpikingJelly's interface.

    Raises:
        ConfigError: If the name is not valid or is that of a built-in surrogate.
    """
    _register("neuron.surrogate", name, make, SURROGATES)


def registration_of(field: str, name: str) -> Registration | None:
    """The registration of a name in a field such as ``neuron.name``, or None."""
    return _registered.get((field, name))


def require_registered(where: Path, configs: Iterable[RunConfig]) -> None:
    """Raise RunError if networks of stored configurations cannot be built, because another program registered a name.

    Args:
        where: The folder that contains the configurations, for the error.
        configs: They were valid when they were stored.
    """
    missing: dict[tuple[str, str], None] = {}
    for config in configs:
        names: dict[Field, tuple[str, Container[str]]] = {
            "neuron.name": (config.neuron.name, NEURONS),
            "network.name": (config.network.name, NETWORKS),
            "neuron.surrogate": (config.neuron.surrogate, SURROGATES),
        }
        for field, (name, known) in names.items():
            if ":" not in name and name not in known and (field, name) not in _registered:
                missing[field, name] = None
    if missing:
        listed = ", ".join(f"{field} '{name}'" for field, name in missing)
        raise RunError(
            f"{where}: expected only names that are built in or registered here, found {listed}, which another program "
            "registered. Run that program again with the same out: it continues."
        )


def registrations() -> tuple[Registration, ...]:
    """Everything that this process registered."""
    return tuple(_registered.values())


def register_all(others: Iterable[Registration]) -> None:
    """Repeat the registrations of another process in this one."""
    for one in others:
        _add(one)


def _register(
    field: Field,
    name: str,
    make: Callable[..., Any],
    taken: Iterable[str],
    traits: NeuronTraits | None = None,
) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{field}: expected a name of letters, digits, '.', '_' and '-', found '{name}'. Rename it.")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(make, torch.nn.Module):
        raise ConfigError(
            f"{field}: expected a function or class that makes '{name}', found an object of {type(make).__name__}. "
            "Every layer needs its own: pass the class, or a function that returns a new object."
        )
    if not callable(make):
        raise ConfigError(f"{field}: expected a function or class for '{name}', found {make!r}. Pass what makes it.")
    if name in taken and (field, name) not in _registered:
        raise ConfigError(f"{field}: expected a name that is not built in, found '{name}'. Choose another name.")
    _add(Registration(field, name, make, _file_of(make), traits))


def _add(one: Registration) -> None:
    _registered[one.field, one.name] = one
    if one.field == "neuron.name":
        NEURONS[one.name] = Neuron(one.make, one.traits or NeuronTraits())
    elif one.field == "neuron.surrogate":
        SURROGATES[one.name] = one.make


def _file_of(make: Callable[..., Any]) -> Path | None:
    # A script changes for reasons unrelated to the network, and the cells of a notebook are not in a file.
    if getattr(make, "__module__", "__main__") == "__main__":
        return None
    try:
        return Path(inspect.getfile(inspect.unwrap(make)))
    except (OSError, TypeError):
        return None
