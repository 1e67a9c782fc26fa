"""What Ray Tune keeps of trials that have ended, and nothing here reads."""

from __future__ import annotations

import contextlib
from typing import Any


def forget_summaries(trial: Any) -> None:
    """Release Ray's summaries of the metrics of a trial that has ended: about 25 kB, more than all else of a trial.

    For each metric Ray keeps the mean, the extremes and the last values, until the search ends. The ledger has the
    metrics themselves.

    Args:
        trial: Ray's trial. Other versions of Ray may keep the summaries elsewhere; then they stay.
    """
    with contextlib.suppress(AttributeError):
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()
