"""Neurons and networks of one's own that cannot train: one line that names the class, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.cli import COMMANDS
from pipeline.config.run_config import RunConfig, override, to_dict
from pipeline.dry_run.dry_run import dry_run
from pipeline.dry_run.measured_peak import peak_of_one_step
from pipeline.networks.run_network import make_run_network
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError
from preprocess.terminal.command_line import run_main

CPU = torch.device("cpu")
OWN = '''
import torch
from torch import nn
from spikingjelly.activation_based import functional, neuron, surrogate

spike = surrogate.Sigmoid()

class Stateless(nn.Module):
    def forward(self, x):
        return spike(x - 0.2)

class NoReset(nn.Module):
    """Keeps its potential, with its graph."""
    def __init__(self):
        super().__init__()
        self.v = 0.0
    def forward(self, x):
        out = []
        for step in x:
            self.v = 0.5 * self.v + step
            out.append(spike(self.v - 1.0))
        return torch.stack(out)

class Detached(NoReset):
    """Keeps it without its graph: no traceback ever, and batches that know each other."""
    def forward(self, x):
        out = super().forward(x)
        self.v = self.v.detach()
        return out

class BadReset(NoReset):
    def reset(self):
        pass

class GoodReset(NoReset):
    def reset(self):
        self.v = 0.0

class LastStep(nn.Module):
    def forward(self, x):
        return spike(x[-1])

class WithState(nn.Module):
    def forward(self, x):
        return spike(x), x

class Booleans(nn.Module):
    def forward(self, x):
        return x > 0.2

class NoSurrogate(nn.Module):
    def forward(self, x):
        return (x > 0.2).float()

class RaisesInBackward(nn.Module):
    def forward(self, x):
        return Raising.apply(x)

class Raising(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x > 0.2).float()
    @staticmethod
    def backward(ctx, grad):
        return grad + torch.ones(7, 7, 7)

class Raises(nn.Module):
    def forward(self, x):
        return x + torch.ones(7, 7, 7)

class AsksForCuda(nn.Module):
    def forward(self, x):
        raise RuntimeError("0 active drivers. Triton needs an NVIDIA GPU")

class Random(nn.Module):
    def forward(self, x):
        return spike(x - torch.rand_like(x))

class Net(nn.Module):
    def __init__(self, make_neuron, classes, size):
        super().__init__()
        self.bn = nn.BatchNorm1d(2 * size[0] * size[1])
        self.hidden = nn.Linear(2 * size[0] * size[1], 8)
        self.neuron = make_neuron()
        self.out = nn.Linear(8, classes)
    def forward(self, x):
        x = self.bn(x.flatten(2).flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.out(self.neuron(self.hidden(x)))

class Averaged(Net):
    def forward(self, x):
        return super().forward(x).mean(0)

class BatchFirst(Net):
    def forward(self, x):
        return super().forward(x).transpose(0, 1)

class WithFeatures(Net):
    def forward(self, x):
        return super().forward(x), x

class DetachedLogits(Net):
    def forward(self, x):
        return super().forward(x).detach()

class Reservoir(Net):
    """Only its readout is trained."""
    def __init__(self, make_neuron, classes, size):
        super().__init__(make_neuron, classes, size)
        self.bn.requires_grad_(False)
        self.hidden.requires_grad_(False)

class OwnState(Net):
    """A spiking layer of its own that nobody clears."""
    def __init__(self, make_neuron, classes, size):
        super().__init__(make_neuron, classes, size)
        self.inner = NoReset()
    def forward(self, x):
        return self.inner(super().forward(x))

class ForItsT(Net):
    def __init__(self, make_neuron, classes, size, timesteps):
        super().__init__(make_neuron, classes, size)
        self.of_step = nn.Parameter(torch.ones(timesteps))
    def forward(self, x):
        return super().forward(x) * self.of_step[:, None, None]

class Lazy(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.norm, self.linear = nn.LazyBatchNorm1d(), nn.LazyLinear(classes)
    def forward(self, x):
        return self.linear(self.norm(x.flatten(2).flatten(0, 1))).unflatten(0, x.shape[:2])
'''
BAD = {
    "neuron.name=NoReset": r"NoReset' must have a method reset\(\) that clears what it keeps .*it has none",
    "neuron.name=Detached": r"Detached' must have a method reset\(\)",
    "neuron.name=BadReset": r"BadReset' must have a method reset\(\) .* state of the previous batch is left after it",
    "neuron.name=LastStep": r"LastStep' must return spikes .* \(3, 2, 3, 16, 16\), found \(2, 3, 16, 16\)",
    "neuron.name=WithState": r"WithState' must return spikes as one floating-point tensor .* found a tuple",
    "neuron.name=Booleans": r"Booleans' must return spikes .* found \(3, 2, 3, 16, 16\) of torch.bool",
    "neuron.name=NoSurrogate": r"NoSurrogate' must pass on a gradient, .*: 12 of 14 trainable parameters would never",
    "neuron.name=RaisesInBackward": r"RaisesInBackward' fails on frames .*RuntimeError: .*, in line \d+ of .*own.py\)",
    "network.name=DetachedLogits": r"DetachedLogits' must return logits with a gradient, found none of its 6 trainable",
    "neuron.name=Raises": r"Raises' fails on frames .*\(RuntimeError: The size of tensor .*, in line \d+ of .*own.py\)",
    "network.name=Averaged": r"Averaged' must return logits \(T, B, classes\) = \(3, 2, 3\), .* found \(2, 3\)\. Leave",
    "network.name=BatchFirst": r"BatchFirst' must return logits .* found \(2, 3, 3\)",
    "network.name=WithFeatures": r"WithFeatures' must return logits .* found a tuple",
    "network.name=OwnState": r"OwnState' must have a method reset\(\)",
}
GOOD = [
    *("neuron.name=Stateless", "neuron.name=GoodReset", "neuron.name=Random"),
    *("network.name=Net", "network.name=ForItsT", "network.name=Lazy"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def own(cache: Path) -> Path:
    path = cache.parent / "own.py"
    path.write_text(OWN)
    return path


def config_of(own: Path, *words: str) -> RunConfig:
    changes = {path: f"{own}:{name}" for path, name in (word.split("=") for word in words)}
    return override(TINY, {"schedule.epochs": 1, **changes})


@pytest.mark.parametrize("word", BAD)
def test_what_cannot_train_is_refused_in_one_line_and_leaves_no_folder(
    own: Path, cache: Path, tmp_path: Path, word: str, capsys
):
    config = config_of(own, word)
    with pytest.raises(ConfigError, match=rf"^{word.split('=')[0]}: '.*own.py:{BAD[word]}") as caught:
        train_run(config, tmp_path / "run", cache)
    assert len(caught.value.errors) == 1 and not (tmp_path / "run").exists()
    for refuse in (dry_run, peak_of_one_step):
        with pytest.raises(ConfigError, match=BAD[word]):
            refuse(config, cache)
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    words = ["train", "--config", str(tmp_path / "config.json"), "--cache", str(cache), "--out", str(tmp_path / "run")]
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"spikeloom: {word.split('=')[0]}: ")


@pytest.mark.parametrize("word", GOOD)
def test_what_can_train_does(own: Path, cache: Path, tmp_path: Path, word: str):
    assert train_run(config_of(own, word), tmp_path / "run", cache)["epochs"] == 1


def test_a_neuron_of_ones_own_in_a_network_of_ones_own_is_named(own: Path, cache: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^neuron.name: .*NoReset' must have a method reset"):
        train_run(config_of(own, "neuron.name=NoReset", "network.name=Net"), tmp_path / "run", cache)
    # What only a network of one's own can make use of is its own matter, until it fails of it.
    with pytest.raises(ConfigError, match=r"^neuron.name: .*WithState' must return spikes"):
        train_run(config_of(own, "neuron.name=WithState", "network.name=Net"), tmp_path / "run", cache)


def test_a_neuron_without_gradient_may_follow_layers_that_are_not_trained(own: Path, cache: Path, tmp_path: Path):
    config = config_of(own, "neuron.name=NoSurrogate", "network.name=Reservoir")
    assert train_run(config, tmp_path / "run", cache)["epochs"] == 1


def test_looking_changes_nothing(own: Path):
    config = config_of(own, "network.name=Net")
    form = {"classes": 3, "size": (16, 16), "timesteps": 3, "device": CPU}
    torch.manual_seed(5)
    network = make_run_network(config, **form)  # type: ignore[arg-type]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert int(network.bn.num_batches_tracked) == 0 and not network.bn.running_mean.any()


def test_code_for_cuda_alone_is_left_to_a_run_that_has_it(own: Path):
    form = {"classes": 3, "size": (16, 16), "timesteps": 3, "device": CPU}
    config = config_of(own, "neuron.name=AsksForCuda")
    make_run_network(config, **form, leave_cuda=True)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"AsksForCuda' fails on frames .*Triton needs an NVIDIA GPU"):
        make_run_network(config, **form)  # type: ignore[arg-type]
