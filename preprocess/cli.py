"""The commands of `python -m preprocess`: from recordings to caches."""

from __future__ import annotations

from preprocess.terminal.command_line import Command, run_main

COMMANDS = {
    "download": Command("download a published data set and check it", "preprocess.commands.download"),
    "emulate": Command(
        "record moving shapes, digits or cues with an emulated event camera", "preprocess.commands.emulate"
    ),
    "inspect": Command(
        "show the contents of a recording, event store or frame cache", "preprocess.commands.inspect_recording"
    ),
    "preprocess": Command("convert recordings to an event store and frame caches", "preprocess.commands.preprocess"),
    "verify": Command("check that a cache is complete and matches its recordings", "preprocess.commands.verify"),
}


def main() -> int:
    """Run one command; return the exit code."""
    return run_main(COMMANDS, prog="python -m preprocess", description=__doc__ or "")
