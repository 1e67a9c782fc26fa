"""What a search found, as an object for scripts."""

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
    """What a search found so far.

    Attributes:
        folder: With results.csv, epochs.csv and, for a configuration, best.json and figures/.
        complete: Whether no trial is left to run; False where the time limit was reached.
        best: The searched values of the best trial.
        score: Its validation accuracy, a fraction, or the best score that the objective reported for it.
        config: Its configuration; None in a search with an objective.
        ranked: A row for each complete trial, the best first, as in results.csv.
        test_accuracies: Of the selected configuration, trained again with each of `final_seeds` seeds.
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
