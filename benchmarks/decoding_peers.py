"""Decode a file with one of the peers, in an interpreter that has them: a child process of `benchmarks.decoding`.

Reads lines of JSON, {"peer", "format", "path", "save"}, and answers each with one: {"seconds", "processor"}, the latter
of all threads, or {"error"}. Each peer is called as its documentation shows, and its events stay as they come; with
`save`, they are written there as columns, so that they can be compared. An empty request is answered with the versions
of the peers. Needs only NumPy and them.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PACKAGES = {
    "faery": "faery",
    "expelliarmus": "expelliarmus",
    "evt3": "evt3",
    "evlib": "evlib",
    "dv-processing": "dv_processing",
    "aedat": "aedat",
}


def faery(path: str, format: str) -> Any:
    import faery

    if format == "es":
        return list(faery.events_stream_from_file(path))
    if format == "aedat4":
        with faery.aedat.Decoder(path) as decoder:
            return [packet for track, packet in decoder if track.data_type == "events"]
    # The fallbacks are for headers without size and version.
    decoder = faery.dat.Decoder(path, (1, 1), "dat2") if format == "dat" else faery.evt.Decoder(path, None, None)
    with decoder:
        parts = list(decoder)
    return [part["events"] if isinstance(part, dict) else part for part in parts]


def expelliarmus(path: str, format: str) -> Any:
    from expelliarmus import Wizard

    return [Wizard(encoding=format).read(path)]


def evt3(path: str, format: str) -> Any:
    import evt3

    return evt3.decode_file(path)


def evlib(path: str, format: str) -> Any:
    import evlib

    return evlib.load_events(path, sort=False).collect()


def dv_processing(path: str, format: str) -> Any:
    import dv_processing as dv

    recording = dv.io.MonoCameraRecording(path)
    parts = []
    while (batch := recording.getNextEventBatch()) is not None:
        parts.append(batch.numpy())
    return parts


def aedat(path: str, format: str) -> Any:
    import aedat

    return [packet["events"] for packet in aedat.Decoder(path) if "events" in packet]


READERS: dict[str, tuple[Callable[[str, str], Any], tuple[str, ...]]] = {
    "faery": (faery, ("evt2", "evt3", "dat", "aedat4", "es")),
    "expelliarmus": (expelliarmus, ("evt2", "evt3", "dat")),
    "evt3": (evt3, ("evt3",)),
    "evlib": (evlib, ("evt2", "evt3", "aedat4")),
    "dv-processing": (dv_processing, ("aedat4",)),
    "aedat": (aedat, ("aedat4",)),
}


def columns(decoded: Any) -> dict[str, np.ndarray]:
    """The events of any peer as columns t, x, y, p."""
    if hasattr(decoded, "polarity"):
        names = dict(zip("txyp", ("timestamp", "x", "y", "polarity"), strict=True))
        return {name: np.asarray(getattr(decoded, theirs)) for name, theirs in names.items()}
    if hasattr(decoded, "to_numpy"):
        frame = {
            name: decoded[theirs].to_numpy() for name, theirs in zip("txyp", ("t", "x", "y", "polarity"), strict=True)
        }
        frame["t"] = frame["t"].astype("timedelta64[us]").astype(np.int64)
        return frame | {"p": frame["p"] > 0}
    events = np.concatenate(decoded)
    fields = events.dtype.names or ()

    def field(*names: str) -> np.ndarray:
        return events[next(name for name in names if name in fields)]

    return {
        "t": field("t", "timestamp"),
        "x": field("x"),
        "y": field("y"),
        "p": field("p", "on", "polarity", "payload"),
    }


def answer(request: dict[str, str]) -> dict[str, Any]:
    read = READERS[request["peer"]][0]
    start, processor = time.perf_counter(), time.process_time()
    decoded = read(request["path"], request["format"])
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    if request.get("save"):
        np.savez(request["save"], **columns(decoded))
    return {"seconds": seconds, "processor": processor}


def available() -> dict[str, str]:
    """The versions of the peers that can be imported."""
    found = {}
    for name, package in PACKAGES.items():
        try:
            __import__(package)
            found[name] = importlib.metadata.version(name)
        except ImportError:
            continue
    return found


def keep_freed_memory() -> None:
    """As `preprocess.freed_memory`, so that the peers have what we have."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-4, 0)
        mallopt(-1, -1)


def main() -> None:
    keep_freed_memory()
    answers = sys.stdout
    sys.stdout = sys.stderr  # What the peers print is no answer.
    for line in sys.stdin:
        request = json.loads(line)
        try:
            given = answer(request) if request else available()
        except Exception as error:  # peers raise errors of many kinds
            given = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(given) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
