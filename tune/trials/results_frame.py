"""The results of a search or comparison as a pandas data frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tune.trials.results import read_results

if TYPE_CHECKING:
    import pandas as pd


def load_results(folder: Path | str) -> pd.DataFrame:
    """One row per trial or run: its values of the searched fields, its status, and what it reached.

    Accuracies are fractions; what a trial does not have is missing (NaN or None). For one row per epoch read
    ``epochs.parquet`` in the same folder.

    Args:
        folder: Of a search or comparison, running or finished.

    Raises:
        RunError: If the folder contains no results.
    """
    import pandas as pd

    return pd.DataFrame(read_results(Path(folder).expanduser().absolute()))
