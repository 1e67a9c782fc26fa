"""The types of what a run writes.

They are `ResultJson` for ``result.json``, `EvaluationJson` for ``evaluation.json``, `EnvironmentJson` for
``environment.json``, `MetricsRow` and `TimingRow` for a line of ``metrics.jsonl`` and ``timings.jsonl``. `ResultJson`
and `EnvironmentJson` are checked where a run is opened.

They are dictionaries with known keys, so that files are read and written as plain JSON: `train_run` returns a
`ResultJson`, and `Run.result` is one. Keys of class `total=False` or marked `NotRequired` are missing without a test
split, or in the files of older versions.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class CostColumns(TypedDict):
    """The costs of one inference in a row of ``metrics.jsonl``; see `pipeline.cost.inference_costs`."""

    energy_uj: float
    sparse_energy_uj: float
    memory_energy_uj: float
    effective_macs: float
    effective_acs: float
    connection_sparsity: float
    footprint_bytes: int


COST_COLUMNS = tuple(CostColumns.__annotations__)
"""Tables of trials have these columns, and searches can have them as objectives."""


class StoredCosts(TypedDict, total=False):
    """`CostColumns` in files: None for a split that was not measured, missing in files of earlier versions."""

    energy_uj: float | None
    sparse_energy_uj: float | None
    memory_energy_uj: float | None
    effective_macs: float | None
    effective_acs: float | None
    connection_sparsity: float | None
    footprint_bytes: int | None


class EnergyResult(TypedDict):
    """The costs of one inference; see `pipeline.cost.inference_costs`."""

    macs_per_step: float
    acs_per_step: float
    timesteps: float
    per_step_uj: float
    per_inference_uj: float
    macs_once: NotRequired[float]
    sparse_uj: NotRequired[float]
    memory_uj: NotRequired[float]
    effective_macs: NotRequired[float]
    effective_acs: NotRequired[float]
    connection_sparsity: NotRequired[float]
    footprint_bytes: NotRequired[int]


class NirResult(TypedDict):
    """Where a network was written as a NIR graph, and how many test predictions are the same when it is read again."""

    file: str
    time_step_s: float
    nodes: int
    same_predictions: NotRequired[int]


class EvaluatedTest(TypedDict, total=False):
    """What the selected weights reach on the test split; accuracies, intervals and firing rates are fractions."""

    test_loss: float
    test_accuracy: float
    test_accuracy_low: float
    test_accuracy_high: float
    test_samples: int
    correct: int
    per_class_accuracy: list[float | None]
    confusion: list[list[int]]
    latency_curve: list[float] | None
    firing_rate: float
    firing_rates: dict[str, float]
    energy: EnergyResult


class ResultJson(EvaluatedTest, StoredCosts):
    """What a finished run reached: the content of ``result.json``."""

    fingerprint: str
    dataset: str
    emulated: bool
    split: str
    selection: str
    timesteps: int
    train_samples: NotRequired[int]
    left_out_per_epoch: NotRequired[int]
    classes: list[str]
    epoch: int
    epochs: int
    validation_accuracy: float | None
    seconds: float
    micro_batch: NotRequired[int | None]
    accepted_changed_code: NotRequired[list[dict[str, str]]]


class EvaluationJson(ResultJson):
    """What `spikeloom evaluate` found: the content of ``evaluation.json``."""

    accuracy_by_timesteps: NotRequired[dict[str, float]]
    nir: NotRequired[NirResult]


class MetricsRow(StoredCosts):
    """One epoch in ``metrics.jsonl``: reproducible values. Values are None for a split that was not measured."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    test_loss: NotRequired[float]
    test_accuracy: NotRequired[float]
    learning_rate: float
    firing_rate: float


class TimingRow(TypedDict):
    """One epoch in ``timings.jsonl``: values that depend on the machine."""

    epoch: int
    ended: NotRequired[float]
    epoch_s: float
    samples_per_s: float
    waiting_share: float
    peak_memory_mb: NotRequired[float]


class CustomFile(TypedDict):
    """The file of a custom class in ``environment.json``: hashes of it, its imports and the values that it uses."""

    file: str
    sha256: str
    imports: NotRequired[dict[str, str]]
    values: NotRequired[dict[str, str]]


class AcceptedChange(TypedDict):
    """A file of custom code that changed, as `pipeline.runs.changed_code` records it."""

    file: str
    trained: str
    found: str


class EarlierEnvironment(TypedDict, total=False):
    """What is read of the environments of earlier epochs, in ``environment.json``."""

    micro_batch: int | None


class EnvironmentJson(TypedDict, total=False):
    """What is read of ``environment.json``; it has more entries."""

    device: str
    threads: int
    processes: int
    precision: str
    micro_batch: int | None
    configured_neuron: bool | None
    neurons: list[str]
    outside: dict[str, CustomFile] | None
    earlier: list[EarlierEnvironment]
    accepted_changed_code: list[AcceptedChange]
    cache: str
    frames: str
    data: str | None
