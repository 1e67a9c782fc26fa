"""A run folder: what a run was asked for, what it measured, and what came of it; every file is whole or absent.

config.json        the configuration, as `train --config` takes it
environment.json   versions, machine, device, threads, and the fingerprint of the frames
metrics.jsonl      one line an epoch, reproducible values only
timings.jsonl      one line an epoch, what depends on the machine
checkpoint.pt      the last epoch's state; best.pt the selected weights
result.json        what the selected weights reach; predictions.npz the summed logits of every test sample
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
from pipeline.runs.result import RunResult
from preprocess.errors import RunError
from preprocess.files import LOCK, lock_folder, read_json, read_lines

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder as it is on the disk.

    Attributes:
        folder: Its path.
        config: What it computes.
        metrics: One row an epoch; see `pipeline.training.train_run`.
        timings: One row an epoch.
        result: What came of it; None while it is not finished.
        environment: Where it ran.
        accept_changed_code: Whether it may be loaded although its own neuron or network file changed since the
            training; see `pipeline.runs.changed_code`.
    """

    folder: Path
    config: RunConfig
    metrics: list[dict[str, Any]]
    timings: list[dict[str, Any]]
    result: RunResult | None
    environment: dict[str, Any]
    accept_changed_code: bool = False


def open_run(folder: Path, *, accept_changed_code: bool = False) -> Run:
    """Read a run folder, finished or not.

    Args:
        folder: Its path.
        accept_changed_code: Whether its network may be loaded from code that changed since the training.

    Raises:
        RunError: If it is no run folder, or a file of it is damaged.
        ConfigError: If its configuration is faulty.
    """
    folder = folder.expanduser().absolute()
    if not (folder / "config.json").is_file():
        raise RunError(f"{folder}: expected a run folder (with config.json), found none. List them: spikeloom runs DIR")
    return Run(
        folder,
        load_config(folder / "config.json"),
        read_lines(folder / "metrics.jsonl"),
        read_lines(folder / "timings.jsonl"),
        cast(RunResult | None, read_json(folder / "result.json")),
        read_json(folder / "environment.json") or {},
        accept_changed_code,
    )


def find_runs(folder: Path) -> list[Path]:
    """Every run folder at or below a folder, sorted; RunError where there is no such folder."""
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder of runs, found none. The default is ./runs.")
    # A search keeps JSON files of other kinds; a run's config.json stands beside its environment.json.
    return sorted(path.parent for path in folder.rglob("config.json") if (path.parent / "environment.json").exists())


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Make a run folder and keep other processes from training in it; the lock dies with its process.

    Raises:
        RunError: If another process trains there, or the folder cannot be made.
    """
    try:
        lock = lock_folder(folder, soft=True)
    except TimeoutError:
        raise RunError(f"{folder}: another process trains here. Wait for it, or choose another --out.") from None
    except OSError as error:
        raise RunError(f"{folder}: expected a folder that can be written and locked, found: {error}") from None
    try:
        yield
    finally:
        # A run that was refused before its first file leaves nothing behind.
        if [path.name for path in folder.iterdir()] == [LOCK]:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
