"""The process of the part `trials`: a search over an objective that only reports a number.

``python -m benchmarks.soak.objective_script FOLDER TRIALS LOG``; every run of the objective appends a line to LOG.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tune import search


def report_value(values: dict[str, float], report: Callable[[float], None], log: str) -> None:
    """The objective: note that this trial ran, and report its value."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, f"{values['x']!r}\n".encode())
    finally:
        os.close(handle)
    report(values["x"])


def main(folder: Path, trials: int, log: Path) -> None:
    """Run the search."""
    objective = partial(report_value, log=str(log))
    search(objective=objective, space={"x": "0.1:1"}, samples=trials, epochs=1, out=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
