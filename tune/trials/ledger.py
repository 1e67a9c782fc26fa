"""The ledger of a search or comparison: a folder for each trial, and what became of it in an atomic `done.json`.

This, not Ray's own snapshots, is the truth when an interrupted search is resumed.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pipeline.config.custom_classes import sha256_of
from pipeline.config.run_config import RunConfig, fingerprint
from pipeline.runs.changed_code import FLAG, KEY, CodeChange, joined_records
from preprocess.errors import RunError
from preprocess.files import read_json, read_lines, write_json, write_whole

End = Literal["done", "pruned", "failed"]
State = Literal["done", "pruned", "failed", "started", "waiting"]

BASIS = "basis.json"
CODE = "the file "
"""Begins what `basis.json` calls the file of a neuron or network of one's own."""

_OR_ACCEPT = f", or resume knowingly with {FLAG}"

# Bytes that are free on a disk that is not full.
_ROOM = 2**20


class Ledger:
    """The trials of one folder, found by what they compute.

    A trial that is done or pruned is final. A failed one is recorded with its cause and tried again on resume, from its
    last checkpoint, because a full disk or a killed process is no fault of the configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    def trial_folder(self, config: RunConfig) -> Path:
        """The run folder of a configuration, there or not."""
        return self.folder / "trials" / fingerprint(config)

    def read_done(self, config: RunConfig) -> dict[str, Any] | None:
        """What became of a trial, or None while it has no end; RunError where its `done.json` is damaged."""
        record = read_json(self.trial_folder(config) / "done.json")
        if record is not None and record.get("status") not in ("done", "pruned", "failed"):
            path = self.trial_folder(config) / "done.json"
            raise RunError(f"{path}: expected status done, pruned or failed, found {record.get('status')}. Delete it.")
        return record

    def bind(self, facts: dict[str, str]) -> None:
        """Keep what the trials rest on besides their configurations, in `basis.json`.

        Args:
            facts: What, such as a data set or a file with a neuron, to its fingerprint or hash.

        Raises:
            RunError: If the folder's trials rest on another state of one of them: they must never meet in one table.
        """
        path = self.folder / BASIS
        known = read_json(path) or {}
        changed = [what for what in facts if known.get(what, facts[what]) != facts[what]]
        if changed:
            raise RunError(
                *(
                    f"{self.folder}: its trials rest on {what} {known[what][:12]}, found {facts[what][:12]}: it "
                    f"changed since. Choose another --out{_OR_ACCEPT if what.startswith(CODE) else ''}."
                    for what in changed
                )
            )
        if not facts.keys() <= known.keys():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, known | facts)

    def changed_code(self) -> list[CodeChange]:
        """The files of neurons and networks of one's own that changed since the trials; one that is gone is not."""
        known = read_json(self.folder / BASIS) or {}
        files = {Path(what.removeprefix(CODE)): trained for what, trained in known.items() if what.startswith(CODE)}
        changes = (CodeChange(str(path), was, sha256_of(path)) for path, was in files.items() if path.is_file())
        return [change for change in changes if change.found != change.trained]

    def accept(self, changes: Sequence[CodeChange]) -> None:
        """Let later trials rest on changed files, and keep on record that earlier ones do not."""
        path = self.folder / BASIS
        known = read_json(path) or {}
        records = joined_records(self.accepted(), map(asdict, changes))
        write_json(path, known | {f"{CODE}{change.file}": change.found for change in changes} | {KEY: records})

    def accepted(self) -> list[dict[str, str]]:
        """The changes that were accepted, as `pipeline.runs.changed_code` records them."""
        return list((read_json(self.folder / BASIS) or {}).get(KEY, ()))

    def write_done(self, config: RunConfig, record: dict[str, Any]) -> None:
        """Record a trial's end, whole or not at all."""
        folder = self.trial_folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "done.json", record)

    def reopen(self, config: RunConfig) -> None:
        """Forget how a trial ended, when it starts again."""
        for name in ("done.json", "error.txt"):
            (self.trial_folder(config) / name).unlink(missing_ok=True)

    def write_trace(self, config: RunConfig, trace: str) -> None:
        """Keep the traceback of a failure in `error.txt`, beside the record, which has room for its cause only."""
        folder = self.trial_folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "error.txt", lambda temporary: temporary.write_text(trace))

    def check_room(self, resume: str) -> None:
        """Refuse to go on where the folder's disk is full: no trial could keep what it trains.

        Args:
            resume: The command that goes on.

        Raises:
            RunError: If a megabyte cannot be written.
        """
        path = self.folder / f".room-{secrets.token_hex(4)}"
        try:
            path.write_bytes(bytes(_ROOM))
        except OSError as error:
            go_on = f"go on: {resume}" if resume else "resume."
            told = f"cannot be written ({error.strerror or error})"
            raise RunError(f"{self.folder}: {told}; no trial goes on. Free space there, then {go_on}") from None
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def is_final(self, config: RunConfig) -> bool:
        """Whether a trial never runs again: it is done or pruned."""
        record = self.read_done(config)
        return record is not None and record["status"] != "failed"

    def unfinished(self, configs: Sequence[RunConfig]) -> list[RunConfig]:
        """The trials that are left to run, those that were interrupted or failed among them."""
        return [config for config in configs if not self.is_final(config)]

    def state(self, config: RunConfig) -> State:
        """How a trial stands; `started` is running, or was when its search was interrupted."""
        record = self.read_done(config)
        if record is not None:
            status: State = record["status"]
            return status
        return "started" if (self.trial_folder(config) / "config.json").exists() else "waiting"

    def metrics(self, config: RunConfig) -> list[dict[str, Any]]:
        """One row for each epoch that a trial has trained so far."""
        return read_lines(self.trial_folder(config) / "metrics.jsonl")

    def timings(self, config: RunConfig) -> list[dict[str, Any]]:
        """One row for each epoch that a trial has trained itself, with what depends on the machine."""
        return read_lines(self.trial_folder(config) / "timings.jsonl")

    def end(self, config: RunConfig, status: End, error: str | None = None) -> dict[str, Any]:
        """Record a trial's end from its run folder; the record.

        Args:
            config: The trial.
            status: done: trained to its last epoch; pruned: stopped early by the scheduler; failed.
            error: The cause of a failure, in one line.
        """
        folder = self.trial_folder(config)
        result = (read_json(folder / "result.json") or {}) if status == "done" else {}
        metrics = self.metrics(config)
        chosen = result or select_epoch(metrics) or {}
        timings = self.timings(config)
        peaks = [row["peak_memory_mb"] for row in timings if row.get("peak_memory_mb") is not None]
        environment = read_json(folder / "environment.json") or {}
        # A trial that went on later may have held whole batches again; the mark is of all its parts.
        parts = (environment, *environment.get("earlier", ()))
        held = [part["micro_batch"] for part in parts if part.get("micro_batch")]
        micro_batch = min(held, default=None)
        record = {
            "trial": fingerprint(config),
            "status": status,
            "epochs": len(metrics),
            "validation_accuracy": chosen.get("validation_accuracy"),
            "test_accuracy": result.get("test_accuracy"),
            "firing_rate": chosen.get("firing_rate"),
            "energy_uj": chosen.get("energy_uj"),
            "seconds": sum(row["epoch_s"] for row in timings),
            # A trial that goes on from another has that one's rows, but took only its own epochs' time.
            "own_epochs": len(timings),
            "memory_mb": max(peaks, default=None),
            # Smaller than asked for where memory was full.
            "micro_batch": micro_batch if micro_batch != (config.micro_batch or config.batch_size) else None,
            "ended": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "error": error,
        }
        self.write_done(config, record)
        return record


def select_epoch(metrics: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The epoch that validation selects, as training does: highest accuracy, then lowest loss, then the first.

    The last one where nothing was validated; None where there is no epoch.
    """
    if not metrics or metrics[-1].get("validation_accuracy") is None:
        return metrics[-1] if metrics else None
    return max(metrics, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
