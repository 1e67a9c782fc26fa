"""All mutants."""

from __future__ import annotations

from . import data_mutants, decoding_mutants, neuron_mutants, search_mutants, statistics_mutants, training_mutants
from .mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *decoding_mutants.MUTANTS,
    *data_mutants.MUTANTS,
    *neuron_mutants.MUTANTS,
    *training_mutants.MUTANTS,
    *search_mutants.MUTANTS,
    *statistics_mutants.MUTANTS,
)
