"""The rule by which validation selects an epoch, for training and for the tables of a search; loads no torch."""

from __future__ import annotations


def selection_order(accuracy: float, loss: float) -> tuple[float, float]:
    """The larger, the better an epoch: by accuracy, then by loss. Of equal epochs the first is selected."""
    return accuracy, -loss
