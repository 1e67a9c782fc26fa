"""spikeloom evaluate: test a trained network."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.terminal.command_line import UsageError, parse


@dataclass(frozen=True)
class Arguments:
    """Test the selected weights of a run: accuracy by class and time step, confusion matrix, firing rates.

    Example: spikeloom evaluate runs/train-n-mnist-small-1

    Test the same weights at other T: spikeloom evaluate runs/train-n-mnist-small-1 --timesteps 4 8 20
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A run folder, as written by train."""
    cache: Path | None = None
    """Folder of all caches (default: that of the run, or else $SPIKELOOM_CACHE, or ./cache)."""
    timesteps: tuple[int, ...] = ()
    """Also test at these T, with the samples binned again, or images repeated; not for psn and glif, whose weights fit
    a single T."""
    device: str | None = None
    """Device to compute on (default: that of the run)."""
    accept_changed_code: bool = False
    """Evaluate although a custom neuron or network file changed since the training. evaluation.json records it."""
    nir: Path | None = None
    """Also write the network as a NIR graph to this file: LIF or IF with hard reset, in a network without max
    pooling."""
    json: bool = False
    """Print one JSON object instead of tables."""


def run(argv: list[str]) -> None:
    """Evaluate, write ``evaluation.json``, ``predictions.npz``, ``confusion.png`` and ``latency.png``, and print."""
    arguments = parse(Arguments, argv, prog="spikeloom evaluate")
    nir = _writable(arguments.nir)
    from pipeline.commands.plots import draw_confusion, draw_latency
    from pipeline.commands.tables import print_layers, print_nir, print_result, print_steps
    from pipeline.config.run_config import override
    from pipeline.evaluation.evaluate_run import evaluate_run
    from pipeline.runs.run_folder import open_run
    from preprocess.terminal.progress import Bars, Progress

    opened = open_run(arguments.run_dir, accept_changed_code=arguments.accept_changed_code)
    if arguments.device is not None:
        opened = replace(opened, config=override(opened.config, {"device": arguments.device}))
    progress = Bars() if sys.stderr.isatty() else Progress()
    result = evaluate_run(opened, arguments.cache, timesteps=arguments.timesteps, nir=nir, progress=progress)
    confusion, latency = opened.folder / "confusion.png", opened.folder / "latency.png"
    draw_confusion(confusion, result)
    drawn = draw_latency(latency, result)
    if arguments.json:
        print(json.dumps(result))
        return
    print_result(result, opened)
    print_layers(result)
    print_steps(result, opened)
    print(f"confusion matrix: {confusion}")
    if drawn:
        print(f"accuracy over time: {latency}")
    print_nir(result)


def _writable(nir: Path | None) -> Path | None:
    """Return the absolute path; raises before the evaluation if it cannot be written."""
    if nir is None:
        return None
    nir = nir.expanduser().absolute()
    if nir.is_dir() or not nir.parent.is_dir():
        raise UsageError(f"--nir: expected a file in an existing folder, found {nir}. Create the folder first.")
    return nir
