"""The neurons by name, and every fact about a neuron that other parts of the package read.

A built-in neuron is one module under `pipeline.neurons` and one entry in `NEURONS`. The entries are here, below the
neurons, because checks of a configuration, `--help`, searches and reports read these facts without loading torch; an
entry therefore gives the function that makes the neuron as text, and `pipeline.neurons.make_neuron` imports it on use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_type_hints

from preprocess.json_types import misfit
from preprocess.nearest_name import unknown_name


@dataclass(frozen=True)
class NeuronTraits:
    """What distinguishes a neuron from others; the defaults assume nothing about it.

    Attributes:
        label: Name in tables and figures; empty for one derived from the neuron's name.
        has_tau: Whether `neuron.tau` has an effect.
        has_threshold: Whether `neuron.v_threshold` has an effect.
        has_surrogate: Whether `neuron.surrogate` and `neuron.alpha` have an effect.
        has_reset: Whether `neuron.reset` and `neuron.detach_reset` may differ from their defaults.
        has_decay_input: Whether `neuron.decay_input` may differ from its default.
        has_window: Whether `neuron.temporal_window` may differ from its default.
        fixed_timesteps: Whether it has weights for each time step, so that it works with one T only.
        fused: Whether it has fused kernels, so that `neuron.backend` may be ``fused``.
        macs: Multiply-accumulate operations of one neuron in one time step; None means T of them.
        states: Values that one neuron keeps from one time step to the next; None means T of them.
        unequal: What a comparison cannot make equal between this neuron and LIF; empty where nothing differs.
    """

    label: str = ""
    has_tau: bool = True
    has_threshold: bool = True
    has_surrogate: bool = True
    has_reset: bool = True
    has_decay_input: bool = True
    has_window: bool = True
    fixed_timesteps: bool = False
    fused: bool = False
    macs: int | None = 2
    states: int | None = 1
    unequal: str = ""

    def macs_per_step(self, timesteps: float) -> int:
        """Multiply-accumulate operations of one neuron in one of T time steps."""
        return round(timesteps) if self.macs is None else self.macs

    def state_values(self, timesteps: float) -> int:
        """Values that one neuron keeps from one of T time steps to the next; 0 for a neuron that does not spike."""
        return round(timesteps) if self.states is None else self.states

    def accepts(self, field: str) -> bool:
        """Whether `reset`, `detach_reset`, `decay_input` or `temporal_window` may differ from its default."""
        return {"decay_input": self.has_decay_input, "temporal_window": self.has_window}.get(field, self.has_reset)


@dataclass(frozen=True)
class Neuron:
    """An entry of `NEURONS`.

    Attributes:
        make: A function from a `NeuronConfig` to a torch module, or ``package.module:function``, imported on use.
        traits: Facts about the neuron.
    """

    make: str | Callable[..., Any]
    traits: NeuronTraits


# MACs: lif, clif and relu (its ANN column) are from the CLIF paper's Table 6. The others are counted by the same rule,
# one for each product with a state or a spike: plif decays and resets as lif does, klif also has a slope, if only
# resets, glif multiplies by decay, gated reset, input and reset, alif has a second state that decays, grows and raises
# the threshold, and clif-undecayed saves the two of the decay of m. psn has a row of its matrix, T, and sliding-psn one
# of two inputs. ar-lif decays v and m, multiplies the input by c and a, and the increment of m and the reset by the
# spike; tc-lif couples its compartments in both directions and resets both, and lm-h also leaks in both and resets one.
NEURONS: dict[str, Neuron] = {
    "lif": Neuron("pipeline.neurons.lif.node:make_lif", NeuronTraits("LIF", fused=True)),
    "clif": Neuron(
        "pipeline.neurons.clif.node:make_clif",
        NeuronTraits("CLIF", has_reset=False, has_decay_input=False, fused=True, macs=6, states=2),
    ),
    "plif": Neuron(
        "pipeline.neurons.spikingjelly_neurons:make_plif",
        NeuronTraits("PLIF", has_window=False, unequal="its time constant is learnt, starting from tau"),
    ),
    "klif": Neuron(
        "pipeline.neurons.spikingjelly_neurons:make_klif",
        NeuronTraits("KLIF", has_window=False, macs=3, unequal="it has a learnt slope before the threshold"),
    ),
    "glif": Neuron(
        "pipeline.neurons.fixed_timesteps:make_glif",
        NeuronTraits(
            "GLIF",
            has_tau=False,
            has_threshold=False,
            has_reset=False,
            has_decay_input=False,
            has_window=False,
            fixed_timesteps=True,
            macs=4,
            states=2,
            unequal="it has learnt gates, decays and conductances for each step instead of tau",
        ),
    ),
    "psn": Neuron(
        "pipeline.neurons.fixed_timesteps:make_psn",
        NeuronTraits(
            "PSN",
            has_tau=False,
            has_threshold=False,
            has_reset=False,
            has_decay_input=False,
            has_window=False,
            fixed_timesteps=True,
            macs=None,
            states=None,
            unequal="it has learnt weights between all steps, no reset and no tau, and sees later steps",
        ),
    ),
    "sliding-psn": Neuron(
        "pipeline.neurons.sliding_psn:make_sliding_psn",
        NeuronTraits(
            "Sliding PSN",
            has_tau=False,
            has_threshold=False,
            has_reset=False,
            has_decay_input=False,
            has_window=False,
            macs=2,
            unequal="it has learnt weights of the last two inputs, no reset and no tau",
        ),
    ),
    "ar-lif": Neuron(
        "pipeline.neurons.ar_lif:make_ar_lif",
        NeuronTraits(
            "AR-LIF",
            has_reset=False,
            has_decay_input=False,
            macs=6,
            states=2,
            unequal="its reset and threshold adapt, with two learnt parameters in each layer",
        ),
    ),
    "tc-lif": Neuron(
        "pipeline.neurons.tc_lif:make_tc_lif",
        NeuronTraits(
            "TC-LIF",
            has_tau=False,
            has_reset=False,
            has_decay_input=False,
            macs=4,
            states=2,
            unequal="it has a second compartment, and a learnt coupling in each layer instead of tau",
        ),
    ),
    "lm-h": Neuron(
        "pipeline.neurons.lm_h:make_lm_h",
        NeuronTraits(
            "LM-H",
            has_tau=False,
            has_reset=False,
            has_decay_input=False,
            macs=5,
            states=2,
            unequal="it has a second compartment, learnt leaks and couplings in each layer instead of tau, and a reset "
            "without gradient",
        ),
    ),
    "if": Neuron(
        "pipeline.neurons.spikingjelly_neurons:make_if",
        NeuronTraits(
            "IF",
            has_tau=False,
            has_decay_input=False,
            has_window=False,
            macs=1,
            unequal="it has no leak and therefore no tau",
        ),
    ),
    "relu": Neuron(
        "pipeline.neurons.spikingjelly_neurons:make_relu",
        NeuronTraits(
            "ReLU",
            has_tau=False,
            has_threshold=False,
            has_surrogate=False,
            has_reset=False,
            has_decay_input=False,
            has_window=False,
            macs=4,
            states=0,
            unequal="it is not a spiking neuron: each frame passes alone, and the logits add up over the frames",
        ),
    ),
    "alif": Neuron(
        "pipeline.neurons.control_neurons:make_alif",
        NeuronTraits(
            "ALIF",
            has_reset=False,
            has_decay_input=False,
            macs=5,
            states=2,
            unequal="its threshold adapts, with a time constant of twice tau",
        ),
    ),
    "lif-reset1.8": Neuron(
        "pipeline.neurons.control_neurons:make_lif_deep_reset",
        NeuronTraits(
            "LIF-reset1.8",
            has_reset=False,
            has_decay_input=False,
            fused=True,
            unequal="its reset subtracts 1.8 thresholds",
        ),
    ),
    "clif-detached": Neuron(
        "pipeline.neurons.control_neurons:make_clif_detached",
        NeuronTraits(
            "CLIF-detached",
            has_reset=False,
            has_decay_input=False,
            fused=True,
            macs=6,
            states=2,
            unequal="the gradient through m is cut",
        ),
    ),
    "clif-undecayed": Neuron(
        "pipeline.neurons.control_neurons:make_clif_undecayed",
        NeuronTraits(
            "CLIF-undecayed", has_reset=False, has_decay_input=False, macs=4, states=2, unequal="m does not decay"
        ),
    ),
}
"""Built-in neurons, and those that a program registered (`pipeline.config.registrations`)."""

BUILT_IN_NEURONS = frozenset(NEURONS)

_UNKNOWN = NeuronTraits()
# Of neurons that another program registered, from the folders of its searches and comparisons.
_STORED: dict[str, NeuronTraits] = {}


def traits_of(name: str) -> NeuronTraits:
    """Facts about a neuron; a class from a file may have any trait."""
    return NEURONS[name].traits if name in NEURONS else _STORED.get(name, _UNKNOWN)


def neuron_errors(name: str) -> Iterator[str]:
    """A line if no neuron that is built in or registered has this name."""
    if name not in NEURONS:
        other = "Name a custom class, path/to/file.py:Class; a program can also call pipeline.register_neuron first."
        yield unknown_name("neuron.name", name, NEURONS, other)


def traits_entry(names: Iterable[str]) -> dict[str, Any]:
    """The entry `traits` for the file of a search or comparison: of its neurons that a program registered.

    Which trial is in which folder depends on them, because fields without effect do not identify a trial. Files without
    such neurons have no entry.
    """
    registered = {name: asdict(traits_of(name)) for name in names if name not in BUILT_IN_NEURONS and ":" not in name}
    return {"traits": registered} if registered else {}


def restore_traits(stored: Mapping[str, Mapping[str, Any]]) -> None:
    """Use the traits of a file's entry for neurons that this process did not register itself.

    Raises:
        TypeError: If one is unknown or has another type.
    """
    hints = get_type_hints(NeuronTraits)
    for name, traits in stored.items():
        for trait, value in traits.items():
            if trait in hints and (message := misfit(value, hints[trait], f"traits.{name}.{trait}")) is not None:
                raise TypeError(message)
        _STORED[name] = NeuronTraits(**traits)
