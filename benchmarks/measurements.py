"""Measurements that a benchmark hands to the program that started it, one line of JSON each, as they are made."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

VARIABLE = "SPIKELOOM_MEASUREMENTS"
"""The environment variable with the path of the file; without it, nothing is written."""


def measured(name: str, value: float, unit: str = "", note: str = "") -> None:
    """Append a measurement; what is there survives if the process is killed.

    Args:
        name: Stable name, by which a promise refers to it.
        value: A finite number; another one is left out, so that its promise counts as not measured.
        unit: Unit for the table.
        note: The figure that it was derived from, for the table.
    """
    path = os.environ.get(VARIABLE)
    if path and math.isfinite(value):
        with Path(path).open("a") as file:
            file.write(json.dumps({"name": name, "value": value, "unit": unit, "note": note}) + "\n")


def read_measurements(path: Path) -> list[dict[str, Any]]:
    """Measurements in the order in which they were made, the last of each name; an unfinished last line is ignored."""
    if not path.is_file():
        return []
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found[entry["name"]] = entry
    return list(found.values())
