"""A run folder: the configuration of a run, its measurements and its result; every file is complete or absent.

config.json        the configuration, as accepted by `train --config`
environment.json   versions, machine, device, threads, and the fingerprint of the frames
metrics.jsonl      one line per epoch, reproducible values only
timings.jsonl      one line per epoch, values that depend on the machine
checkpoint.pt      the state after the last epoch; best.pt the selected weights
result.json        the result of the selected weights; predictions.npz the summed logits of every test sample
tensorboard/       the metrics again, for TensorBoard
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.config.run_config import RunConfig, load_config
from pipeline.runs.result_json import EnvironmentJson, ResultJson
from preprocess.errors import RunError
from preprocess.files import read_json, read_lines
from preprocess.folder_lock import LOCK, lock_folder

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Run:
    """The content of a run folder.

    Attributes:
        folder: Its path.
        config: Its configuration.
        metrics: One row per epoch; see `pipeline.runs.result_json.MetricsRow`.
        timings: One row per epoch; see `pipeline.runs.result_json.TimingRow`.
        result: Its result; None until it is finished.
        environment: Versions, machine and device of the run.
        accept_changed_code: Whether its network may be loaded although its custom neuron or network file changed since
            the training; see `pipeline.runs.changed_code`.
    """

    folder: Path
    config: RunConfig
    metrics: list[dict[str, Any]]
    timings: list[dict[str, Any]]
    result: ResultJson | None
    environment: dict[str, Any]
    accept_changed_code: bool = False


def open_run(folder: Path, *, accept_changed_code: bool = False) -> Run:
    """Read a run folder, finished or not.

    Args:
        folder: Its path.
        accept_changed_code: Whether its network may be loaded from code that changed since the training.

    Raises:
        RunError: If it is not a run folder, or a file of it is damaged.
        ConfigError: If its configuration is invalid.
    """
    folder = folder.expanduser().absolute()
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a run folder (with config.json), found none. List runs: spikeloom runs DIR")
    return Run(
        folder,
        load_config(folder / "config.json"),
        read_lines(folder / "metrics.jsonl"),
        read_lines(folder / "timings.jsonl"),
        cast(ResultJson | None, read_json(folder / "result.json", ResultJson, complete=False)),
        read_json(folder / "environment.json", EnvironmentJson) or {},
        accept_changed_code,
    )


def find_runs(folder: Path) -> list[Path]:
    """Return every run folder at or below a folder, sorted; raises RunError if there is no such folder."""
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder of runs, found none. By default, runs are written to ./runs.")
    # Searches have other JSON files; only a run has config.json and environment.json together.
    return sorted(path.parent for path in folder.rglob("config.json") if (path.parent / "environment.json").exists())


def default_out(out: Path | None, command: str, name: str) -> Path:
    """The given output folder, else the first free ``./runs/<command>-<name>-<n>``; absolute."""
    if out is not None:
        return out.expanduser().absolute()
    number = 1
    while (folder := Path("runs") / f"{command}-{name}-{number}").exists():
        number += 1
    return folder.absolute()


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Create a run folder and lock it in the context; the lock is released at the latest when the process ends.

    Raises:
        RunError: If another process has locked the folder, or it cannot be created.
    """
    try:
        lock = lock_folder(folder, soft=True)
    except TimeoutError:
        raise RunError(
            f"{folder}: expected no other process, found one that trains here. Wait for it, or choose another --out."
        ) from None
    except OSError as error:
        raise RunError(
            f"{folder}: expected a writable folder that can be locked, found: {error}. Choose another --out."
        ) from None
    try:
        yield
    finally:
        # A run that failed before it wrote its first file leaves no folder behind.
        if [path.name for path in folder.iterdir()] == [LOCK]:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
