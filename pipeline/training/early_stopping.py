"""Early stopping of a run whose validation accuracy no longer improves; `tune` stops trials by successive halving."""

from __future__ import annotations

from pipeline.config.sections.schedule_config import ScheduleConfig


def stops_early(schedule: ScheduleConfig, epoch: int, best_epoch: int) -> bool:
    """Whether a run ends after an epoch, because `schedule.patience` epochs passed since the best one.

    Args:
        schedule: Its `patience` is None if runs never stop early.
        epoch: The last epoch, from 1 on.
        best_epoch: The selected epoch so far; 0 if there is none, and then the run continues.
    """
    return schedule.patience is not None and 0 < best_epoch <= epoch - schedule.patience
