"""The result of a run: the content of `result.json`, and the predictions for every test sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.run_config import RunConfig, fingerprint
from pipeline.data.run_data import RunData
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.wilson_interval import accuracy_interval
from pipeline.runs.result_json import COST_COLUMNS, EvaluatedTest, ResultJson
from preprocess.errors import RunError
from preprocess.files import write_whole


def describe_run(
    config: RunConfig,
    data: RunData,
    rows: Sequence[Mapping[str, Any]],
    timings: Sequence[Mapping[str, Any]],
    epoch: int,
) -> ResultJson:
    """Return the part of `result.json` that does not depend on the test split.

    Args:
        config: Configuration of the run.
        data: Data of the run.
        rows: Rows of ``metrics.jsonl``.
        timings: Rows of ``timings.jsonl``.
        epoch: Epoch of the selected weights.

    Raises:
        RunError: If there is no row for that epoch.
    """
    if not 1 <= epoch <= len(rows):
        raise RunError(
            f"metrics.jsonl: expected a row for epoch {epoch}, which the weights in best.pt are of, found {len(rows)} "
            "rows. The run is still training or was killed. Wait for it, or resume it: spikeloom train --resume DIR"
        )
    chosen = rows[epoch - 1]
    return {
        "fingerprint": fingerprint(config),
        "dataset": config.dataset.name,
        "emulated": data.emulated,
        "split": config.dataset.split,
        "selection": config.selection,
        "timesteps": data.frames.timesteps,
        "train_samples": len(data.splits.train),
        # The samples of an incomplete last batch, which differ by epoch.
        "left_out_per_epoch": 0 if config.keep_last else len(data.splits.train) % config.batch_size,
        "classes": list(data.classes),
        "epoch": epoch,
        "epochs": len(rows),
        "validation_accuracy": chosen["validation_accuracy"],
        "firing_rate": chosen["firing_rate"],
        # Missing in runs of earlier versions.
        **{name: chosen.get(name) for name in COST_COLUMNS},  # type: ignore[typeddict-item]
        "seconds": math.fsum(row.get("epoch_s", 0.0) for row in timings),
    }


def describe_test(evaluation: Evaluation) -> EvaluatedTest:
    """Return the part of `result.json` on the test split, as plain values."""
    low, high = accuracy_interval(evaluation.correct, len(evaluation.labels))
    return {
        "test_loss": evaluation.loss,
        "test_accuracy": evaluation.accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_samples": len(evaluation.labels),
        "correct": evaluation.correct,
        "per_class_accuracy": evaluation.per_class_accuracy(),
        "confusion": evaluation.confusion().tolist(),
        "latency_curve": evaluation.latency_curve(),
        "firing_rate": evaluation.firing_rate,
        "firing_rates": evaluation.firing_rates,
    }


def save_predictions(path: Path, data: RunData, tested: Evaluation) -> None:
    """Write the name, label and summed logits of every test sample, in the order of the split."""
    names = data.frames.samples.name[data.splits.test]

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, name=names, label=tested.labels, logits=tested.logits)

    write_whole(path, write)
