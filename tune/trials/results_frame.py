"""The results of a search or comparison as a pandas data frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tune.trials.results_tables import read_results

if TYPE_CHECKING:
    import pandas as pd


def load_results(folder: Path | str) -> pd.DataFrame:
    """Return a data frame with one row per trial or run: its searched values, its status and its results.

    Accuracies are fractions; values that a trial does not have are missing (NaN or None). For one row per epoch, read
    ``epochs.parquet`` in the same folder.

    Args:
        folder: The folder of a search or comparison, running or finished.

    Raises:
        RunError: If the folder contains no results.
    """
    import pandas as pd

    return pd.DataFrame(read_results(Path(folder).expanduser().absolute()))
