"""spikeloom train: one network, from a frame cache to a run folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.commands.config_arguments import ConfiguredArguments, idle_notes, parse_configured
from pipeline.config.run_config import RunConfig
from pipeline.runs.result import MetricsRow, TimingRow
from preprocess.interrupts import Terminated
from preprocess.paths import default_cache, default_out
from preprocess.terminal.command_line import UsageError
from preprocess.terminal.progress import progress_on_stderr

# What a resumed run may do otherwise than it began.
_RESUME_FLAGS = frozenset({"--resume", "--accept-changed-code", "--cache", "--device", "--threads", "--json"})


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Train a preset or a configuration file, with any field changed, and test it once at the end.

    Example: spikeloom train n-mnist-small --neuron.name clif --binning.timesteps 8

    Go on with an interrupted run: spikeloom train --resume runs/train-n-mnist-small-1

    What a run will take: spikeloom train gesture-vgg11 --dry-run
    """

    resume: Path | None = None
    """Go on with the run of this folder, from its last checkpoint."""
    accept_changed_code: bool = False
    """Continue although the run's own neuron or network file changed since its last checkpoint; environment.json and
    result.json list it."""
    dry_run: bool = False
    """Only compute operations and memory, and train one step of two samples; made-up frames will do for data sets of a
    known form. Writes nothing."""
    json: bool = False
    """Print one JSON object instead of tables: what result.json holds and whether it was there already (reused), or
    what the dry run found."""


def run(words: list[str]) -> None:
    """Train, with a line for each epoch on stderr, then print what the run reached."""
    arguments = parse_configured(Arguments, words, prog="spikeloom train")
    if arguments.resume is not None:
        config, folder, cache = _resumed(arguments, words)
    else:
        if arguments.preset is None and arguments.config is None:
            raise UsageError("expected a preset or --config, found neither. List presets: spikeloom presets")
        config, cache = arguments.fields, default_cache(arguments.cache)
        for line in idle_notes(words, config):
            progress_on_stderr().note(line)
        if arguments.dry_run:
            _dry_run(config, cache, arguments.json)
            return
        folder = default_out(arguments.out, "train", arguments.label)
    from pipeline.commands.tables import print_result
    from pipeline.runtime.distributed import told_group
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
        if (folder / "checkpoint.pt").exists():
            progress.note(f"the last whole epoch is kept. Go on: spikeloom train --resume {folder}")
        raise
    if not told_group().first:
        return
    reused = result == finished
    if reused:
        progress.note(f"{folder}: was finished already; its result is reused and nothing was trained")
    if arguments.json:
        print(json.dumps(result | {"reused": reused}))
    else:
        print_result(result, config, folder)


def _dry_run(config: RunConfig, cache: Path, as_json: bool) -> None:
    from pipeline.dry_run.dry_run import dry_run
    from pipeline.dry_run.table import print_dry_run
    report = dry_run(config, cache, progress_on_stderr())
    if as_json:
        print(json.dumps(report))
    else:
        print_dry_run(report, config)


def _resumed(arguments: Arguments, words: list[str]) -> tuple[Any, Path, Path]:
    from pipeline.config.run_config import override
    from pipeline.evaluation.evaluate_run import run_cache
    from pipeline.runs.run_folder import open_run

    assert arguments.resume is not None
    names = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    if arguments.preset is not None or names - _RESUME_FLAGS:
        raise UsageError(
            "--resume: a run goes on with its own configuration; expected no word but "
            f"{', '.join(sorted(_RESUME_FLAGS - {'--resume'}))}, found: {' '.join(words)}. For a longer run train "
            "anew: spikeloom train --config "
            f"{arguments.resume}/config.json"
        )
    there = open_run(arguments.resume)
    # Where it runs may change, for a machine that lacks the run's own device.
    place = {name: getattr(arguments.fields, name) for name in ("device", "threads") if f"--{name}" in names}
    return override(there.config, place), there.folder, run_cache(there, arguments.cache)


def _epoch_line(row: Mapping[str, Any], timing: TimingRow) -> str:
    parts = [f"epoch {row['epoch']}"]
    for split in ("train", "validation", "test"):
        if row.get(f"{split}_loss") is not None:
            parts.append(f"{split} loss {row[f'{split}_loss']:.4f} accuracy {100 * row[f'{split}_accuracy']:.2f} %")
    parts.append(f"firing rate {row['firing_rate']:.4f}")
    told = f"{timing['epoch_s']:.1f} s, {timing['samples_per_s']:.0f} samples/s"
    return ", ".join([*parts, told, f"waiting for data {100 * timing['waiting_share']:.0f} %"])
