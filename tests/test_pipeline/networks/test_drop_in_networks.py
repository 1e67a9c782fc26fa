"""Every network of SpikingJelly that takes a neuron runs with ours as with its own; see docs/drop-in.md."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from drop_in import BACKENDS, SETTINGS, Factory, Setting, differences, draw, fill, nodes, our_node, run, their_node
from spikingjelly.activation_based import functional, model, monitor, neuron
from torch import nn

T, BATCH, CLASSES = 2, 2, 3
_CLASSES = {"num_classes": CLASSES}
_SIZE = {**_CLASSES, "img_size_h": 16, "img_size_w": 16}


@dataclass(frozen=True)
class Network:
    """How a network is built small, and what one sample of its input is."""

    module: str
    sample: tuple[int, ...]
    sizes: dict[str, Any] = field(default_factory=dict)
    narrow: int = 1
    """Hidden channels are divided by this: most factories leave the width no choice."""
    step_mode: str = "m"
    weights: float = 1.0
    scales: float = 1.0
    """Factors of what is drawn, so that neurons fire behind attention too."""


# One for each class and kind of block, of the factory with the fewest layers where there is a choice.
NETWORKS = {
    "spiking_resnet18": Network("spiking_resnet", (3, 16, 16), _CLASSES, narrow=16),
    "spiking_resnet50": Network("spiking_resnet", (3, 16, 16), _CLASSES, narrow=16),
    "sew_resnet18": Network("sew_resnet", (3, 16, 16), {**_CLASSES, "cnf": "ADD"}, narrow=16),
    "sew_resnet50": Network("sew_resnet", (3, 16, 16), {**_CLASSES, "cnf": "IAND"}, narrow=16),
    "spiking_vgg11": Network("spiking_vgg", (3, 32, 32), _CLASSES, narrow=32, step_mode="s"),
    "spiking_vgg11_bn": Network("spiking_vgg", (3, 32, 32), _CLASSES, narrow=32),
    "ottt_spiking_vgg11": Network("spiking_vggws_ottt", (3, 32, 32), _CLASSES, narrow=32, step_mode="s"),
    "ottt_spiking_vggws": Network("spiking_vggws_ottt", (3, 16, 16), _CLASSES, narrow=32, step_mode="s"),
    "ottt_spiking_vgg11_ws": Network("spiking_vggws_ottt", (3, 32, 32), _CLASSES, narrow=32, step_mode="s"),
    "ms_resnet18": Network("ms_resnet", (3, 16, 16), {**_CLASSES, "layers": (1, 1, 1), "base_channels": 4}),
    "max_resnet18": Network("ms_resnet", (3, 16, 16), _CLASSES, narrow=32),
    "MASNN": Network(
        "masnn",
        (2, 8, 8),
        {"num_classes": 11, "T": T, "input_size": (8, 8), "reduction_t": 1},
        narrow=16,
        weights=0.1,
        scales=4.0,
    ),
    "att_ms_resnet18": Network("masnn", (3, 16, 16), {**_CLASSES, "T": T, "base_channels": 8}),
    "MNISTNet": Network("parametric_lif_net", (1, 28, 28), {"channels": 4}),
    "FashionMNISTNet": Network("parametric_lif_net", (1, 28, 28), {"channels": 4}),
    "NMNISTNet": Network("parametric_lif_net", (2, 34, 34), {"channels": 4}),
    "CIFAR10Net": Network("parametric_lif_net", (3, 32, 32), {"channels": 2}),
    "CIFAR10DVSNet": Network("parametric_lif_net", (2, 128, 128), {"channels": 2}),
    "DVSGestureNet": Network("parametric_lif_net", (2, 128, 128), {"channels": 2}),
    "Spikformer": Network(
        "spikformer",
        (3, 16, 16),
        {**_SIZE, "patch_size": 4, "embed_dims": 16, "num_heads": 2, "depths": 1},
    ),
    "QKFormer": Network(
        "qkformer", (3, 32, 32), {**_CLASSES, "embed_dims": 32, "num_heads": (1, 1, 1), "depths": (1, 1, 1)}
    ),
    "MaxFormer": Network("maxformer", (3, 32, 32), {**_CLASSES, "embed_dims": 32, "depths": (1, 1, 1)}),
    "maxformer_cifar": Network("maxformer", (3, 16, 16), _CLASSES, narrow=8),
    "SpikeDrivenTransformer": Network(
        "spike_driven_transformer", (3, 32, 32), {**_CLASSES, "embed_dims": 32, "num_heads": 1, "depths": 1}
    ),
}


def factory(name: str) -> Callable[..., nn.Module]:
    return getattr(importlib.import_module(f"{model.__name__}.{NETWORKS[name].module}"), name)


def build(name: str, node: Factory, setting: Setting) -> nn.Module:
    """A network at its small size, its parameters drawn."""
    row = NETWORKS[name]
    with torch.device("meta"):
        network = factory(name)(spiking_neuron=node, **row.sizes, **setting.arguments)
    narrow(network, row.narrow)
    network.to_empty(device="cpu")
    fill(network, row.weights * setting.gain, row.scales * setting.gain)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    functional.set_step_mode(network, row.step_mode)
    return network


def narrow(network: nn.Module, by: int) -> None:
    """Divide all channels but those of input and output, in place, before memory is taken for parameters."""
    layers = [module for module in network.modules() if list(module.parameters(recurse=False))]
    for module in layers:
        for name in ("in_channels", "out_channels", "in_features", "out_features", "num_features", "groups"):
            size = getattr(module, name, by)
            if size >= 16:
                setattr(module, name, max(size // by, 1))
    for module in layers:
        for name, parameter in list(module.named_parameters(recurse=False)):
            shape = [size if size < 16 else max(size // by, 1) for size in parameter.shape]
            setattr(module, name, nn.Parameter(parameter.new_empty(shape)))
        for name, buffer in module.named_buffers(recurse=False):
            shape = [size if size < 16 else max(size // by, 1) for size in buffer.shape]
            setattr(module, name, buffer.new_empty(shape))


def forward(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A sequence (T, B, ...) in either step mode."""
    if all(node.step_mode == "s" for node in nodes(network).values()):
        return functional.multi_step_forward(x, network)
    return network(x)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_spikingjelly_give_the_same_with_our_nodes(name: str, setting: str):
    of_node = SETTINGS[setting]
    theirs = build(name, their_node(of_node), of_node)
    x = draw(theirs, (T, BATCH, *NETWORKS[name].sample), of_node, forward)
    expected = run(theirs, x, forward)
    in_float64 = cache(lambda: run(build(name, their_node(of_node), of_node).double(), x.double(), forward))
    for backend in BACKENDS:
        ours = build(name, our_node(of_node, backend), of_node)
        assert all(type(node).__module__.startswith("pipeline.") for node in nodes(ours).values())
        assert not differences(expected, run(ours, x, forward), backend == "torch", in_float64), backend


@pytest.mark.parametrize("name", NETWORKS)
def test_neurons_of_the_compared_networks_fire(name: str):
    network = build(name, their_node(SETTINGS["lif-defaults"]), SETTINGS["lif-defaults"])
    with monitor.OutputMonitor(network, neuron.BaseNode, lambda out: float(out.detach().mean())) as rates:
        forward(network, torch.randn((T, BATCH, *NETWORKS[name].sample), generator=torch.Generator().manual_seed(0)))
    silent = [layer for layer in rates.monitored_layers if not 0 < max(rates[layer]) < 1]
    assert len(silent) <= len(rates.monitored_layers) // 4, silent


def public() -> dict[str, Any]:
    """Networks and factories that take a neuron, as each module lists them."""
    found = {}
    for info in pkgutil.iter_modules(model.__path__):
        module = importlib.import_module(f"{model.__name__}.{info.name}")
        for name in module.__all__:
            if "spiking_neuron" in inspect.signature(getattr(module, name)).parameters:
                found[name] = getattr(module, name)
    return found


def kinds(network: nn.Module) -> set[type]:
    return {type(module) for module in network.modules()}


@pytest.mark.slow
def test_no_network_of_spikingjelly_is_left_out():
    node, setting = their_node(SETTINGS["lif-defaults"]), SETTINGS["lif-defaults"]
    compared: dict[type, set[type]] = {}
    for name in NETWORKS:
        network = build(name, node, setting)
        compared.setdefault(type(network), set()).update(kinds(network))
    for name, build_one in public().items():
        if inspect.isclass(build_one):
            assert build_one in compared, f"{name} is compared nowhere: add it to NETWORKS"
            continue
        with torch.device("meta"):
            arguments = {"cnf": "ADD"} if "cnf" in inspect.signature(build_one).parameters else {}
            network = build_one(spiking_neuron=node, **arguments)
        assert kinds(network) <= compared[type(network)], f"{name} has layers that are compared nowhere: add it"
