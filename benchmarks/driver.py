"""The work of a search's driver with many trials: ``python -m benchmarks.driver``.

The trials are synthetic: folders with the real layout and random metrics, because only the driver's work is timed.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from pipeline.config.run_config import RunConfig, override, to_dict
from preprocess.files import write_json, write_lines
from tune.search.random_and_grid import sample_space
from tune.search.search_findings import write_findings, write_tables
from tune.search.search_plan import Search, SearchData, read_search
from tune.search.tpe import TpeTrials
from tune.space.space import parse_space
from tune.trials.ledger import Ledger

_SPACE = ("binning.timesteps=4,8,12", "neuron.tau=1.1:8", "neuron.name=lif,clif", "optimiser.learning_rate=0.01:1:log")
_EPOCHS = 20


@dataclass(frozen=True)
class Arguments:
    """Time the driver's work.

    Example: python -m benchmarks.driver --trials 200 1000 5000
    """

    trials: tuple[int, ...] = (200, 1000)


def main(arguments: Arguments) -> None:
    """Print a row for each number of trials."""
    heads = ("trials", "write tables", "write tables and figures", "read search.json", "one TPE proposal")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for count in arguments.trials:
        with tempfile.TemporaryDirectory() as folder:
            cells = _measure(Path(folder), count)
        print(f"| {count:,} | {' | '.join(f'{seconds:.2f} s' for seconds in cells)} |")


def _measure(folder: Path, count: int) -> list[float]:
    config = override(RunConfig(), {"schedule.epochs": _EPOCHS, "selection": "validation"})
    space = parse_space(_SPACE, config)
    points = tuple(sample_space(space, config, count, 0))
    data = SearchData(emulated=True, train=1000, validation=100)
    search = Search("made-up", config, _SPACE, space.fields, points, "none", folder, data, "tpe", count + 1)
    search.write(folder)
    rng = np.random.default_rng(0)
    for trial in search.configs():
        _write_trial(folder, trial, rng)
    works = (
        lambda: write_tables(search, folder),
        lambda: write_findings(search, folder),
        lambda: read_search(folder),
        lambda: TpeTrials(replace(search, samples=count + 1), folder)._propose(count),
    )
    found = []
    for work in works:
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def _write_trial(folder: Path, config: RunConfig, rng: np.random.Generator) -> None:
    ledger = Ledger(folder)
    own = ledger.trial_folder(config)
    own.mkdir(parents=True)
    write_json(own / "config.json", to_dict(config))
    accuracies = np.sort(rng.random(_EPOCHS))
    rows = [
        {"epoch": k + 1, "validation_accuracy": float(a), "validation_loss": 1.0, "firing_rate": 0.1, "energy_uj": 5.0}
        for k, a in enumerate(accuracies)
    ]
    write_lines(own / "metrics.jsonl", rows)
    timings = [{"epoch": k + 1, "epoch_s": 1.0, "ended": 1e9 + k, "peak_memory_mb": 900.0} for k in range(_EPOCHS)]
    write_lines(own / "timings.jsonl", timings)
    ledger.end(config, "done")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
