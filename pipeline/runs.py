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
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig, load_config
from preprocess.errors import RunError

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder as it is on the disk.

    Attributes:
        folder: Its path.
        config: What it computes.
        metrics: One row an epoch; see `pipeline.training`.
        timings: One row an epoch.
        result: What came of it; None while it is not finished.
        environment: Where it ran.
        accept_changed_code: Whether it may be loaded although its own neuron or network file changed since the
            training; see `pipeline.changed_code`.
    """

    folder: Path
    config: RunConfig
    metrics: list[dict[str, Any]]
    timings: list[dict[str, Any]]
    result: dict[str, Any] | None
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
        read_json(folder / "result.json"),
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


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file; RunError where it is damaged."""
    try:
        value = json.loads(_read(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(value, dict):
        raise _damaged(path, f"it holds a {type(value).__name__}")
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file, none where there is no such file; RunError where one is damaged."""
    try:
        rows = [json.loads(line) for line in _read(path).splitlines()]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise _damaged(path, error) from None
    if not all(isinstance(row, dict) and "epoch" in row for row in rows):
        raise _damaged(path, "a line is no row of an epoch")
    return rows


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from None


def _damaged(path: Path, reason: object) -> RunError:
    return RunError(f"{path}: cannot be read ({reason}). Delete the run folder and train again.")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(value, indent=2) + "\n"))


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a JSON-lines file, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text("".join(json.dumps(row) + "\n" for row in rows)))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, which gets its name when it is whole and on the disk.

    Raises:
        RunError: If the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        hint = "Check the free space and the folder's permissions, then resume."
        raise RunError(f"{path}: cannot be written ({error.strerror or error}). {hint}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def copy_whole(source: Path, path: Path) -> None:
    """Copy a file, whole or not at all; RunError where either end fails."""
    write_whole(path, lambda temporary: shutil.copyfile(source, temporary))


def make_folder(folder: Path) -> None:
    """Make a folder for what is written; RunError where a file is in the way or nothing may be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder}: expected a folder that can be written, found: {error.strerror}. Choose another --out."
        ) from None


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Make a run folder and keep other processes from training in it; the lock dies with its process.

    Raises:
        RunError: If another process trains there, or the folder cannot be made.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder}: another process trains here. Wait for it, or choose another --out.") from None
    except (OSError, NotImplementedError) as error:
        raise RunError(f"{folder}: expected a folder that can be written and locked, found: {error}") from None
    try:
        yield
    finally:
        # A run that was refused before its first file leaves nothing behind.
        if [path.name for path in folder.iterdir()] == [".lock"]:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
