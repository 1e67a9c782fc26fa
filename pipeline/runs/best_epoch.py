"""The rule that selects the best epoch, for training and for the tables of a search; does not load torch.

The accuracy counts, of equal ones the lower loss, and the first of equal epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def is_better(accuracy: float, loss: float, *, than: tuple[float, float]) -> bool:
    """Whether an epoch is selected in place of an earlier one, of which accuracy and loss are given."""
    return _order(accuracy, loss) > _order(*than)


def select_epoch(metrics: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The row of the selected epoch; of the last one if nothing was validated; None if there is no epoch."""
    if not metrics or metrics[-1].get("validation_accuracy") is None:
        return metrics[-1] if metrics else None
    validated = [row for row in metrics if row.get("validation_accuracy") is not None]
    # Of equal ones, max takes the first.
    return max(validated, key=lambda row: _order(row["validation_accuracy"], row.get("validation_loss")))


def _order(accuracy: float, loss: float | None) -> tuple[float, float]:
    return accuracy, -(float("inf") if loss is None else loss)
