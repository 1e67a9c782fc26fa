"""The result of a run as a Python object with typed attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunResult:
    """The results of the selected weights of a run: the content of ``result.json`` or ``evaluation.json``.

    Accuracies, intervals and firing rates are fractions. The attributes from `test_loss` to `energy` are None or empty
    if the data set has no test split or the run was not evaluated on it.

    Attributes:
        folder: The run folder.
        fingerprint: Twelve hexadecimal digits that identify what the run computes.
        dataset: Name of the data set in the cache.
        emulated: Whether the recordings are emulated.
        split: Name of the split.
        selection: validation, paper or last.
        timesteps: T; that of the longest sample if it varies.
        classes: Names of the classes, by class number.
        epoch: The epoch whose weights are selected.
        epochs: Number of epochs trained.
        validation_accuracy: Validation accuracy of the selected epoch; None without validation samples.
        firing_rate: Spikes per neuron and time step on the test samples, or without them on the validation samples.
        energy_uj: Estimated energy of one inference on the validation samples, in µJ, by the rule of Table 6.
        sparse_energy_uj: The same if a zero input costs nothing (`pipeline.cost.inference_costs`).
        memory_energy_uj: The same with memory accesses.
        effective_macs: NeuroBench's effective MACs of one inference on the validation samples.
        effective_acs: NeuroBench's effective ACs.
        connection_sparsity: Share of the weights that are zero.
        footprint_bytes: Memory of the network's parameters and buffers.
        seconds: Training time.
        train_samples: Number of training samples.
        left_out_per_epoch: Number of training samples that each epoch drops, because they do not fill a batch.
        micro_batch: Samples per forward pass; smaller than the batch if gradients are accumulated.
        test_loss: Mean loss over the test samples.
        test_accuracy: Test accuracy.
        test_accuracy_low: Lower end of its 95 % interval.
        test_accuracy_high: Upper end of its 95 % interval.
        test_samples: Number of test samples.
        correct: Number of test samples that are classified correctly.
        per_class_accuracy: Test accuracy by class number; None for a class without test samples.
        confusion: Confusion matrix; rows are true classes, columns are predictions.
        latency_curve: Accuracy from the first t time steps, t = 1 .. T; None if outputs depend on later frames.
        firing_rates: Firing rate on the test samples by the name of the spiking layer.
        energy: Operations, energies and NeuroBench's metrics of one inference on the test samples.
        accuracy_by_timesteps: Accuracy by T, for the T passed to `evaluate`.
        nir: File and size of the exported NIR graph.
        accepted_changed_code: Files of custom code that changed since the training, as accepted by the user.
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
    sparse_energy_uj: float | None = None
    memory_energy_uj: float | None = None
    effective_macs: float | None = None
    effective_acs: float | None = None
    connection_sparsity: float | None = None
    footprint_bytes: int | None = None
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
        """From the content of the file; unknown keys of later versions are ignored."""
        names = {item.name for item in dataclasses.fields(RunResult)} - {"folder"}
        known = {name: value for name, value in values.items() if name in names}
        known["classes"] = tuple(values["classes"])
        by_steps = values.get("accuracy_by_timesteps", {})
        known["accuracy_by_timesteps"] = {int(steps): accuracy for steps, accuracy in by_steps.items()}
        return RunResult(folder=folder, **known)
