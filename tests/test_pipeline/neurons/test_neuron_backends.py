"""The backend of our nodes: by the names of scripts written for SpikingJelly too."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from spikingjelly.activation_based import base
from torch import nn

from pipeline.neurons import CLIFNode, LIFNode
from pipeline.neurons.backend import BackendError

NODES = (LIFNode, CLIFNode)
OF_SPIKINGJELLY = ("cupy", "triton", "inductor")


def drawn() -> torch.Tensor:
    return torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0)) * 2


def set_backend(network: nn.Module, backend: str) -> None:
    """`functional.set_backend` as SpikingJelly 1 has it; 2.0 has none."""
    for module in network.modules():
        if hasattr(module, "backend"):
            if not isinstance(module, base.MemoryModule):
                logging.warning("not a memory module")
            if backend in module.supported_backends:
                module.backend = backend


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("backend", OF_SPIKINGJELLY)
def test_spikingjellys_backends_run_what_auto_runs(node: type[LIFNode | CLIFNode], backend: str):
    asked = node(step_mode="m", backend=backend)
    assert (asked.backend, asked.fused_backend) == (backend, "auto")
    expected, x = node(step_mode="m"), drawn().requires_grad_()
    spikes = asked(x)
    assert torch.equal(spikes, expected(x))
    assert type(spikes.grad_fn).__name__ == "_FusedBackward"
    # As with auto, what has no kernel runs SpikingJelly's code.
    assert node(step_mode="m", backend=backend)(drawn().double()).dtype == torch.float64


@pytest.mark.parametrize("node", NODES)
def test_the_backend_may_be_set_later(node: type[LIFNode | CLIFNode]):
    network = nn.Sequential(node(step_mode="m"), node(step_mode="m"))
    set_backend(network, "cupy")
    assert [(module.backend, module.fused_backend) for module in network] == [("cupy", "auto")] * 2
    set_backend(network, "torch")
    assert [(module.backend, module.fused_backend) for module in network] == [("torch", "torch")] * 2
    assert copy.deepcopy(network)[0].backend == "torch"
    network[0].backend = "fused"
    with pytest.raises(BackendError, match=r"backend='fused': expected float32"):
        network(drawn().double())


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_another_backend_is_refused(node: type[LIFNode | CLIFNode], step_mode: str):
    text = r"backend: expected auto, fused, torch, cupy, triton or inductor, found 'lava'"
    with pytest.raises(BackendError, match=text):
        node(step_mode=step_mode, backend="lava")
    with pytest.raises(BackendError, match=text):
        node(step_mode=step_mode).backend = "lava"
