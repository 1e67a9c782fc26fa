"""The verbs of `python -m preprocess`: from recordings to caches."""

from __future__ import annotations

from preprocess.terminal.command_line import Verb, run_main

VERBS = {
    "download": Verb("fetch a published data set and check it", "preprocess.commands.download"),
    "emulate": Verb("film moving shapes, digits or cues with an emulated event camera", "preprocess.commands.emulate"),
    "inspect": Verb("show what a recording, event store or frame cache holds", "preprocess.commands.inspect_recording"),
    "preprocess": Verb("recordings -> event store and frame caches", "preprocess.commands.preprocess"),
    "verify": Verb("prove that a cache is whole and belongs to its recordings", "preprocess.commands.verify"),
}


def main() -> int:
    """Run one verb; the exit code."""
    return run_main(VERBS, prog="python -m preprocess", description=__doc__ or "")
