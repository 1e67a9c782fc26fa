"""The result of a search, as an object for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.run_config import RunConfig
from tune.trials.results_frame import load_results

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SearchResult:
    """The result of a search so far.

    Attributes:
        folder: The search folder, with results.csv and epochs.csv; unless an objective was searched, also with
            best.json and figures/.
        complete: Whether all trials have ended; False if the time limit was reached.
        best: The searched values of the best trial.
        score: The validation accuracy of the best trial, a fraction, or its best score in a search with an objective.
        config: The configuration of the best trial; None in a search with an objective.
        ranked: One row per complete trial, the best first, as in results.csv.
        test_accuracies: Test accuracies of the selected configuration, retrained with each of the final seeds.
    """

    folder: Path
    complete: bool
    best: dict[str, Any]
    score: float
    config: RunConfig | None
    ranked: list[dict[str, Any]]
    test_accuracies: tuple[float, ...] = ()

    def frame(self) -> pd.DataFrame:
        """All trials as a data frame; see `load_results`."""
        return load_results(self.folder)
