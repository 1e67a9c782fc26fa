"""What makes a comparison of neurons fair: what is equal between them, what could not be, and tuning each alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config.neuron_traits import NEURONS, traits_of
from tune.comparison.arms import Arm
from tune.comparison.plan import Comparison
from tune.rendering.labels import neuron_label, short_value

if TYPE_CHECKING:
    pass


_CONTROLS = ("lif-reset1.8", "clif-detached")


def equality_notes(comparison: Comparison) -> list[str]:
    """What differs between the arms besides the neuron's equation, and which controls are missing, in sentences."""
    neurons = {arm.neuron for arm in comparison.arms}
    said = _pairing(comparison)
    notes = {name: traits_of(name).unequal for name in NEURONS if name in neurons}
    unequal = [f"{neuron_label(name)}: {note}" for name, note in notes.items() if note]
    if unequal:
        said.append(f"Not equal between neurons: {'; '.join(unequal)}.")
    if comparison.tuning.space:
        untuned = [arm.label for arm in comparison.arms if comparison.tuned and not _was_tuned(comparison, arm)]
        said.append(
            f"Each neuron was tuned first, in each setting alike: {' '.join(comparison.tuning.space)}, "
            f"{comparison.tuning.trials or 'all'} trials each, ranked on validation samples"
            f"{f'; not {names}, on which these fields have no effect' if (names := ', '.join(untuned)) else ''}."
        )
    elif {"lif", "clif"} <= neurons and not _has_tau_axis(comparison):
        said.append(
            "All neurons have the same tau; one that it suits better is favoured "
            "(`--fairness tau-grid` searches it for each)."
        )
    if {"lif", "clif"} <= neurons and not set(_CONTROLS) <= neurons:
        said.append(
            "Without the design `controls` this does not tell whether a difference comes from CLIF's gradient or from "
            "its deeper reset: LIF with a reset of 1.8 thresholds has nearly CLIF's spikes."
        )
    return said


def _pairing(comparison: Comparison) -> list[str]:
    """What is the same within a seed, and which arms are an exception."""
    same = "first weights, order of data, augmentation and every setting"
    tuned = " but what was tuned for each" if comparison.tuning.space else ""
    said = [f"Within a seed all neurons have the same {same}{tuned}."]
    for arm in comparison.arms:
        others = {path: value for path, value in arm.changes.items() if path != "neuron.name"}
        if others:
            words = ", ".join(f"{path} = {short_value(value)}" for path, value in others.items())
            said.append(f"{arm.label} has {words} in every setting, whatever the others have.")
        if arm.seed_offset:
            said.append(
                f"{arm.label} is not paired: {arm.seed_offset} is added to its seeds. What is shown is how far two "
                "groups of seeds lie apart by chance."
            )
    return said


def _was_tuned(comparison: Comparison, arm: Arm) -> bool:
    return any(comparison.tuned.get((setting.name, arm.name)) for setting in comparison.settings)


def _has_tau_axis(comparison: Comparison) -> bool:
    return any("neuron.tau" in setting.place for setting in comparison.settings)
