"""Accuracy and cost of the presets for CPUs: ``python -m benchmarks.small_presets n-mnist-small --cache CACHE``.

Each run is a separate `spikeloom train`. Finished runs are only read, so a table can be printed again or extended.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline.config.run_config import override
from pipeline.presets.registry import find_preset
from pipeline.runs.run_folder import Run, open_run

HEADS = ("preset", "neuron", "T", "split", "selection", "test, %", "each seed", "epoch, s", "samples/s", "waiting")
HEADS += ("memory, MB", "longest run, s")


@dataclass(frozen=True)
class Arguments:
    """Train a preset with some neurons, T and seeds, and print the results.

    Example: python -m benchmarks.small_presets gestures-hard-small --timesteps 4 8 16 --cache cache
    """

    preset: Annotated[str, tyro.conf.Positional]
    cache: Path = Path("cache")
    out: Path = Path("runs/small-presets")
    """Folder of the run folders, which are named by preset, neuron, T and seed."""
    neurons: tuple[str, ...] = ("lif", "clif")
    timesteps: tuple[int, ...] = ()
    """Values of T; default: that of the preset."""
    seeds: int = 3
    at_once: int = 1
    """Number of parallel runs, which share the processors; their times are then not meaningful."""
    fields: tuple[str, ...] = ()
    """Further arguments for spikeloom train, such as --dataset.name=objects."""


def main(arguments: Arguments) -> None:
    """Train what is missing, then print the table."""
    config = find_preset(arguments.preset).config
    timesteps = arguments.timesteps or (config.binning.timesteps,)
    groups = [(neuron, steps) for neuron in arguments.neurons for steps in timesteps]
    seeds = range(config.seed, config.seed + arguments.seeds)
    runs = [(neuron, steps, seed) for seed in seeds for neuron, steps in groups]
    with ThreadPoolExecutor(arguments.at_once) as pool:
        done = dict(zip(runs, pool.map(lambda run: _train(arguments, *run), runs), strict=True))
    print(f"| {' | '.join(HEADS)} |")
    print("|" + "---|" * len(HEADS))
    for neuron, steps in groups:
        cells = _cells([done[neuron, steps, seed] for seed in seeds])
        print(f"| {arguments.preset} | {neuron} | {steps} | {' | '.join(cells)} |")


def _train(arguments: Arguments, neuron: str, steps: int, seed: int) -> Run:
    folder = arguments.out / f"{arguments.preset}-{neuron}-T{steps}-{seed}"
    threads = max(1, len(os.sched_getaffinity(0)) // arguments.at_once)
    changes: dict[str, Any] = {"neuron.name": neuron, "binning.timesteps": steps, "seed": seed, "threads": threads}
    override(find_preset(arguments.preset).config, changes)
    argv = [part for path, value in changes.items() for part in (f"--{path}", str(value))]
    argv += ["--cache", str(arguments.cache), "--out", str(folder), *arguments.fields]
    command = [sys.executable, "-m", "pipeline", "train", arguments.preset, *argv]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\n{ended.stderr}")
    return open_run(folder)


def _cells(runs: list[Run]) -> Iterator[str]:
    results = [run.result for run in runs if run.result is not None]
    reached = [100 * result["test_accuracy"] for result in results]
    spread = f" ± {statistics.stdev(reached):.2f}" if len(reached) > 1 else ""
    timings = [row for run in runs for row in run.timings]
    yield runs[0].config.dataset.split_title
    yield runs[0].config.selection
    yield f"{statistics.mean(reached):.2f}{spread} of {results[0]['test_samples']}"
    yield ", ".join(f"{value:.2f}" for value in reached)
    yield f"{statistics.median(row['epoch_s'] for row in timings):.1f}"
    yield f"{statistics.median(row['samples_per_s'] for row in timings):.0f}"
    yield f"{100 * statistics.median(row['waiting_share'] for row in timings):.1f} %"
    yield f"{max(row['peak_memory_mb'] for row in timings):.0f}"
    yield f"{max(result['seconds'] for result in results):.0f}"


if __name__ == "__main__":
    main(tyro.cli(Arguments))
