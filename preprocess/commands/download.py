"""spikeloom download: the published data sets, in the form that preprocess reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.datasets.registry import DOWNLOADS
from preprocess.nearest_name import nearest_name
from preprocess.terminal.command_line import UsageError, parse


@dataclass(frozen=True)
class Arguments:
    """Download a data set from the addresses that tonic and torchvision use, and check it.

    Run the same command again to resume an interrupted download.

    DVS128-Gesture is published cut into samples, with times in whole ms. IBM's original recordings cannot be
    downloaded by a program: the command prints how to get them, and checks them if they are in the folder.

    Example: spikeloom download n-mnist --out data/n-mnist
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="{" + ",".join(DOWNLOADS) + "}")]
    """The data set."""
    out: Path
    """The folder to download to."""


def run(argv: list[str]) -> None:
    """Download what is missing, then print the next command."""
    arguments = parse(Arguments, argv, prog="spikeloom download")
    if arguments.dataset not in DOWNLOADS:
        known = ", ".join(DOWNLOADS)
        near = nearest_name(arguments.dataset, DOWNLOADS)
        hint = f"Did you mean '{near}'?" if near else "See: spikeloom download --help"
        raise UsageError(f"expected a data set ({known}), found '{arguments.dataset}'. {hint}")
    from preprocess.datasets.download import download
    from preprocess.datasets.dvs_gesture import check_raw_gestures
    from preprocess.terminal.progress import progress_on_stderr

    out = arguments.out.expanduser().absolute()
    if arguments.dataset == "dvs-gesture":
        print(check_raw_gestures(out))
        if (out / "DvsGesture").is_dir() or (out / "DvsGesture.tar.gz").is_file():
            return
        print("\nDownloading tonic's version instead: 1,077 and 264 samples, with times in whole ms.")
    for path in download(arguments.dataset, out, notify=progress_on_stderr().note):
        print(path)
    print(f"Next: spikeloom preprocess {arguments.dataset} --source {out}")
