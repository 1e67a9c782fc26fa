"""The fused neurons inside torch.compile, and as operators of torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from patience import PATIENCE_S

from pipeline.config.run_config import NeuronConfig
from pipeline.kernels.fused_function import DerivativeError
from pipeline.neurons import make_neuron
from pipeline.neurons.clif import custom_op as clif_op
from pipeline.neurons.lif import custom_op as lif_op

# In a process of its own: the compiler's warnings and caches stay out of the other tests.
COMPILED = """
import torch
from torch import nn
from spikingjelly.activation_based import functional
from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import make_neuron
torch.manual_seed(0)
x = torch.randn(5, 3, 16)
for kind in ("clif", "lif"):
    network = nn.Sequential(nn.Linear(16, 16), make_neuron(NeuronConfig(kind)), make_neuron(NeuronConfig(kind)))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    found = []
    for run in (network, compiled):
        functional.reset_net(network)
        network.zero_grad()
        inputs = x.clone().requires_grad_()
        first = run(inputs)
        second = run(inputs + first)
        (first * x).sum().add((second * x).sum()).backward()
        grads = [inputs.grad, *(p.grad.clone() for p in network.parameters())]
        with torch.no_grad():
            found.append([first.detach(), second.detach(), run(x), *grads])
    assert found[0][0].any() and found[0][3].any()
    assert all(torch.equal(a, b) for a, b in zip(*found)), kind
    # Results and states change in place, as eager ones do.
    functional.reset_net(network)
    inputs = x.clone().requires_grad_()
    first = compiled(inputs)
    first += inputs
    first.sum().backward()
    functional.detach_net(network)
    network[1].v *= 0.5
    compiled(x).sum().backward()
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.preloaded
def test_compiled_networks_equal_eager_ones_bit_for_bit():
    result = subprocess.run([sys.executable, "-c", COMPILED], timeout=PATIENCE_S, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def operators() -> list[tuple[object, tuple[object, ...]]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, 5, generator=generator).requires_grad_()
    v, m = (torch.randn(2, 5, generator=generator).requires_grad_() for _ in range(2))
    update = lif_op.Update(0.5, 1.0, 0.0, 1.0, False, 1.0, False, 0, 1.0)
    return [
        (clif_op._operator, (x, v, m, 2.0, 1.0, 0, 1.0, False, True)),
        (lif_op._operator, (x, v, *update, True)),
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["clif", "lif"])
def test_operators_keep_torchs_contract(which: int):
    operator, words = operators()[which]
    torch.library.opcheck(operator, words, test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))


@pytest.mark.parametrize("which", [0, 1], ids=["clif", "lif"])
def test_operators_refuse_a_second_derivative(which: int):
    operator, words = operators()[which]
    (grad,) = torch.autograd.grad(operator(*words)[0].square().sum(), words[0], create_graph=True)
    with pytest.raises(DerivativeError, match=r"found a request for second derivatives .*Use backend='torch'"):
        grad.sum().backward()


@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_nothing_is_kept_where_no_gradient_is_asked_for(kind: str):
    x = torch.randn(4, 2, 5, requires_grad=True)
    with torch.no_grad():
        assert make_neuron(NeuronConfig(kind))(x).grad_fn is None
