"""Neurons by name: the paper's settings, surrogates, and classes from outside the package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from messages import refuses
from reference import neurons as reference
from spikingjelly.activation_based import neuron, surrogate

from pipeline.config.custom_classes import load_outside, outside_sources
from pipeline.config.run_config import NetworkConfig, NeuronConfig, RunConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.neurons import make_neuron
from preprocess.errors import ConfigError


@pytest.mark.parametrize("name", ["rect", "triangle", "sigmoid", "atan"])
@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_the_torch_backend_equals_the_papers_equations_in_float64(kind: str, name: str):
    rng = np.random.default_rng(5)
    x, weights = rng.normal(0.4, 1.2, (2, 14, 1, 40))
    config = NeuronConfig(kind, tau=1.7, surrogate=name, alpha=1.4, v_threshold=0.9, backend="torch")
    inputs = torch.from_numpy(x).requires_grad_()
    spikes = make_neuron(config)(inputs)
    (spikes * torch.from_numpy(weights)).sum().backward()
    plain = reference.clif if kind == "clif" else reference.lif
    for n in range(x.shape[2]):
        expected, _, gradient = plain(
            x[:, 0, n], weights[:, 0, n], config.tau, config.v_threshold, reference.make_surrogate(name, config.alpha)
        )
        np.testing.assert_array_equal(spikes[:, 0, n].detach(), expected)
        np.testing.assert_allclose(inputs.grad[:, 0, n], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_lif_is_the_papers(backend: str):
    node = make_neuron(NeuronConfig("lif", tau=1.5, backend=backend))
    assert isinstance(node, neuron.LIFNode)
    assert (node.tau, node.v_threshold, node.v_reset) == (1.5, 1.0, None)
    assert (node.decay_input, node.detach_reset, node.step_mode) == (False, False, "m")
    assert isinstance(node.surrogate_function, surrogate.Rect) and node.surrogate_function.alpha == 1.0


def test_clif_is_the_papers_and_takes_whole_numbers():
    node = make_neuron(NeuronConfig("clif", tau=3, v_threshold=2))
    assert isinstance(node, neuron.ComplementaryLIFNode)
    assert (node.tau, node.v_threshold, node.v_reset, node.step_mode) == (3.0, 2.0, None, "m")


@pytest.mark.parametrize("alpha", [0.7, 1.0, 4.0])
@pytest.mark.parametrize("name", ["rect", "triangle", "sigmoid", "atan"])
def test_surrogates_have_the_named_derivative(name: str, alpha: float):
    x = torch.linspace(-2.0, 2.0, 801, dtype=torch.float64, requires_grad=True)
    make_surrogate(NeuronConfig(surrogate=name, alpha=alpha))(x).sum().backward()
    derivative = reference.make_surrogate(name, alpha)
    np.testing.assert_allclose(x.grad, [derivative(float(value)) for value in x.detach()], rtol=1e-12, atol=1e-15)


def test_clif_without_kernels_equals_spikingjellys_node_bit_for_bit():
    x = torch.randn(7, 3, 50, generator=torch.Generator().manual_seed(0)) + 0.3
    found = []
    for node in (neuron.ComplementaryLIFNode(step_mode="m"), make_neuron(NeuronConfig("clif", backend="torch"))):
        inputs = x.clone().requires_grad_()
        spikes = node(inputs)
        (spikes.cumsum(0) * x).sum().backward()
        found.append((spikes, inputs.grad, node.v, node.m))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_unknown_neurons_name_the_nearest_or_how_to_bring_ones_own():
    names = (
        "lif, clif, plif, klif, glif, psn, sliding-psn, ar-lif, tc-lif, lm-h, if, relu, alif, lif-reset1.8, "
        "clif-detached, clif-undecayed"
    )
    with pytest.raises(ConfigError, match=rf"neuron.name: .* one of {names}, found 'cliff'. Did you mean 'clif'"):
        make_neuron(NeuronConfig("cliff"))
    with refuses(ConfigError, where="neuron.name", found="'zzz'", remedy="path/to/file.py:Class"):
        make_neuron(NeuronConfig("zzz"))


def test_a_backend_that_a_neuron_lacks_is_refused():
    with pytest.raises(ConfigError, match=r"neuron.backend: .* found 'torch.nn:ReLU'. Use auto or torch"):
        make_neuron(NeuronConfig("torch.nn:ReLU", backend="fused"))


OWN = '''
from spikingjelly.activation_based import neuron
from torch import nn

class Leaky(neuron.LIFNode):
    """Hands on whatever it is given."""
    def __init__(self, gain=2.0, **words):
        super().__init__(**words)
        self.gain = gain

class Single(neuron.SimpleLIFNode):
    """Takes neither step_mode nor v_reset."""
    def __init__(self, tau, decay_input, v_threshold, surrogate_function):
        super().__init__(tau, decay_input, v_threshold, 0.0, surrogate_function)

class Plain(nn.Module):
    pass

class Needs(nn.Module):
    def __init__(self, colour):
        super().__init__()

class Breaks(nn.Module):
    def __init__(self, tau):
        super().__init__()
        raise KeyError("no\\nluck")

class NotAModule:
    pass
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_class_that_hands_its_words_on_gets_all_that_its_base_takes(own: Path):
    node = make_neuron(NeuronConfig(f"{own}:Leaky", tau=1.3, surrogate="atan", alpha=2.0))
    assert (node.tau, node.gain, node.v_reset, node.decay_input, node.step_mode) == (1.3, 2.0, None, False, "m")
    assert isinstance(node.surrogate_function, surrogate.ATan)


def test_a_class_without_the_word_step_mode_runs_over_all_steps_too(own: Path):
    node = make_neuron(NeuronConfig(f"{own}:Single", tau=1.3))
    assert node.step_mode == "m"
    assert node(torch.ones(4, 2, 3)).shape == (4, 2, 3)


def test_a_class_that_takes_no_words_and_one_of_an_installed_package_are_made(own: Path):
    assert type(make_neuron(NeuronConfig(f"{own}:Plain"))).__name__ == "Plain"
    assert isinstance(make_neuron(NeuronConfig("torch.nn:ReLU")), torch.nn.ReLU)
    name = "spikingjelly.activation_based.neuron:IFNode"
    assert make_neuron(NeuronConfig(name)).step_mode == "m"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OWN:Absent", r"expected a class 'Absent' in .*own.py, found only: Breaks, Leaky, Needs, NotAModule, Pl"),
        ("OWN:NotAModule", r"expected a subclass of torch.nn.Module, found '.*own.py:NotAModule', which is not one$"),
        ("OWN:Needs", r"own.py:Needs' to require only arguments among tau, .*, found colour. Give"),
        ("OWN:Breaks", r"cannot be made \(KeyError: 'no\\nluck', in line 26 of .*own.py\)$"),
        ("no/such/file.py:X", r"expected a Python file in front of ':X', found none at /.*/no/such/file.py$"),
        ("no_such_package.deep:X", r"cannot be loaded \(ModuleNotFoundError: No module named 'no_such_package'\)$"),
        (":X", r"cannot be loaded \(ValueError"),
        ("BROKEN:X", r"cannot be loaded \(SyntaxError: .*broken.py, line 2\)"),
        ("RAISES:X", r"cannot be loaded \(ZeroDivisionError: division by zero, in line 3 of .*raises.py\)$"),
    ],
)
def test_faulty_names_are_told_in_one_line(tmp_path: Path, own: Path, name: str, message: str):
    (tmp_path / "broken.py").write_text("x = 1\nx = = 2\n")
    (tmp_path / "raises.py").write_text("\nx = 1\nx / 0\n")
    for word in ("OWN", "BROKEN", "RAISES"):
        name = name.replace(word, str(tmp_path / f"{word.lower()}.py"))
    with pytest.raises(ConfigError, match=message) as caught:
        make_neuron(NeuronConfig(name))
    (message,) = caught.value.errors
    assert message.startswith("neuron.name: ") and "\n" not in message


def test_a_file_is_loaded_once_and_anew_when_its_content_changes(own: Path):
    first = load_outside(f"{own}:Leaky", "neuron.name")
    assert load_outside(f"{own}:Leaky", "neuron.name") is first
    own.write_text(OWN.replace("gain=2.0", "gain=3.0"))
    assert make_neuron(NeuronConfig(f"{own}:Leaky")).gain == 3.0


def test_what_came_from_outside_is_recorded_with_its_hash(own: Path):
    config = RunConfig(neuron=NeuronConfig(f"{own}:Leaky"), network=NetworkConfig("torch.nn:Identity"))
    sources = outside_sources(config)
    assert json.loads(json.dumps(sources)) == sources
    assert sources["neuron.name"]["file"] == str(own)
    before = sources["neuron.name"]["sha256"]
    own.write_text(OWN + "\n")
    assert len(before) == 64 and outside_sources(config)["neuron.name"]["sha256"] != before
    assert Path(sources["network.name"]["file"]).parts[-3:] == ("nn", "modules", "linear.py")
    assert outside_sources(RunConfig()) == {}
