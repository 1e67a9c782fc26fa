"""The commands of `python -m pipeline`: from caches to trained and evaluated networks."""

from __future__ import annotations

from preprocess.terminal.command_line import Verb, run_main

VERBS = {
    "presets": Verb("list the named configurations", "pipeline.commands.presets"),
    "train": Verb("train one network", "pipeline.commands.train"),
    "evaluate": Verb("evaluate a trained network on its test split", "pipeline.commands.evaluate"),
    "predict": Verb("classify new recordings with a trained network", "pipeline.commands.predict"),
    "runs": Verb("list the runs below a folder", "pipeline.commands.runs"),
}


def main() -> int:
    """Run one command; return the exit code."""
    return run_main(VERBS, prog="python -m pipeline", description=__doc__ or "")
