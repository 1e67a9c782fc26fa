"""Initial weights: one random generator per layer, so that networks that differ only in the neuron start equal."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import torch
from torch import nn


def initialise(network: nn.Module, seed: int, linear_weights: Literal["normal", "torch"] = "normal") -> None:
    """Draw weights by the rule in the attribute `initialisation` of the network's class.

    ``paper``, the default, follows the CLIF authors' code. Convolutions: normal with fan-out scaling for ReLU (He et
    al., 2015), biases 0; batch norm: 1 and 0; linear layers: normal with standard deviation 0.01, biases 0. ``default``
    follows torch's layers, for networks whose authors did so; ``he`` too, except for the weights of convolutions, which
    are those of ``paper``; ``he-zero`` is ``he`` with the biases of linear layers 0. ``truncated-convolutions`` and
    ``truncated-linear`` follow the authors of transformers: the weights of all convolutions, or of 1x1 convolutions and
    linear layers, are from a truncated normal distribution with standard deviation 0.02, and their biases 0; all other
    layers follow torch's. The global random state is neither used nor changed.

    Args:
        network: Any network; parameters of other layers do not change.
        seed: Seed of the run.
        linear_weights: ``torch`` draws linear layers as torch does, whatever the rule says of them.
    """
    _RULES[getattr(network, "initialisation", "paper")](network, seed)
    if linear_weights == "torch":
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear):
                with seeded(seed, name):
                    module.reset_parameters()


def _draw_defaults(network: nn.Module, seed: int) -> None:
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.Linear)):
            with seeded(seed, name):
                module.reset_parameters()


def _draw_defaults_but_convolutions(network: nn.Module, seed: int) -> None:
    _draw_defaults(network, seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            _draw_he(module.weight, torch.Generator().manual_seed(_derive(seed, name)))


def _draw_defaults_but_convolutions_and_biases(network: nn.Module, seed: int) -> None:
    _draw_defaults_but_convolutions(network, seed)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def _draw_he(weight: torch.Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)


def _draw_papers(network: nn.Module, seed: int) -> None:
    for name, module in network.named_modules():
        generator = torch.Generator().manual_seed(_derive(seed, name))
        if isinstance(module, nn.Conv2d):
            _draw_he(module.weight, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _draw_truncated(network: nn.Module, seed: int, *, which: Callable[[nn.Module], bool]) -> None:
    _draw_defaults(network, seed)
    for name, module in network.named_modules():
        if which(module):
            assert isinstance(module, (nn.Conv2d, nn.Linear))
            generator = torch.Generator().manual_seed(_derive(seed, name))
            nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))


_RULES: dict[str, Callable[[nn.Module, int], None]] = {
    "paper": _draw_papers,
    "default": _draw_defaults,
    "he": _draw_defaults_but_convolutions,
    "he-zero": _draw_defaults_but_convolutions_and_biases,
    "truncated-convolutions": partial(_draw_truncated, which=_is_convolution),
    "truncated-linear": partial(_draw_truncated, which=_is_linear),
}


@contextlib.contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Seed random numbers for a named part of a run; the global random state is neither used nor changed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_derive(seed, name))
        yield


def _derive(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
