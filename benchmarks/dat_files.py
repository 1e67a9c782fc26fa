"""Prophesee ``.dat`` files of given events."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from preprocess.events import Events


def write_dat(path: Path, events: Events) -> None:
    """Write events, whose times must fit 32 bits, with the header that states the size of their sensor."""
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events.t
    words[:, 1] = events.p.astype(np.uint32) << 28 | events.y.astype(np.uint32) << 14 | events.x
    header = f"% Data file\n% Version 2\n% Height {events.height}\n% Width {events.width}\n".encode() + bytes([12, 8])
    path.write_bytes(header + words.tobytes())
