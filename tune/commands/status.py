"""spikeloom status: how a search or comparison stands, read from its files alone."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.terminal.command_line import parse

_EVERY_S = 2.0


@dataclass(frozen=True)
class Arguments:
    """Show how far a search or comparison is, from another shell, while it runs or afterwards.

    Example: spikeloom status runs/tune-n-mnist-small-1
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Of a search or comparison."""
    watch: bool = False
    """Show it anew every two seconds, until nothing runs there."""
    json: bool = False
    """Print one JSON object instead."""


def run(words: list[str]) -> None:
    """Print one table and a few lines."""
    arguments = parse(Arguments, words, prog="spikeloom status")
    from tune.commands.status_view import read_status

    folder = arguments.folder.expanduser().absolute()
    while True:
        status = read_status(folder)
        if arguments.json:
            print(json.dumps(status.describe()))
            return
        if arguments.watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        status.table().print()
        for line in status.lines():
            print(line, flush=True)
        if not (arguments.watch and status.alive):
            return
        time.sleep(_EVERY_S)
