"""Network objects that a program passes to `pipeline.train`: what identifies them, and runs that they continue."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from pipeline.config.code_hash import without_addresses
from pipeline.runs.checkpoint import BEST, load_weights
from preprocess.errors import RunError
from preprocess.files import read_json

KEY = "network"
"""The key of `describe_network` in environment.json; runs of networks that a configuration describes have none."""


@torch.no_grad()
def describe_network(network: nn.Module) -> str:
    """The layers of a network and their settings, as it prints itself; "" if it cannot.

    Parameters are zero meanwhile, because some layers print learned values, such as their tau.
    """
    parameters = list(network.parameters())
    if any(map(is_lazy, parameters)):
        # Its layers change at the first forward pass.
        return ""
    before = [parameter.clone() for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.zero_()
        return without_addresses(repr(network))
    except Exception:  # whatever a user's representation does
        return ""
    finally:
        for parameter, value in zip(parameters, before, strict=True):
            parameter.copy_(value)


def check_given(folder: Path, network: nn.Module) -> None:
    """Raise RunError if the run in a folder was trained with a network object of other settings.

    Runs of earlier versions did not record it; then only the shapes of the weights are compared.
    """
    trained = (read_json(folder / "environment.json") or {}).get(KEY)
    now = describe_network(network)
    if not trained or not now or trained == now:
        return
    expected, found = trained.splitlines(), now.splitlines()
    # Lines of another length of the two descriptions are compared with nothing.
    pairs = zip([*expected, ""], [*found, ""], strict=False)
    was, has = next(((a.strip(), b.strip()) for a, b in pairs if a != b), ("", ""))
    raise RunError(
        f"{folder}: expected the network that the run was trained with, which has '{was}', found '{has}'. "
        "Choose another out, or pass a network that is made with the same arguments."
    )


def load_finished(folder: Path, network: nn.Module, device: torch.device) -> None:
    """Load the selected weights of a finished run into the object that was to be trained."""
    network.to(device)
    load_weights(folder / BEST, network)
