"""Validation of finished runs: their files are complete, belong to the run and agree about its test samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint
from pipeline.runs.run_folder import Run
from preprocess.errors import RunError
from tune.comparison.sample_predictions import check_predictions

_AGAIN = "Delete the run folder, then continue: spikeloom compare --resume DIR"

Test = Callable[[Any], bool]


def check_run(run: Run, config: RunConfig) -> None:
    """Refuse a run whose results are not valid.

    Args:
        run: The run as read from disk.
        config: The configuration that it should have.

    Raises:
        RunError: If one of its files lacks a value, has an impossible one, or contradicts another file.
    """
    result: Mapping[str, Any] = run.result or {}
    path = run.folder / "result.json"
    lacks = [name for name in _NEEDED if result.get(name) is None]
    if lacks:
        raise RunError(f"{path}: expected values of {', '.join(lacks)}, found none. {_AGAIN}")
    if result["fingerprint"] != fingerprint(config):
        found = result["fingerprint"]
        raise RunError(f"{path}: expected the result of run {fingerprint(config)}, found that of {found}. {_AGAIN}")
    _check_values(path, result, {**_NEEDED, **_MAY_LACK})
    _check_counts(path, result)
    _check_metrics(run.folder / "metrics.jsonl", run.metrics, result["epochs"])
    _check_timings(run.folder / "timings.jsonl", run.timings)
    check_predictions(run.folder, result["test_samples"], result["correct"])


def _is_number(value: Any) -> bool:
    # Comparisons, because there is no float of a very long integer; NaN fails them.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_amount(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(name, str) for name in value)


def _is_square(value: Any) -> bool:
    """Whether it is a square matrix of counts."""
    rows = value if isinstance(value, list) else []
    return len(rows) > 0 and all(
        isinstance(row, list) and len(row) == len(rows) and all(map(_is_count, row)) for row in rows
    )


def _is_rates(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_amount, value.values()))


def _is_energy(value: Any) -> bool:
    return isinstance(value, dict) and _is_amount(value.get("per_inference_uj", 0))


_NUMBER: tuple[str, Test] = "a number", _is_number
_AMOUNT: tuple[str, Test] = "a number of 0 or more", _is_amount
_FRACTION: tuple[str, Test] = "a number from 0 to 1", _is_fraction
_COUNT: tuple[str, Test] = "a whole number of 0 or more", _is_count

# The expected kind of each value: its description and a test.
_NEEDED: Mapping[str, tuple[str, Test]] = {
    "fingerprint": ("a name", lambda value: isinstance(value, str)),
    "emulated": ("true or false", lambda value: isinstance(value, bool)),
    "classes": ("the classes' names", _is_names),
    "epochs": ("a whole number of 1 or more", lambda value: _is_count(value) and value > 0),
    "test_accuracy": _FRACTION,
    "test_samples": ("a whole number of 1 or more", lambda value: _is_count(value) and value > 0),
    "correct": _COUNT,
    "confusion": ("a square matrix of counts", _is_square),
    "firing_rate": _AMOUNT,
    "firing_rates": ("a rate for each layer", _is_rates),
    "seconds": _AMOUNT,
}
_MAY_LACK: Mapping[str, tuple[str, Test]] = {
    "energy": ("the energy of an inference", _is_energy),
    "energy_uj": _AMOUNT,
    "test_loss": _NUMBER,
    "validation_accuracy": _FRACTION,
}


def _check_values(path: Path, values: Mapping[str, Any], expected: Mapping[str, tuple[str, Test]]) -> None:
    for name, (kind, test) in expected.items():
        value = values.get(name)
        if value is not None and not test(value):
            raise _damaged(path, f"{name}: expected {kind}, found {value!r:.80}")


def _check_counts(path: Path, result: Mapping[str, Any]) -> None:
    """Check that accuracy, counts and confusion matrix agree."""
    samples, correct, confusion = result["test_samples"], result["correct"], result["confusion"]
    if abs(result["test_accuracy"] - correct / samples) > 1e-9:
        found = f"{result['test_accuracy']} for {correct} of {samples} samples"
        raise _damaged(path, f"test_accuracy: expected correct / test_samples, found {found}")
    if len(confusion) != len(result["classes"]):
        found = f"{len(confusion)} for {len(result['classes'])} classes"
        raise _damaged(path, f"confusion: expected a row for each class, found {found}")
    counted = sum(map(sum, confusion)), sum(row[k] for k, row in enumerate(confusion))
    if counted != (samples, correct):
        found = f"{counted[1]} of {counted[0]}"
        raise _damaged(path, f"confusion: expected {correct} correct of {samples} samples, found {found}")


def _check_metrics(path: Path, rows: list[dict[str, Any]], epochs: int) -> None:
    if [row["epoch"] for row in rows] != list(range(1, epochs + 1)):
        raise _damaged(path, f"expected the rows of epochs 1 to {epochs}, found {_shown(row['epoch'] for row in rows)}")
    for row in rows:
        expected = {name: _FRACTION if name.endswith("_accuracy") else _NUMBER for name in row}
        _check_values(path, row, expected)


def _check_timings(path: Path, rows: list[dict[str, Any]]) -> None:
    """Check the timings; a run that starts from another begins later, and those of another machine may be lost."""
    epochs = [row["epoch"] for row in rows]
    if not all(map(_is_count, epochs)) or epochs != sorted(set(epochs)):
        raise _damaged(path, f"expected a row for each epoch in turn, found {_shown(epochs)}")
    for row in rows:
        if not _is_amount(row.get("epoch_s")):
            raise _damaged(path, f"epoch_s: expected {_AMOUNT[0]}, found {row.get('epoch_s')!r:.80}")


def _shown(epochs: Iterable[Any]) -> str:
    return f"{', '.join(map(str, epochs)) or 'none':.80}"


def _damaged(path: Path, what: str) -> RunError:
    return RunError(f"{path}: {what}. {_AGAIN}")
