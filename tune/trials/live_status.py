"""The status of a running search: `status.json` in its folder, for `spikeloom status` and other programs."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import time
from pathlib import Path
from typing import Any, Required, TypedDict

from preprocess.errors import RunError
from preprocess.files import read_json, write_json
from tune.trials.progress_view import TrialView

FILE = "status.json"
# A working driver writes at least this often, unless its machine is very busy.
STALE_S = 60.0
_EVERY_S = 2.0


class RunningTrialJson(TypedDict):
    """A running trial in `status.json`."""

    trial: str
    epoch: int
    validation_accuracy: float | None
    seconds: float
    node: str | None


class StepsJson(TypedDict):
    """Time steps per sample that are trained, and that all trials need."""

    done: int
    all: int


class LiveStatusJson(TypedDict, total=False):
    """What is read of `status.json`; it has more entries."""

    state: str
    updated: Required[str]
    host: str
    process: int
    trials: dict[str, int]
    running: list[RunningTrialJson]
    steps: StepsJson
    left_s: float | None


class LiveStatus:
    """Writes the state of a view, at most every two seconds."""

    def __init__(self, folder: Path, view: TrialView, train_samples: int | None = None) -> None:
        """`train_samples`: the number of training samples of each trial; None if it differs."""
        self._path, self._view = folder / FILE, view
        self._next, self._ended = 0.0, False
        self._samples = train_samples

    def update(self, *, now: bool = False) -> None:
        """Write it if it is due, or at once. A full disk is not reported here, but where files are essential."""
        if now or time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_S
            with contextlib.suppress(RunError):
                write_json(self._path, self._describe())

    def close(self) -> None:
        """Write that nothing is running any more."""
        self._ended = True
        self.update(now=True)

    def _describe(self) -> dict[str, Any]:
        view = self._view
        done, of = view.budget()
        return {
            "state": "ended" if self._ended else "running",
            "updated": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "process": os.getpid(),
            "trials": view.counts(),
            "running": [] if self._ended else view.running(),
            "best": view.best(),
            "steps": {"done": done, "all": of},
            "samples_x_t": None if self._samples is None else {"done": self._samples * done, "all": self._samples * of},
            "elapsed_s": round(view.elapsed(), 1),
            "left_s": None if self._ended or (left := view.left()) is None else round(left, 1),
        }


def driver_lives(live: dict[str, Any]) -> bool:
    """Whether the process that wrote a status is running, as far as another process on its machine can tell."""
    if live.get("host") != platform.node() or live.get("process") in (None, os.getpid()):
        return False
    try:
        os.kill(int(live["process"]), 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def read_live_status(folder: Path) -> dict[str, Any] | None:
    """The last status that a driver wrote, with its `age_s`; None if there is none, or it is damaged."""
    try:
        found = read_json(folder / FILE, LiveStatusJson)
        if found is None:
            return None
        age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(found["updated"])
    except (RunError, KeyError, ValueError, TypeError):
        return None
    return found | {"age_s": age.total_seconds()}
