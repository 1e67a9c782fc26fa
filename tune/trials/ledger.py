"""The ledger of a search or comparison: a folder for each trial, with its end in an atomic `done.json`.

An interrupted search is resumed from the ledger, not from Ray's own snapshots.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Required, TypedDict, cast

from pipeline.config.custom_classes import sha256_of
from pipeline.config.run_config import RunConfig, fingerprint
from pipeline.runs.best_epoch import select_epoch
from pipeline.runs.changed_code import FLAG, KEY, CodeChange, joined_records
from pipeline.runs.result_json import COST_COLUMNS, AcceptedChange, EnvironmentJson, ResultJson
from preprocess.errors import RunError
from preprocess.files import read_json, read_lines, write_json, write_whole
from tune.trials.process_death import LOG

End = Literal["done", "pruned", "failed"]
State = Literal["done", "pruned", "failed", "started", "waiting"]

BASIS = "basis.json"
CODE = "the file "
_NO_BASIS = "Restore the file, or start again in another folder."
"""The prefix of the names of custom neuron and network files in `basis.json`."""

_OR_ACCEPT = f", or accept the change with {FLAG}"

# A disk with less free space than this, in bytes, counts as full.
_ROOM = 2**20


class TrialRecord(TypedDict, total=False):
    """The content of a trial's `done.json`; earlier versions wrote fewer entries.

    Attributes:
        trial: The fingerprint of its configuration.
        status: done: trained to its last epoch; pruned: stopped early by the scheduler; failed.
        epochs: The epochs of its history, those of the trial that it started from included.
        validation_accuracy: Validation accuracy of the selected epoch, a fraction; None if nothing was validated.
        test_accuracy: Test accuracy, a fraction; None if the test set was not used.
        firing_rate: Firing rate in the selected epoch, spikes per neuron and time step.
        energy_uj: Energy per sample in the selected epoch, in µJ, by the rule of Table 6.
        sparse_energy_uj: The same if a zero input costs nothing (`pipeline.cost.inference_costs`).
        memory_energy_uj: The same with memory accesses.
        effective_macs: NeuroBench's effective MACs per sample.
        effective_acs: NeuroBench's effective ACs per sample.
        connection_sparsity: Share of the weights that are zero.
        footprint_bytes: Memory of the network's parameters and buffers.
        seconds: Training time of its own epochs.
        own_epochs: The number of epochs that it trained itself.
        memory_mb: Peak memory.
        micro_batch: The micro-batch size, if memory forced a smaller one than configured; otherwise None.
        ended: The time of its end, ISO 8601 in UTC.
        error: The cause of a failure in one line.
    """

    trial: str
    status: Required[End]
    epochs: int
    validation_accuracy: float | None
    test_accuracy: float | None
    firing_rate: float | None
    energy_uj: float | None
    sparse_energy_uj: float | None
    memory_energy_uj: float | None
    effective_macs: float | None
    effective_acs: float | None
    connection_sparsity: float | None
    footprint_bytes: int | None
    seconds: float
    own_epochs: int
    memory_mb: float | None
    micro_batch: int | None
    ended: str
    error: str | None


class _Basis(TypedDict, total=False):
    """The entries of `basis.json` that are not a fingerprint or hash."""

    accepted_changed_code: list[AcceptedChange]


class Ledger:
    """The trials of one folder, found by the fingerprint of what they compute.

    A trial that is done or pruned is final. A failed trial is recorded with its cause and tried again on resume, from
    its last checkpoint, because a full disk or a killed process is not an error of the configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    def trial_folder(self, config: RunConfig) -> Path:
        """The run folder of a configuration, existing or not."""
        return self.folder / "trials" / fingerprint(config)

    def read_done(self, config: RunConfig) -> TrialRecord | None:
        """The record of a trial's end, or None if it has not ended; RunError if its `done.json` is damaged."""
        path = self.trial_folder(config) / "done.json"
        record = read_json(path, TrialRecord, next_step="Delete it; the trial then runs again.")
        return cast(TrialRecord | None, record)

    def bind(self, facts: dict[str, str]) -> None:
        """Record in `basis.json` what the trials depend on besides their configurations.

        Args:
            facts: Names, such as a data set or a file with a neuron, with their fingerprints or hashes.

        Raises:
            RunError: If the folder's trials depend on another version of one of them: such results must not be
                compared.
        """
        path = self.folder / BASIS
        known = self._basis()
        changed = [what for what in facts if known.get(what, facts[what]) != facts[what]]
        if changed:
            raise RunError(
                *(
                    f"{self.folder}: expected {what} {known[what][:12]}, which its trials used, found "
                    f"{facts[what][:12]}: it has changed since. Choose another --out"
                    f"{_OR_ACCEPT if what.startswith(CODE) else ''}."
                    for what in changed
                )
            )
        if not facts.keys() <= known.keys():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, known | facts)

    def changed_code(self) -> list[CodeChange]:
        """The custom neuron and network files that changed since the trials; deleted files are not listed."""
        known = self._basis()
        files = {Path(what.removeprefix(CODE)): trained for what, trained in known.items() if what.startswith(CODE)}
        changes = (CodeChange(str(path), was, sha256_of(path)) for path, was in files.items() if path.is_file())
        return [change for change in changes if change.found != change.trained]

    def accept(self, changes: Sequence[CodeChange]) -> None:
        """Allow later trials to use changed files, and record that earlier trials used others."""
        path = self.folder / BASIS
        known = self._basis()
        records = joined_records(self.accepted(), map(asdict, changes))
        write_json(path, known | {f"{CODE}{change.file}": change.found for change in changes} | {KEY: records})

    def accepted(self) -> list[dict[str, str]]:
        """The changes that were accepted, as `pipeline.runs.changed_code` records them."""
        return list(self._basis().get(KEY, ()))

    def _basis(self) -> dict[str, Any]:
        """The content of `basis.json`: names with fingerprints or hashes, and the changes that were accepted.

        Raises:
            RunError: If it is damaged.
        """
        path = self.folder / BASIS
        known = read_json(path, _Basis, next_step=_NO_BASIS) or {}
        for what, value in known.items():
            if what != KEY and not isinstance(value, str):
                raise RunError(f"{path}: expected a fingerprint of {what}, found {value!r:.60}. {_NO_BASIS}")
        return known

    def write_done(self, config: RunConfig, record: TrialRecord) -> None:
        """Record a trial's end, atomically."""
        folder = self.trial_folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "done.json", dict(record))

    def reopen(self, config: RunConfig) -> None:
        """Delete the record of a trial's end when it starts again."""
        for name in ("done.json", "error.txt"):
            (self.trial_folder(config) / name).unlink(missing_ok=True)

    def write_trace(self, config: RunConfig, trace: str) -> None:
        """Write the traceback of a failure to `error.txt`; the record has the cause alone."""
        folder = self.trial_folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "error.txt", lambda temporary: temporary.write_text(trace))

    def write_death(self, config: RunConfig, text: str) -> str | None:
        """Add the text about the death of a trial's process to `died.txt`.

        Returns:
            The path of the file within the folder; None if it cannot be written, perhaps because the disk is full.
        """
        path = self.trial_folder(config) / LOG
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{dt.datetime.now(dt.UTC).isoformat(timespec='seconds')}\n{text.rstrip()}\n\n")
        except OSError:
            return None
        return str(path.relative_to(self.folder))

    def check_room(self, resume: str) -> None:
        """Stop if the folder's disk is full: no trial could save its results.

        Args:
            resume: The command that resumes.

        Raises:
            RunError: If a megabyte cannot be written.
        """
        path = self.folder / f".room-{secrets.token_hex(4)}"
        try:
            path.write_bytes(bytes(_ROOM))
        except OSError as error:
            cause, then = error.strerror or error, f"resume: {resume}" if resume else "resume."
            raise RunError(
                f"{self.folder}: cannot be written ({cause}); all trials stop. Free space there, then {then}"
            ) from None
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def is_final(self, config: RunConfig) -> bool:
        """Whether a trial is done or pruned, so that it never runs again."""
        record = self.read_done(config)
        return record is not None and record["status"] != "failed"

    def unfinished(self, configs: Sequence[RunConfig]) -> list[RunConfig]:
        """The trials that are left to run, interrupted and failed ones included."""
        return [config for config in configs if not self.is_final(config)]

    def state(self, config: RunConfig) -> State:
        """The state of a trial; `started` is running, or was running when its search was interrupted."""
        record = self.read_done(config)
        if record is not None:
            return record["status"]
        return "started" if (self.trial_folder(config) / "config.json").exists() else "waiting"

    def metrics(self, config: RunConfig) -> list[dict[str, Any]]:
        """One row for each epoch that a trial has trained so far."""
        return read_lines(self.trial_folder(config) / "metrics.jsonl")

    def timings(self, config: RunConfig) -> list[dict[str, Any]]:
        """One row for each epoch that a trial has trained itself, with the values that depend on the machine."""
        return read_lines(self.trial_folder(config) / "timings.jsonl")

    def end(self, config: RunConfig, status: End, error: str | None = None) -> TrialRecord:
        """Record a trial's end from the files of its run folder, and return the record.

        Args:
            config: The trial.
            status: done: trained to its last epoch; pruned: stopped early by the scheduler; failed.
            error: The cause of a failure, in one line.
        """
        folder = self.trial_folder(config)
        result = (read_json(folder / "result.json", ResultJson, complete=False) or {}) if status == "done" else {}
        metrics = self.metrics(config)
        chosen = result or select_epoch(metrics) or {}
        timings = self.timings(config)
        peaks = [row["peak_memory_mb"] for row in timings if row.get("peak_memory_mb") is not None]
        environment = read_json(folder / "environment.json", EnvironmentJson) or {}
        # A resumed trial may use full batches again; the flag covers all of its parts.
        parts = (environment, *environment.get("earlier", ()))
        held = [part["micro_batch"] for part in parts if part.get("micro_batch")]
        micro_batch = min(held, default=None)
        record: TrialRecord = {
            "trial": fingerprint(config),
            "status": status,
            "epochs": len(metrics),
            "validation_accuracy": chosen.get("validation_accuracy"),
            "test_accuracy": result.get("test_accuracy"),
            "firing_rate": chosen.get("firing_rate"),
            **{name: chosen.get(name) for name in COST_COLUMNS},  # type: ignore[typeddict-item]
            "seconds": sum(row.get("epoch_s") or 0.0 for row in timings),
            # A trial that started from another has that one's rows, but spent time on its own epochs alone.
            "own_epochs": len(timings),
            "memory_mb": max(peaks, default=None),
            # Smaller than configured, because memory was full.
            "micro_batch": micro_batch if micro_batch != (config.micro_batch or config.batch_size) else None,
            "ended": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "error": error,
        }
        self.write_done(config, record)
        return record
