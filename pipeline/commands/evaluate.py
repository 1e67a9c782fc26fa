"""spikeloom evaluate: what a trained network reaches on the test split."""

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
    """Test the selected weights of a run: accuracy by class and by time step, confusion matrix, firing rates.

    Example: spikeloom evaluate runs/train-n-mnist-small-1

    The same weights at other T: spikeloom evaluate runs/train-n-mnist-small-1 --timesteps 4 8 20
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A run folder, as train makes it."""
    cache: Path | None = None
    """The folder of all caches; the run's own, else $SPIKELOOM_CACHE or ./cache, if not given."""
    timesteps: tuple[int, ...] = ()
    """Also the accuracy at these T, of samples binned anew; not for psn and glif, whose weights are bound to T."""
    device: str | None = None
    """Where to compute; the run's own device if not given."""
    accept_changed_code: bool = False
    """Evaluate although the run's own neuron or network file changed since the training; evaluation.json lists it."""
    nir: Path | None = None
    """Also write the network as a NIR graph: LIF and IF with the hard reset, Spiking-VGG, vggsnn and snn5."""
    json: bool = False
    """Print one JSON object instead of tables."""


def run(words: list[str]) -> None:
    """Evaluate, write ``evaluation.json``, ``predictions.npz``, ``confusion.png`` and ``latency.png``, and print."""
    arguments = parse(Arguments, words, prog="spikeloom evaluate")
    nir = _writable(arguments.nir)
    from pipeline.commands.plots import draw_confusion, draw_latency
    from pipeline.commands.tables import print_layers, print_nir, print_result, print_steps
    from pipeline.config.run_config import override
    from pipeline.evaluation.evaluate_run import evaluate_run
    from pipeline.runs.run_folder import open_run
    from preprocess.terminal.progress import Bars, Progress

    there = open_run(arguments.run_dir, accept_changed_code=arguments.accept_changed_code)
    if arguments.device is not None:
        there = replace(there, config=override(there.config, {"device": arguments.device}))
    progress = Bars() if sys.stderr.isatty() else Progress()
    result = evaluate_run(there, arguments.cache, timesteps=arguments.timesteps, nir=nir, progress=progress)
    confusion, latency = there.folder / "confusion.png", there.folder / "latency.png"
    draw_confusion(confusion, result)
    drawn = draw_latency(latency, result)
    if arguments.json:
        print(json.dumps(result))
        return
    print_result(result, there.config, there.folder)
    print_layers(result)
    print_steps(result, there.config)
    print(f"confusion matrix: {confusion}")
    if drawn:
        print(f"accuracy over time: {latency}")
    print_nir(result)


def _writable(nir: Path | None) -> Path | None:
    """The path made absolute; refused before the evaluation where nothing can be written there."""
    if nir is None:
        return None
    nir = nir.expanduser().absolute()
    if nir.is_dir() or not nir.parent.is_dir():
        raise UsageError(f"--nir: expected the name of a file in a folder that is there, found {nir}")
    return nir
