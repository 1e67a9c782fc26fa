"""The commands of `python -m pipeline`: from caches to trained and evaluated networks."""

from __future__ import annotations

from preprocess.terminal.command_line import Command, run_main

COMMANDS = {
    "presets": Command("list the named configurations", "pipeline.commands.presets"),
    "train": Command("train one network", "pipeline.commands.train"),
    "evaluate": Command("evaluate a trained network on its test split", "pipeline.commands.evaluate"),
    "predict": Command("classify new recordings with a trained network", "pipeline.commands.predict"),
    "runs": Command("list the runs below a folder", "pipeline.commands.runs"),
}


def main() -> int:
    """Run one command; return the exit code."""
    return run_main(COMMANDS, prog="python -m pipeline", description=__doc__ or "")
