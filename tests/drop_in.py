"""SpikingJelly's nodes beside ours: what the tests of docs/drop-in.md share.

Spikes are 0 or 1, so as long as two nodes spike alike everything behind them is equal bit for bit: their rounding
reaches a network through flipped spikes and through gradients only. Inputs are drawn until no u of SpikingJelly's
network lies within 1e-5 of the threshold or of an edge of the surrogate; then spikes, outputs and running statistics
must be equal, and states and gradients of the fused path equal within the fused neurons' table of tolerances. The path
that does not fuse must give every number bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import base, functional, layer, neuron, surrogate
from tolerances import NEAR, TOLERANCE, relative
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import CLIFNode, LIFNode

Factory = Callable[..., nn.Module]
Measured = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Setting:
    """A neuron with its constructor's arguments, and its surrogate and threshold as a configuration."""

    kind: str
    config: NeuronConfig
    arguments: dict[str, Any] = field(default_factory=dict)
    gain: float = 1.0
    """What makes up for an input that is divided by tau."""


_PAPER = {"decay_input": False, "v_reset": None, "surrogate_function": surrogate.Rect(alpha=1.0)}

SETTINGS = {
    "lif-defaults": Setting("lif", NeuronConfig(surrogate="sigmoid", alpha=4.0), gain=2.0),
    "lif-paper": Setting("lif", NeuronConfig(), _PAPER),
    # The defaults of SpikingJelly's node are the paper's settings: soft reset, undecayed input, the rectangle.
    "clif-paper": Setting("clif", NeuronConfig("clif")),
}
THEIRS: dict[str, Factory] = {"lif": neuron.LIFNode, "clif": neuron.ComplementaryLIFNode}
OURS: dict[str, Factory] = {"lif": LIFNode, "clif": CLIFNode}
BACKENDS = ("auto", "torch")


def their_node(setting: Setting) -> Factory:
    """SpikingJelly's node; the arguments are a network's to give."""
    return THEIRS[setting.kind]


def our_node(setting: Setting, backend: str = "auto") -> Factory:
    """Ours, called as SpikingJelly's is."""
    return partial(OURS[setting.kind], backend=backend)


def nodes(network: nn.Module) -> dict[str, neuron.BaseNode]:
    """Spiking neurons by name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, neuron.BaseNode)}


def fill(network: nn.Module, weights: float = 1.0, scales: float = 1.0) -> None:
    """Draw every parameter so that neurons at any depth fire at some steps and not at others.

    Args:
        network: Its parameters may be uninitialised.
        weights: What matrices and kernels are multiplied by.
        scales: What biases and the scales of batch norms are multiplied by.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            for name, parameter in module.named_parameters(recurse=False):
                drawn = torch.randn(parameter.shape, generator=generator)
                if parameter.dim() > 1:
                    parameter.copy_(weights * 1.5 * drawn / parameter[0].numel() ** 0.5)
                else:
                    parameter.copy_(scales * (0.3 * drawn + (1.2 if name == "weight" else 0.4)))


def is_decided(u: torch.Tensor, config: NeuronConfig, near: float = NEAR) -> bool:
    """Whether no u lies so near a threshold or edge that rounding decides.

    On it exactly is allowed: attention counts spikes and halves, in which neither's arithmetic rounds.
    """
    distance = (u - config.v_threshold).abs()
    edge = {"rect": 0.5 / config.alpha}.get(config.surrogate, 0.0)
    return not any(((away > 0) & (away < near)).any() for away in (distance, (distance - edge).abs()))


def potentials(setting: Setting, x: torch.Tensor, states: dict[str, Any] | None = None) -> torch.Tensor:
    """u (T, B, ...) of a sequence x from given states, in float64 by SpikingJelly's own equations."""
    node = their_node(setting)(**setting.arguments)
    for name, state in (states or {}).items():
        setattr(node, name, state.double() if isinstance(state, torch.Tensor) else state)
    steps = []
    for current in x.double():
        v = node.v if isinstance(node.v, torch.Tensor) else torch.full_like(current, node.v)
        decays = setting.kind == "lif" and node.decay_input
        steps.append(functional.lif_charge(current, v, node.tau, decays, node.v_reset))
        node(current)
    return torch.stack(steps)


def is_clear(network: nn.Module, x: torch.Tensor, setting: Setting, forward: Callable[..., torch.Tensor]) -> bool:
    """Whether no neuron of SpikingJelly's network comes near its threshold or an edge of its surrogate."""
    calls: list[tuple[torch.Tensor, dict[str, Any]]] = []

    def record(node: neuron.BaseNode, inputs: tuple[torch.Tensor, ...]) -> None:
        current = inputs[0].detach()
        calls.append((current if node.step_mode == "m" else current[None], dict(node.named_memories())))

    hooks = [node.register_forward_pre_hook(record) for node in nodes(network).values()]
    functional.reset_net(network)
    torch.manual_seed(0)
    with torch.no_grad():
        forward(network, x)
    for hook in hooks:
        hook.remove()
    assert calls
    return all(is_decided(potentials(setting, *call), setting.config) for call in calls)


def draw(
    network: nn.Module,
    shape: tuple[int, ...],
    setting: Setting,
    forward: Callable[..., torch.Tensor] = lambda network, x: network(x),
) -> torch.Tensor:
    """An input on which rounding decides no spike; SpikingJelly's network and its buffers are left as they were."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    for seed in range(100):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5
        clear = is_clear(network, x, setting, forward)
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])
        if clear:
            functional.reset_net(network)
            return x
    raise AssertionError("no input found on which rounding decides no spike: make the network smaller")


def run(
    network: nn.Module,
    x: torch.Tensor,
    forward: Callable[..., torch.Tensor] = lambda network, x: network(x),
) -> Measured:
    """One training step from a reset: output, gradients, states and buffers by name."""
    functional.reset_net(network)
    network.zero_grad()
    torch.manual_seed(0)
    x = x.clone().requires_grad_()
    output = forward(network, x)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    (output * weights).sum().backward()
    return {"output": output.detach(), "gradient of the input": _given(x.grad), **dict(_measure(network))}


def _measure(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, module in network.named_modules():
        # By layer: the bias in front of a batch norm alone has a gradient that is zero but for rounding.
        gradients = [_given(parameter.grad).flatten() for parameter in module.parameters(recurse=False)]
        if gradients:
            yield f"gradient of {name}", torch.cat(gradients)
    for name, state in base.named_memories(network):
        if isinstance(state, torch.Tensor):
            yield f"state {name}", state.detach().clone()
    for name, buffer in network.named_buffers():
        yield f"buffer {name}", buffer.clone()


def _given(gradient: torch.Tensor | None) -> torch.Tensor:
    assert gradient is not None, "no gradient arrived"
    return gradient.clone()


def differences(
    expected: Measured, found: Measured, exact: bool, in_float64: Callable[[], Measured] = dict
) -> list[str]:
    """Names of what differs; exact, or up to rounding.

    Rounding is what the fused neurons' tolerance allows. Deep networks amplify it beyond that: there the result may lie
    no further from SpikingJelly's in float64 than twice as far as SpikingJelly's own does.
    """
    assert expected.keys() == found.keys()
    wrong = []
    for name, value in expected.items():
        assert value.shape == found[name].shape and value.dtype == found[name].dtype, name
        if torch.equal(value, found[name]):
            continue
        distance = relative(found[name], value)
        if not exact and name.startswith(("gradient", "state")):
            if distance < TOLERANCE[torch.float32]:
                continue
            true = in_float64().get(name)
            if true is not None and relative(found[name], true) < 2 * relative(value, true):
                continue
        wrong.append(f"{name}: relative {distance:.1e}")
    return wrong


def small_network(node: Factory, of: Setting) -> nn.Sequential:
    """Input (T, B, 2, 6, 6) to (T, B, 3), multi-step: convolutions, a batch norm, pooling and two neurons."""
    network = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        node(**of.arguments),
        layer.MaxPool2d(2),
        layer.Conv2d(4, 4, 3),
        layer.Flatten(),
        node(**of.arguments),
        layer.Linear(4, 3),
    )
    functional.set_step_mode(network, "m")
    return network
