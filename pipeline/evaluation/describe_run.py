"""What came of a run: the content of `result.json`, and the predictions of every test sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.run_config import RunConfig, fingerprint
from pipeline.data.run_data import RunData
from pipeline.evaluation.evaluate import Evaluation
from pipeline.runs.result_json import ResultJson
from preprocess.errors import RunError
from preprocess.files import write_whole


def describe_run(
    config: RunConfig,
    data: RunData,
    rows: Sequence[Mapping[str, Any]],
    timings: Sequence[Mapping[str, Any]],
    epoch: int,
) -> ResultJson:
    """What `result.json` says besides the test split: what was run, and what the selected epoch measured.

    Args:
        config: The run's.
        data: What it read.
        rows: Of ``metrics.jsonl``.
        timings: Of ``timings.jsonl``.
        epoch: Whose weights are selected.

    Raises:
        RunError: If there is no row of that epoch.
    """
    if not 1 <= epoch <= len(rows):
        raise RunError(
            f"metrics.jsonl: expected a row of epoch {epoch}, whose weights best.pt holds, found {len(rows)} rows. The "
            "run is still training, or was killed: wait for it, or go on with it: spikeloom train --resume DIR"
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
        # A last batch that is not full is left out, of other samples each epoch.
        "left_out_per_epoch": len(data.splits.train) % config.batch_size,
        "classes": list(data.classes),
        "epoch": epoch,
        "epochs": len(rows),
        "validation_accuracy": chosen["validation_accuracy"],
        "firing_rate": chosen["firing_rate"],
        # Runs of earlier versions have none.
        "energy_uj": chosen.get("energy_uj"),
        "seconds": math.fsum(row.get("epoch_s", 0.0) for row in timings),
    }


def save_predictions(path: Path, data: RunData, tested: Evaluation) -> None:
    """Write name, label and summed logits of every test sample, in the order of the split."""
    names = data.frames.samples.name[data.splits.test]

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, name=names, label=tested.labels, logits=tested.logits)

    write_whole(path, write)
