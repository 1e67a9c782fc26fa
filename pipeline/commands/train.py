"""spikeloom train: train one network and write a run folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.commands.config_arguments import (
    ConfiguredArguments,
    given_fields,
    inactive_notes,
    parse_configured,
    refuse_beside_resume,
)
from pipeline.config.run_config import RunConfig
from pipeline.runs.result_json import MetricsRow, TimingRow
from pipeline.runs.run_folder import default_out
from preprocess.default_cache_folder import default_cache
from preprocess.interrupts import Terminated
from preprocess.terminal.command_line import UsageError
from preprocess.terminal.progress import progress_on_stderr

# The options that do not change what a resumed run computes.
_BESIDE_RESUME = frozenset({"--accept-changed-code", "--cache", "--device", "--threads", "--json"})


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Train a network with a preset (see: spikeloom presets) or a configuration file, then test it once.

    Example: spikeloom train n-mnist-small --neuron.name clif --binning.timesteps 8

    Resume an interrupted run: spikeloom train --resume runs/train-n-mnist-small-1

    Estimate time and memory first: spikeloom train gesture-vgg11 --dry-run
    """

    MAIN_OPTIONS: ClassVar[tuple[str, ...]] = (
        "neuron.name",
        "neuron.tau",
        "binning.timesteps",
        "schedule.epochs",
        "batch_size",
        "seed",
        "config",
        "cache",
        "out",
        "resume",
        "dry_run",
    )

    resume: Path | None = None
    """Resume the run in this folder from its last checkpoint, with its saved configuration."""
    accept_changed_code: bool = False
    """Resume although a custom neuron or network file changed since the last checkpoint. environment.json and
    result.json record the change."""
    dry_run: bool = False
    """Do not train: report operations, memory and the time of one training step on two samples. Writes nothing. Works
    without a cache for the known data sets."""
    json: bool = False
    """Print one JSON object instead of tables: the content of result.json and whether it already existed (reused), or
    the report of the dry run."""


def run(argv: list[str]) -> None:
    """Train with a line for each epoch on stderr, then print the result."""
    arguments = parse_configured(Arguments, argv, prog="spikeloom train")
    if arguments.resume is not None:
        config, folder, cache = _resumed(arguments, argv)
    else:
        if arguments.preset is None and arguments.config is None:
            raise UsageError("expected a preset or --config, found neither. List the presets: spikeloom presets")
        config, cache = arguments.fields, default_cache(arguments.cache)
        for line in inactive_notes(argv, config):
            progress_on_stderr().note(line)
        if arguments.dry_run:
            _dry_run(config, cache, arguments.json)
            return
        folder = default_out(arguments.out, "train", arguments.label)
    from pipeline.commands.tables import print_result
    from pipeline.runs.run_folder import open_run
    from pipeline.runtime.distributed import group_from_env
    from pipeline.training.train_run import train_run
    from preprocess.files import read_json
    from preprocess.terminal.progress import Bars, Progress

    progress = Bars() if sys.stderr.isatty() else Progress()

    def report_epoch(row: MetricsRow, timing: TimingRow) -> None:
        progress.note(_epoch_line(row, timing))

    finished = read_json(folder / "result.json")
    try:
        result = train_run(
            config,
            folder,
            cache,
            accept_changed_code=arguments.accept_changed_code,
            on_epoch=report_epoch,
            progress=progress,
        )
    except (KeyboardInterrupt, Terminated):
        if (folder / "config.json").exists():
            where = "after the last complete epoch" if (folder / "checkpoint.pt").exists() else "in the first epoch"
            progress.note(f"stopped {where}. Resume: spikeloom train --resume {folder}")
        raise
    if not group_from_env().first:
        return
    reused = result == finished
    if reused:
        progress.note(f"{folder}: already finished; its result is reused and nothing is trained")
    if arguments.json:
        print(json.dumps(result | {"reused": reused}))
    else:
        print_result(result, open_run(folder))


def _dry_run(config: RunConfig, cache: Path, as_json: bool) -> None:
    from pipeline.dry_run.dry_run import dry_run
    from pipeline.dry_run.table import print_dry_run

    report = dry_run(config, cache, progress_on_stderr())
    if as_json:
        print(json.dumps(report))
    else:
        print_dry_run(report, config)


def _resumed(arguments: Arguments, argv: list[str]) -> tuple[RunConfig, Path, Path]:
    """Return the configuration, folder and cache of the run to resume."""
    from pipeline.config.registrations import require_registered
    from pipeline.config.run_config import flatten, override
    from pipeline.evaluation.evaluate_run import run_cache
    from pipeline.runs.run_folder import open_run

    assert arguments.resume is not None
    longer = f"To train longer, start a new run: spikeloom train --config {arguments.resume}/config.json"
    refuse_beside_resume(argv, _BESIDE_RESUME, next_step=longer)
    run = open_run(arguments.resume)
    if run.result is None:
        require_registered(run.folder, [run.config])
    # The device may differ, for a machine that does not have the run's original device.
    place = {path: value for path, value in flatten(arguments.fields).items() if path in given_fields(argv)}
    return override(run.config, place), run.folder, run_cache(run, arguments.cache)


def _epoch_line(row: Mapping[str, Any], timing: TimingRow) -> str:
    parts = [f"epoch {row['epoch']}"]
    for split in ("train", "validation", "test"):
        if row.get(f"{split}_loss") is not None:
            parts.append(f"{split} loss {row[f'{split}_loss']:.4f} accuracy {100 * row[f'{split}_accuracy']:.2f} %")
    parts.append(f"firing rate {row['firing_rate']:.4f}")
    speed = f"{timing['epoch_s']:.1f} s, {timing['samples_per_s']:.0f} samples/s"
    return ", ".join([*parts, speed, f"waiting for data {100 * timing['waiting_share']:.0f} %"])
