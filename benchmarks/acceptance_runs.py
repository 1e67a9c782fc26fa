"""The parts of the GPU acceptance that use the commands: ``python -m benchmarks.acceptance_runs PART --out FOLDER``.

training    raw recordings to a trained and tested network: N-MNIST if --recordings is given, else emulated digits
search      two trials at once with half of the GPU each
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from benchmarks.measurements import measured
from pipeline.presets.registry import find_preset
from pipeline.runs.run_folder import open_run
from preprocess.files import read_json, read_lines
from tune.search.search_plan import read_search
from tune.trials.ledger import Ledger

_SAMPLES_PER_CLASS = 40


@dataclass(frozen=True)
class Arguments:
    """Run a part; what exists of recordings and caches in its folder is used again.

    Example: python -m benchmarks.acceptance_runs training --out runs/acceptance
    """

    part: Annotated[Literal["training", "search"], tyro.conf.Positional]
    out: Path
    """Folder of recordings, caches and runs."""
    recordings: Path | None = None
    """Folder of N-MNIST's recordings."""
    epochs: int | None = None
    """Number of epochs; default: that of the preset."""
    tiny: bool = False
    """Use the CPU and few recordings, to check that the part works."""

    @property
    def preset(self) -> str:
        return "digits-small" if self.recordings is None else "n-mnist-small"

    @property
    def cache(self) -> Path:
        return self.out / "cache"


def main(arguments: Arguments) -> None:
    """Run the part; its measurements are written by `benchmarks.measurements.measured`."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    prepare(arguments)
    {"training": train, "search": search}[arguments.part](arguments)


def prepare(arguments: Arguments) -> None:
    """Preprocess the recordings, after emulating them if none are given."""
    config = find_preset(arguments.preset).config
    source = arguments.recordings
    if source is None:
        source = arguments.out / "recordings"
        count = 6 if arguments.tiny else _SAMPLES_PER_CLASS
        spikeloom("emulate", "digits", "--samples-per-class", count, "--out", source)
    argv: list[object] = [config.dataset.name, "--source", source, "--cache", arguments.cache]
    argv += ["--timesteps", config.binning.timesteps, "--downsample", config.binning.downsample]
    spikeloom("preprocess", *argv)


def train(arguments: Arguments) -> None:
    """Train and test a run: accuracy, samples per second, and the share of the time in which it waited for data."""
    folder = arguments.out / "run"
    shutil.rmtree(folder, ignore_errors=True)
    device = "cpu" if arguments.tiny else "cuda"
    argv = ["--neuron.name", "clif", "--device", device, "--cache", arguments.cache, "--out", folder]
    spikeloom("train", arguments.preset, *argv, *_epochs(arguments))
    run = open_run(folder)
    assert run.result is not None
    measured("accuracy", run.result["test_accuracy"], "", f"{run.result['test_samples']} test samples")
    # The first epoch compiles kernels.
    timings = run.timings[1:] or run.timings
    speed = statistics.median(row["samples_per_s"] for row in timings)
    measured("samples-per-s", speed, "1/s", f"{run.result['seconds']:.0f} s for {run.result['epochs']} epochs")
    measured("waiting", statistics.median(row["waiting_share"] for row in timings))
    measured("peak-memory", max(row["peak_memory_mb"] for row in timings), "MB")


def search(arguments: Arguments) -> None:
    """Run two trials at once: how many ended on the device, and how much of the shorter one they overlapped."""
    folder = arguments.out / "search"
    shutil.rmtree(folder, ignore_errors=True)
    shares = ("--gpus-per-trial", 0) if arguments.tiny else ("--gpus-per-trial", 0.5)
    argv = ["--space", "neuron.tau=1.5,2.5", "--search", "grid", "--scheduler", "none", "--final-seeds", 0]
    argv += ["--concurrent", 2, "--cpus-per-trial", 1, *shares, "--cache", arguments.cache, "--out", folder]
    spikeloom("tune", arguments.preset, *argv, *_epochs(arguments))
    measure_trials(folder, "cpu" if arguments.tiny else "cuda")


def measure_trials(folder: Path, device: str) -> None:
    """Measure the two trials of a search: how many ended on a device of this type, and their overlap."""
    ledger, spans, done = Ledger(folder), [], 0
    for config in read_search(folder).configs():
        own = ledger.trial_folder(config)
        rows = read_lines(own / "timings.jsonl")
        spans.append((rows[0]["ended"] - rows[0]["epoch_s"], rows[-1]["ended"]))
        record, environment = ledger.read_done(config), read_json(own / "environment.json") or {}
        done += record is not None and record["status"] == "done" and environment["device"].startswith(device)
    (start, end), (other_start, other_end) = spans
    shorter = min(end - start, other_end - other_start)
    together = max(0.0, min(end, other_end) - max(start, other_start))
    measured("done", float(done), "", f"on {device}")
    measured("overlap", together / shorter, "", f"{together:.1f} s of {shorter:.1f} s")


def _epochs(arguments: Arguments) -> list[object]:
    return [] if arguments.epochs is None else ["--schedule.epochs", arguments.epochs]


def spikeloom(*argv: object) -> None:
    """Run a command as users do; what it prints stays in the output, and an error ends this program with its code."""
    command = [sys.executable, "-m", "tune", *map(str, argv)]
    print("spikeloom", *argv, flush=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
