"""Trials of a ledger with made-up epochs, and a search of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig, override, to_dict
from preprocess.files import write_json, write_lines
from tune.search.search_plan import Search, SearchData
from tune.trials.ledger import Ledger


def rows(*accuracies: float | None, loss: float = 1.0) -> list[dict[str, Any]]:
    return [
        {"epoch": k + 1, "validation_accuracy": accuracy, "validation_loss": loss - k / 100, "firing_rate": k / 10}
        for k, accuracy in enumerate(accuracies)
    ]


def begin(ledger: Ledger, config: RunConfig, metrics: list[dict[str, Any]]) -> Path:
    folder = ledger.trial_folder(config)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", to_dict(config))
    write_lines(folder / "metrics.jsonl", metrics)
    write_lines(folder / "timings.jsonl", [{"epoch": row["epoch"], "epoch_s": 1.5} for row in metrics])
    return folder


def search_of(cache: Path, taus: tuple[float, ...]) -> Search:
    config = override(RunConfig(), {"schedule.epochs": 3, "dataset.name": "emulated-gestures"})
    trials = tuple({"neuron.tau": tau} for tau in taus)
    data = SearchData(emulated=True, train=90, validation=10)
    return Search("gestures-small", config, ("neuron.tau=1.5:5",), ("neuron.tau",), trials, "asha", cache, data)
