"""spikeloom train: one network, from a frame cache to a run folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.command_line import ConfiguredArguments, parse_configured
from preprocess.command_line import Terminated, UsageError, default_cache, default_out


@dataclass(frozen=True)
class Arguments(ConfiguredArguments):
    """Train a preset or a configuration file, with any field changed, and test it once at the end.

    Example: spikeloom train n-mnist-small --neuron.name clif --binning.timesteps 8

    Go on with an interrupted run: spikeloom train --resume runs/train-n-mnist-small-1
    """

    resume: Path | None = None
    """Go on with the run of this folder, from its last checkpoint."""


def run(words: list[str]) -> None:
    """Train, with a line for each epoch on stderr, then print what the run reached."""
    arguments = parse_configured(Arguments, words, prog="spikeloom train")
    if arguments.resume is not None:
        config, folder, cache = _resumed(arguments, words)
    else:
        if arguments.preset is None and arguments.config is None:
            raise UsageError("expected a preset or --config, found neither. List presets: spikeloom presets")
        config, cache = arguments.fields, default_cache(arguments.cache)
        folder = default_out(arguments.out, "train", arguments.label)
    from pipeline.tables import print_result
    from pipeline.training import train_run
    from preprocess.progress import Bars, Progress

    progress = Bars() if sys.stderr.isatty() else Progress()
    try:
        result = train_run(
            config, folder, cache, on_epoch=lambda row: progress.note(_epoch_line(row)), progress=progress
        )
    except (KeyboardInterrupt, Terminated):
        if (folder / "checkpoint.pt").exists():
            progress.note(f"the last whole epoch is kept. Go on: spikeloom train --resume {folder}")
        raise
    print_result(result, config, folder)


def _resumed(arguments: Arguments, words: list[str]) -> tuple[Any, Path, Path]:
    from pipeline.retest import run_cache
    from pipeline.runs import open_run

    assert arguments.resume is not None
    names = {word.partition("=")[0] for word in words if word.startswith("--")}
    if arguments.preset is not None or names - {"--resume", "--cache"}:
        raise UsageError(
            f"--resume: a run goes on with its own configuration; expected no other word than --cache, found: "
            f"{' '.join(words)}. For a longer run train anew: spikeloom train --config {arguments.resume}/config.json"
        )
    there = open_run(arguments.resume)
    return there.config, there.folder, run_cache(there, arguments.cache)


def _epoch_line(row: dict[str, Any]) -> str:
    parts = [f"epoch {row['epoch']}"]
    for split in ("train", "validation", "test"):
        if row.get(f"{split}_loss") is not None:
            parts.append(f"{split} loss {row[f'{split}_loss']:.4f} accuracy {100 * row[f'{split}_accuracy']:.2f} %")
    return ", ".join([*parts, f"firing rate {row['firing_rate']:.4f}"])
