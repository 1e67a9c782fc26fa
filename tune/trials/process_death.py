"""Why a trial's process died, in a few words, from the text in which Ray reports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Ray's name for the death of a worker that its memory monitor killed.
_OUT_OF_MEMORY = "OutOfMemoryError"
# What Ray 2 writes of an actor, with a number for the reason and a list of guesses, and the same in plain words.
_PLAIN = (
    (_OUT_OF_MEMORY, "Ray killed it, because the machine's memory was nearly full"),
    ("its node has died", "its machine was lost"),
    ("NodeDiedError", "its machine was lost"),
    (
        "The actor is temporarily unavailable",
        "or its machine or the network did: it cannot be reached",
    ),
    ("its worker process has died", "it was killed, ran out of memory or crashed"),
)
_MOST_LETTERS = 300
LOG = "died.txt"
"""The file in a trial's folder with Ray's texts of all deaths."""


@dataclass(frozen=True)
class ProcessDeath:
    """The death of a trial's process.

    Attributes:
        text: Ray's text; "" if it recorded none.
    """

    text: str

    @property
    def out_of_memory(self) -> bool:
        """Whether Ray killed it for its memory."""
        return _OUT_OF_MEMORY in self.text

    @property
    def cause(self) -> str:
        """The cause in one line: plain words for the known ones, otherwise the last line of Ray's text."""
        known = (words for sign, words in _PLAIN if sign in self.text)
        return next(known, self.last_line or "Ray recorded no cause")

    @property
    def last_line(self) -> str:
        """The beginning of the last line of Ray's text."""
        return " ".join(self.text.strip().rpartition("\n")[2].split())[:_MOST_LETTERS]


def read_death(trial: Any) -> ProcessDeath:
    """The death of the process of one of Ray Tune's trials."""
    try:
        return ProcessDeath(Path(trial.error_file).read_text("utf-8", errors="replace"))
    except (TypeError, OSError):
        return ProcessDeath("")
