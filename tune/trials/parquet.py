"""Tables as Parquet files: numbers stay numbers, None is null, and a column has the same type in every file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.runs.result_json import COST_COLUMNS
from preprocess.files import write_whole

# Measured columns have these types even if no row has a value yet, so that files of several searches can be joined.
_INTEGERS = frozenset({"seed", "epoch", "epochs", "micro_batch"})
_TEXTS = frozenset({"trial", "status"})
_FRACTIONS = frozenset({"firing_rate", *COST_COLUMNS, "seconds", "learning_rate", "ended", "epoch_s", "memory_mb"})


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as a table, atomically.

    Args:
        path: The file.
        rows: Values by column; missing values are null.
        columns: The column names, in order. A column with values of several types is written as text.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: _column(name, [row.get(name) for row in rows]) for name in columns})
    write_whole(path, lambda temporary: parquet.write_table(table, temporary))


def _column(name: str, values: list[Any]) -> Any:
    import pyarrow as pa

    if name in _INTEGERS:
        return pa.array(values, pa.int64())
    if name in _TEXTS:
        return pa.array(values, pa.string())
    if name in _FRACTIONS or name.endswith(("_accuracy", "_loss")):
        return pa.array(values, pa.float64())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])
