"""The result of a run as an object with typed fields, for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunResult:
    """What the selected weights of a run reach: the content of ``result.json`` or ``evaluation.json``.

    Accuracies, intervals and firing rates are fractions. Fields that begin with `test_`, and `correct` to `energy`, are
    None or empty where the data set has no test split or the run did not evaluate it.

    Attributes:
        folder: The run folder.
        fingerprint: Twelve hexadecimal digits of what the run computes.
        dataset: Name of the cache.
        emulated: Whether the recordings are emulated.
        split: Which samples are test samples.
        selection: validation, paper or last.
        timesteps: T, the longest sample's where it varies.
        classes: Names, by class number.
        epoch: The epoch whose weights are selected.
        epochs: Number of epochs trained.
        validation_accuracy: Of the selected epoch; None where nothing selects.
        firing_rate: Spikes per neuron and time step, on the test samples, else on those that select.
        energy_uj: Estimated energy of one inference on the validation samples, in µJ.
        seconds: Training time.
        train_samples: Number of training samples.
        left_out_per_epoch: Of them, how many fill no batch in an epoch.
        micro_batch: Samples per forward pass; smaller than the batch where gradients are accumulated.
        test_loss: Mean over the test samples.
        test_accuracy: Of the test samples.
        test_accuracy_low: Lower end of its 95 % interval.
        test_accuracy_high: Upper end.
        test_samples: Number of test samples.
        correct: Test samples that are classified correctly.
        per_class_accuracy: By class number; None for a class without test samples.
        confusion: Rows are true classes, columns are predictions.
        latency_curve: Accuracy of the first t time steps, t = 1 .. T; None where outputs depend on later frames.
        firing_rates: By the name of the spiking layer.
        energy: Operations and energy of one inference on the test samples.
        accuracy_by_timesteps: Accuracy at each other T that `evaluate` was asked for.
        nir: Where the network was written as a NIR graph.
        accepted_changed_code: Files that changed since the training and were accepted.
    """

    folder: Path
    fingerprint: str
    dataset: str
    emulated: bool
    split: str
    selection: str
    timesteps: int
    classes: tuple[str, ...]
    epoch: int
    epochs: int
    validation_accuracy: float | None
    firing_rate: float
    seconds: float
    energy_uj: float | None = None
    train_samples: int | None = None
    left_out_per_epoch: int | None = None
    micro_batch: int | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    test_accuracy_low: float | None = None
    test_accuracy_high: float | None = None
    test_samples: int = 0
    correct: int | None = None
    per_class_accuracy: list[float | None] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    latency_curve: list[float] | None = None
    firing_rates: dict[str, float] = field(default_factory=dict)
    energy: dict[str, float] | None = None
    accuracy_by_timesteps: dict[int, float] = field(default_factory=dict)
    nir: dict[str, Any] | None = None
    accepted_changed_code: list[dict[str, str]] = field(default_factory=list)

    @staticmethod
    def of(folder: Path, values: Mapping[str, Any]) -> RunResult:
        """From the content of the file; keys of later versions are left out."""
        names = {item.name for item in dataclasses.fields(RunResult)} - {"folder"}
        known = {name: value for name, value in values.items() if name in names}
        known["classes"] = tuple(values["classes"])
        by_steps = values.get("accuracy_by_timesteps", {})
        known["accuracy_by_timesteps"] = {int(steps): accuracy for steps, accuracy in by_steps.items()}
        return RunResult(folder=folder, **known)
