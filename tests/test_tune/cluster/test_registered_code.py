"""Registered neurons, networks and surrogates reach Ray workers: a search, a comparison and its report use them."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from messages import refuses

from pipeline import NeuronTraits, register_network, register_neuron, register_surrogate
from pipeline.config import registrations
from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import RunConfig, fingerprint, override
from pipeline.config.surrogates import SURROGATES
from preprocess.errors import ConfigError
from tune.cluster.registered_code import pack_registrations
from tune.comparison.comparison_plan import compare_neurons
from tune.comparison.run_comparison import compare
from tune.report import write_report
from tune.resources.allocation import ResourceRequest
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.options import SearchOptions
from tune.search.run_search import run_search
from tune.search.search_plan import plan_search

OWN = """
from spikingjelly.activation_based import neuron, surrogate
from torch import nn


def make_slow(config):
    from pipeline.config.surrogates import make_surrogate

    return neuron.LIFNode(4.0, surrogate_function=make_surrogate(config), step_mode="m")


class Tiny(nn.Module):
    def __init__(self, make_neuron, channels, classes, size):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(channels * size[0] * size[1], 8), make_neuron(), nn.Linear(8, classes)])

    def forward(self, frames):
        x = frames.flatten(2)
        for layer in self.layers:
            x = layer(x)
        return x


def flat(alpha):
    return surrogate.Erf(alpha=alpha)
"""


@pytest.fixture
def own(tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunConfig]:
    """A configuration with a registered network and surrogate, whose module no worker can import."""
    (tmp_path / "own_registered.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("own_registered")
    traits = NeuronTraits("Slow", has_tau=False, has_reset=False, macs=7, unequal="its tau is 4")
    register_neuron("slow", module.make_slow, traits)
    register_network("tiny-linear", module.Tiny)
    register_surrogate("flat", module.flat)
    changes = {"network.name": "tiny-linear", "neuron.surrogate": "flat", "schedule.epochs": 2, "selection": "last"}
    yield override(tiny_config, changes)
    registrations._registered.clear()
    del NEURONS["slow"], SURROGATES["flat"], sys.modules["own_registered"]


@pytest.mark.long
@pytest.mark.ray
def test_a_search_a_comparison_and_its_report_use_registered_names(
    own: RunConfig, tiny_cache: Path, tmp_path: Path, shared_ray: None
):
    words = SearchOptions(("neuron.name=lif,slow",), "grid", scheduler="none")
    place = ExecutionOptions(request=ResourceRequest(concurrent=2))
    search = plan_search("tiny", override(own, {"selection": "validation"}), words, tiny_cache)
    ranked = run_search(search, tmp_path / "search", execution=place).ranked
    assert {row["neuron.name"] for row in ranked} == {"lif", "slow"}

    comparison = compare_neurons("tiny", own, ("lif", "slow"), (3,), tiny_cache)
    conclusion = compare(comparison, tmp_path / "compare", place=place)
    assert conclusion.errors == ()
    page = write_report(tmp_path / "compare").read_text()
    assert "Slow: its tau is 4" in page and "tiny-linear" in page


def test_other_programs_read_what_one_registered_and_are_told_where_to_continue(
    own: RunConfig, tiny_cache: Path, tmp_path: Path
):
    # Its tau has no effect, so that the runs of both values of tau are the same one.
    config = override(own, {"neuron.name": "slow", "neuron.tau": 3.0})
    comparison = compare_neurons("tiny", config, ("lif", "slow"), (3,), tiny_cache)
    (tmp_path / "compare").mkdir()
    comparison.write(tmp_path / "compare")
    words = SearchOptions(("neuron.surrogate=rect,flat",), "grid", scheduler="none")
    search = plan_search("tiny", override(config, {"neuron.surrogate": "rect"}), words, tiny_cache)
    (tmp_path / "search").mkdir()
    search.write(tmp_path / "search")
    expected = [list(map(fingerprint, plan.configs())) for plan in (comparison, search)]
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline.config.run_config import fingerprint\n"
        "from tune.cli import main\n"
        "from tune.comparison.comparison_plan import read_comparison\n"
        "from tune.search.search_plan import read_search\n"
        "compared, searched = read_comparison(Path('compare')), read_search(Path('search'))\n"
        "print([list(map(fingerprint, plan.configs())) for plan in (compared, searched)], compared.labels)\n"
        "for command, folder in (('compare', 'compare'), ('tune', 'search')):\n"
        "    sys.argv = ['spikeloom', command, '--resume', folder]\n"
        "    print(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [f"{expected} ['LIF', 'Slow']", "2", "2"]
    errors = done.stderr.splitlines()
    assert len(errors) == 2 and all("'slow'" in line and "'flat'" in line for line in errors), errors
    assert all("another program registered. Run that program again" in line for line in errors)


def test_a_function_of_the_script_itself_runs_in_another_process(tmp_path: Path):
    script, packed = tmp_path / "script.py", tmp_path / "packed"
    script.write_text(
        "import sys, pipeline\n"
        "from tune.cluster.registered_code import pack_registrations\n"
        "pipeline.register_neuron('slow', lambda config: config.tau, pipeline.NeuronTraits('Slow'))\n"
        "open(sys.argv[1], 'wb').write(pack_registrations())\n"
    )
    subprocess.run([sys.executable, str(script), str(packed)], check=True)
    reader = (
        "import sys\n"
        "from pipeline.config.neurons import NEURONS, traits_of\n"
        "from pipeline.config.run_config import NeuronConfig\n"
        "from tune.cluster.registered_code import unpack_registrations\n"
        "unpack_registrations(open(sys.argv[1], 'rb').read())\n"
        "print(traits_of('slow').label, NEURONS['slow'].make(NeuronConfig(tau=3.0)))\n"
    )
    done = subprocess.run([sys.executable, "-c", reader, str(packed)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Slow", "3.0"]


def test_code_that_cannot_be_sent_is_named(own: RunConfig):
    lock = threading.Lock()
    register_neuron("slow", lambda config: lock)
    with refuses(ConfigError, where="neuron.name", expected="'slow' to be a function or class", remedy="file.py:Class"):
        pack_registrations()
