"""All designs by name: those of the paper (`tune.comparison.designs.paper_designs`), and our own controls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import ConfigError
from preprocess.nearest_name import nearest_name
from tune.comparison.arms import Arm, Changes, neuron_arm
from tune.comparison.comparison_plan import Comparison
from tune.comparison.designs.design import (
    CONTROLLED,
    REAL,
    SHORT,
    SHORT_MOST,
    Design,
    neuron_arms,
)
from tune.comparison.designs.paper_designs import paper_designs
from tune.rendering.table import Table


def _own_designs() -> Iterator[Design]:
    for suffix, presets, changes in (
        ("", ("gesture-vgg11",), {"selection": "last"}),
        ("-small", REAL, SHORT),
    ):
        full_size = not suffix
        where = ", on N-MNIST and a CPU" if suffix else ", on DVS-Gesture"
        most = SHORT_MOST if suffix else None
        yield Design(
            f"controls{suffix}",
            f"Ablation of CLIF: neurons with one of its components each{where}",
            presets,
            neuron_arms("lif", "clif", "lif-reset1.8", "clif-detached", "clif-undecayed", "alif"),
            changes=changes,
            most_epochs=most,
            full_size=full_size,
        )
        yield Design(
            f"a-a{suffix}",
            f"LIF against LIF with different seeds: the noise floor{where}",
            presets,
            (neuron_arm("lif"), Arm("LIF, other seeds", {"neuron.name": "lif"}, seed_offset=1000)),
            changes=changes,
            most_epochs=most,
            full_size=full_size,
        )
        yield Design(
            f"robustness{suffix}",
            f"Robustness of the sign of CLIF − LIF to changes of shared settings{where}",
            presets,
            (neuron_arm("lif"), *map(_alone, ("clif", "lif-reset1.8", "clif-detached") if suffix else ("clif",))),
            changes=SHORT if suffix else changes,
            # A folder continues only with its settings in the same order.
            points=_ROBUSTNESS | (_NO_MSE | _PER_STEP if suffix else _JOINT | _NO_MSE),
            seeds=2 if suffix else 0,
            most_epochs=most,
            full_size=full_size,
        )
    # With tau = 5 a potential outlasts the lag, so that the task is learnt several times faster: fewer epochs.
    for suffix, tau, epochs in (("", 2.0, 32), ("-tau5", 5.0, 20)):
        yield Design(
            f"delayed-cue{suffix}-small",
            f"Delayed cue: the class is shown 100 ms before it must be reported, in two time steps; tau = {tau:g}",
            ("cue-small",),
            CONTROLLED,
            changes={
                "dataset.name": "emulated-cue-lag100",
                "neuron.tau": tau,
                "network.width": 0.5,
                "schedule.epochs": epochs,
            },
            most_epochs=2 * epochs,
        )
    yield Design(
        "time-order-small",
        "Importance of temporal order: time steps as they are, shuffled, reversed, or a single frame; N-MNIST on a CPU",
        REAL,
        CONTROLLED,
        {"input.time_order": ("as-is", "shuffled", "reversed", "one-frame")},
        changes=SHORT,
        # A test of all differences needs nine seeds: 144 runs.
        seeds=3,
        most_epochs=SHORT_MOST,
    )


def _alone(neuron: str) -> Arm:
    """The arm of a neuron with one kind of reset and one gradient of it.

    Points that change these change LIF only, as their names say.
    """
    return Arm(neuron, {"neuron.name": neuron, "neuron.reset": "soft", "neuron.detach_reset": False})


_ROBUSTNESS: dict[str, Changes] = {
    "as it is": {},
    "surrogate triangle": {"neuron.surrogate": "triangle"},
    "surrogate sigmoid, alpha 4": {"neuron.surrogate": "sigmoid", "neuron.alpha": 4.0},
    "surrogate atan, alpha 2": {"neuron.surrogate": "atan", "neuron.alpha": 2.0},
    "rectangle half as wide": {"neuron.alpha": 2.0},
    "rectangle twice as wide": {"neuron.alpha": 0.5},
    "LIF with hard reset": {"neuron.reset": "hard"},
    "LIF whose reset has no gradient": {"neuron.detach_reset": True},
}
_NO_MSE: dict[str, Changes] = {"lambda 0": {"loss.mse_weight": 0.0}}
# The other kind of batch norm: the small version has joint batch norm.
_JOINT: dict[str, Changes] = {"batch norm over T·B": {"network.batch_norm": "joint"}}
_PER_STEP: dict[str, Changes] = {"batch norm of each time step": {"network.batch_norm": "per-step"}}

DESIGNS: dict[str, Design] = {design.name: design for design in (*paper_designs(), *_own_designs())}


def find_design(name: str) -> Design:
    """The design with this name.

    Raises:
        ConfigError: If there is none, with the nearest name.
    """
    if name not in DESIGNS:
        near = nearest_name(name, DESIGNS)
        hint = f"Did you mean '{near}'?" if near else "List them: spikeloom compare --list"
        raise ConfigError(f"unknown design '{name}'. {hint}")
    return DESIGNS[name]


def paper_table(name: str) -> Table | None:
    """The table of the paper's results for the design with this name; None for any other comparison."""
    return DESIGNS[name].paper if name in DESIGNS else None


def _count(design: Design) -> int:
    """The number of its runs, including those from which exchanged neurons start."""
    seeds = tuple(range(design.seeds))
    comparison = Comparison(design.name, design.settings({}), design.arms, seeds, Path())
    return len(comparison.configs()) + len(comparison.first_parts())


def list_table() -> Table:
    """The list of all designs."""
    rows = tuple(
        (
            design.name,
            ", ".join(design.presets),
            _seed_count(design),
            str(_count(design)),
            f"{design.summary}; needs {design.needs}" if design.needs else design.summary,
        )
        for design in DESIGNS.values()
    )
    note = (
        "'2 of 11 needed': with fewer seeds than a test of all its differences needs, a design describes differences "
        "but cannot show that they are significant."
    )
    return Table("Designs", ("design", "presets", "seeds", "runs", "description"), rows, "llrrl", note)


def _seed_count(design: Design) -> str:
    needed = design.seeds_needed
    return str(design.seeds) if design.seeds >= needed else f"{design.seeds} of {needed} needed"
