"""spikeloom presets: the named configurations."""

from __future__ import annotations

import json
from dataclasses import dataclass

from preprocess.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """List the named configurations that train, tune and compare take.

    Example: spikeloom presets
    """

    json: bool = False
    """Print one JSON object, preset name to configuration, instead of a table."""


def run(words: list[str]) -> None:
    """Print every preset."""
    from pipeline.config import to_dict
    from pipeline.presets import PRESETS

    arguments = parse(Arguments, words, prog="spikeloom presets")
    if arguments.json:
        print(json.dumps({name: to_dict(preset.config) for name, preset in PRESETS.items()}))
        return
    _print_table()


def _print_table() -> None:
    from rich.table import Table

    from pipeline.presets import PRESETS
    from preprocess.console import console

    table = Table(title="Presets; the paper's test accuracies in per cent, none of them reproduced here")
    for name in ("preset", "data set", "network", "T", "epochs", "selection", "paper", "what it is"):
        table.add_column(name, overflow="fold", justify="right" if name in ("T", "epochs") else "left")
    for name, preset in PRESETS.items():
        config = preset.config
        timesteps, epochs = str(config.binning.timesteps), str(config.schedule.epochs)
        places = (config.dataset.name, config.network.name, timesteps, epochs, config.selection)
        table.add_row(name, *places, preset.paper or "", preset.summary)
    console().print(table)
