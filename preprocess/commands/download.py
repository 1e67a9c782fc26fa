"""spikeloom download: the published data sets, in the form that preprocess takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from preprocess.terminal.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """Fetch a data set from where tonic finds it, and check it; run again, it goes on where it stopped.

    DVS128-Gesture comes cut into samples, with times in whole ms; for IBM's own recordings it says how to get them,
    and checks them once they are there.

    Example: spikeloom download n-mnist --out data/n-mnist
    """

    dataset: Annotated[Literal["dvs-gesture", "cifar10-dvs", "n-mnist"], tyro.conf.Positional]
    """What to fetch."""
    out: Path
    """The folder for it."""


def run(words: list[str]) -> None:
    """Fetch what is missing, then print the command that goes on with it."""
    arguments = parse(Arguments, words, prog="spikeloom download")
    from preprocess.datasets.download import check_raw_gestures, download
    from preprocess.terminal.progress import progress_on_stderr

    out = arguments.out.expanduser().absolute()
    if arguments.dataset == "dvs-gesture":
        print(check_raw_gestures(out))
        if (out / "DvsGesture").is_dir() or (out / "DvsGesture.tar.gz").is_file():
            return
        print("\nWhat tonic publishes instead, cut into 1,077 and 264 samples with times in whole ms:")
    for path in download(arguments.dataset, out, tell=progress_on_stderr().note):
        print(path)
    print(f"Go on with: spikeloom preprocess {arguments.dataset} --source {out}")
