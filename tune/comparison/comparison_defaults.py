"""What a comparison does where neither the user nor a design says otherwise."""

from __future__ import annotations

DEFAULT_SEEDS = 5
"""Runs of each neuron."""

DEFAULT_BUDGET = 8
"""Trials for each neuron with the tuning protocol equal-budget."""

SPEED_AT = 0.9
"""The training accuracy, a fraction, at which the speed of learning is read."""
