"""The rule that selects the best epoch, for training and for the tables of a search; does not load torch."""

from __future__ import annotations


def selection_order(accuracy: float, loss: float) -> tuple[float, float]:
    """Sort key of an epoch, larger is better: accuracy, then lower loss. The first of equal epochs is selected."""
    return accuracy, -loss
