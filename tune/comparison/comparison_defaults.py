"""What a comparison does where neither the user nor a design says otherwise."""

from __future__ import annotations

DEFAULT_SEEDS = 5
"""Runs of each neuron."""

DEFAULT_BUDGET = 8
"""Trials for each neuron with the tuning protocol equal-budget."""
