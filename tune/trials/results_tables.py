"""The results of a folder's trials as tables: results.csv has one row per trial, epochs.csv one row per epoch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint, flatten
from pipeline.runs.best_epoch import select_epoch
from pipeline.runs.result_json import COST_COLUMNS
from preprocess.errors import RunError
from preprocess.files import write_whole
from tune.trials.ledger import Ledger
from tune.trials.parquet import write_parquet

_MEASURED = (
    *("epochs", "validation_accuracy", "test_accuracy", "firing_rate", "energy_uj", "seconds", "micro_batch"),
    *(name for name in COST_COLUMNS if name != "energy_uj"),
)
_TEXTS = frozenset({"trial", "status"})


def differing_fields(configs: Sequence[RunConfig]) -> list[str]:
    """The field paths in which the configurations differ, except the seed."""
    flat = [flatten(config) for config in configs]
    return [path for path in flat[0] if path != "seed" and any(row[path] != flat[0][path] for row in flat)]


def collect_results(folder: Path, configs: Sequence[RunConfig], fields: Sequence[str]) -> list[dict[str, Any]]:
    """One row per trial, in the order of the configurations: the columns of results.csv.

    ``status`` is done, pruned or failed; ``started`` (running or interrupted), with the values reached so far; or
    ``waiting``. Accuracies are fractions; missing values are None.
    """
    ledger = Ledger(folder)
    return [_row(ledger, config, fields) for config in configs]


def _row(ledger: Ledger, config: RunConfig, fields: Sequence[str]) -> dict[str, Any]:
    flat = flatten(config)
    searched = {path: flat[path] for path in fields if path != "seed"}
    record: Mapping[str, Any] = ledger.read_done(config) or {}
    status = record.get("status") or ledger.state(config)
    if status == "started":
        metrics = ledger.metrics(config)
        record = {**(select_epoch(metrics) or {}), "epochs": len(metrics)}
    about = {"trial": fingerprint(config), "status": status} | searched | {"seed": config.seed}
    return about | {name: record.get(name) for name in _MEASURED}


def write_results(folder: Path, configs: Sequence[RunConfig], fields: Sequence[str] | None = None) -> None:
    """Write results and epochs, each as .csv and as .parquet, and each file atomically.

    Args:
        folder: The folder of the search or comparison.
        configs: All of its trials.
        fields: The searched field paths, a column each; None for those in which the trials differ.
    """
    fields = differing_fields(configs) if fields is None else fields
    _write_tables(folder / "results", collect_results(folder, configs, fields), [])
    _write_tables(folder / "epochs", collect_epochs(folder, configs, fields), ["trial", *fields, "seed", "epoch"])


def collect_epochs(folder: Path, configs: Sequence[RunConfig], fields: Sequence[str]) -> list[dict[str, Any]]:
    """Every epoch of every trial, each row with the trial's searched fields and seed, ready to be plotted.

    In addition to the columns of ``metrics.jsonl``: ``epoch_s`` and ``ended`` (unix seconds) of ``timings.jsonl``; an
    epoch that a trial inherited from another has neither.
    """
    ledger, rows = Ledger(folder), []
    for config in configs:
        flat = flatten(config)
        about = {"trial": fingerprint(config)} | {path: flat[path] for path in (*fields, "seed")}
        spent = {row["epoch"]: row for row in ledger.timings(config)}
        for row in ledger.metrics(config):
            timing = spent.get(row["epoch"], {})
            rows.append(about | row | {"epoch_s": timing.get("epoch_s"), "ended": timing.get("ended")})
    return rows


def _write_tables(path: Path, rows: Sequence[dict[str, Any]], first: Sequence[str]) -> None:
    # Rows of a search have the same columns; the union of columns keeps a file with different rows readable.
    columns = list(dict.fromkeys((*first, *(name for row in rows for name in row))))
    _write_csv(path.with_suffix(".csv"), rows, columns)
    write_parquet(path.with_suffix(".parquet"), rows, columns)


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_whole(path, write)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The rows of results.csv: numbers as numbers, empty cells as None.

    Args:
        folder: The folder of a search or comparison.

    Raises:
        RunError: If there is no such file, or it is damaged.
    """
    path = folder / "results.csv"
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            # A search that ended before its first trial has no columns. DictReader collects values without a column
            # under None.
            columns = set(reader.fieldnames or ())
            if (columns and not {"trial", "status"} <= columns) or any(None in row for row in rows):
                raise ValueError("its columns do not fit")
    except FileNotFoundError:
        raise RunError(
            f"{folder}: expected the folder of a search or comparison, with {path.name}, found none. "
            "List runs: spikeloom runs DIR"
        ) from None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"{path}: expected a table of trials, found one that cannot be read ({error}). Repeat the command of the "
            "search or comparison with --resume, or the call with the same out, to write it again."
        ) from None
    return [{name: text if name in _TEXTS else _value(text) for name, text in row.items()} for row in rows]


def _value(text: str | None) -> Any:
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)


def score_columns(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The accuracies that any trial has: a search uses no test set, and a comparison may have no validation."""
    rows = list(rows)
    names = ("validation_accuracy", "test_accuracy")
    return [name for name in names if any(row[name] is not None for row in rows)]
