"""Sentences on the fairness of a comparison: what the neurons share, what differs, and how they were tuned."""

from __future__ import annotations

from pipeline.config.neurons import traits_of
from tune.comparison.arms import Arm
from tune.comparison.comparison_plan import Comparison
from tune.rendering.labels import neuron_label, short_value

# LIF with CLIF's reset alone, and CLIF without its gradient: either separates the two.
_CONTROLS = frozenset({"lif-reset1.8", "clif-detached"})


def equality_notes(comparison: Comparison) -> list[str]:
    """Sentences on what differs between the arms besides the neuron's equation, and which controls are missing."""
    neurons = dict.fromkeys(arm.neuron for arm in comparison.arms).keys()
    notes = _pairing(comparison)
    differences = {name: traits_of(name).unequal for name in neurons}
    unequal = [f"{neuron_label(name)}: {note}" for name, note in differences.items() if note]
    if unequal:
        notes.append(f"Differences between neurons that cannot be equalised: {'; '.join(unequal)}.")
    if comparison.tuning.space:
        untuned = [arm.label for arm in comparison.arms if comparison.tuned and not _was_tuned(comparison, arm)]
        trials = f"{comparison.tuning.trials} trials" if comparison.tuning.trials else "the complete grid"
        notes.append(
            f"Each neuron was tuned first, by the same protocol in every setting: {' '.join(comparison.tuning.space)}, "
            f"{trials} for each neuron, ranked by validation accuracy"
            f"{f'; except {names}, on which these fields have no effect' if (names := ', '.join(untuned)) else ''}."
        )
    elif {"lif", "clif"} <= neurons and not _has_tau_axis(comparison):
        notes.append(
            "All neurons have the same tau, which may suit one better than another (`--fairness tau-grid` tunes it for "
            "each neuron)."
        )
    if {"lif", "clif"} <= neurons and not _CONTROLS & neurons:
        notes.append(
            "These runs cannot tell whether a difference comes from CLIF's gradient or from its deeper reset, because "
            "LIF with a reset of 1.8 thresholds has nearly the same spikes as CLIF: the design `controls` can."
        )
    return notes


def _pairing(comparison: Comparison) -> list[str]:
    """Sentences on what is the same within a seed, and on arms that are exceptions."""
    tuned = " except those tuned for each neuron" if comparison.tuning.space else ""
    notes = [f"Within a seed all neurons share initial weights, shuffling, augmentation and all settings{tuned}."]
    for arm in comparison.arms:
        others = {path: value for path, value in arm.changes.items() if path != "neuron.name"}
        if others:
            values = ", ".join(f"{path} = {short_value(value)}" for path, value in others.items())
            notes.append(f"{arm.label} uses {values} in every setting, regardless of the other neurons.")
        if arm.seed_offset:
            notes.append(
                f"'{arm.label}' is not paired: {arm.seed_offset} is added to its seeds. The difference shows how far "
                "two groups of seeds are apart by chance."
            )
    return notes


def _was_tuned(comparison: Comparison, arm: Arm) -> bool:
    return any(comparison.tuned.get((setting.name, arm.name)) for setting in comparison.settings)


def _has_tau_axis(comparison: Comparison) -> bool:
    return any("neuron.tau" in setting.place for setting in comparison.settings)
