"""spikeloom evaluate: what a trained network reaches on the test split."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """Test the selected weights of a run: accuracy by class, confusion matrix, firing rate of every layer.

    Example: spikeloom evaluate runs/train-n-mnist-small-1
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """A run folder, as train makes it."""
    cache: Path | None = None
    """The folder of all caches; the run's own, else $SPIKELOOM_CACHE or ./cache, if not given."""
    json: bool = False
    """Print one JSON object instead of tables."""


def run(words: list[str]) -> None:
    """Evaluate, write ``evaluation.json``, ``predictions.npz`` and ``confusion.png``, and print."""
    arguments = parse(Arguments, words, prog="spikeloom evaluate")
    from pipeline.pictures import draw_confusion
    from pipeline.retest import retest_run
    from pipeline.runs import open_run
    from pipeline.tables import print_layers, print_result
    from preprocess.progress import Bars, Progress

    there = open_run(arguments.run_dir)
    result = retest_run(there, arguments.cache, progress=Bars() if sys.stderr.isatty() else Progress())
    picture = there.folder / "confusion.png"
    draw_confusion(picture, result)
    if arguments.json:
        print(json.dumps(result))
        return
    print_result(result, there.config, there.folder)
    print_layers(result)
    print(f"confusion matrix: {picture}")
