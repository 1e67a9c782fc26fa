"""The convergence of every finished run of an arm; the rule for one run is `pipeline.analysis.convergence_rule`."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.analysis.convergence_rule import Convergence, assess_convergence
from tune.comparison.comparison_plan import Outcome


def convergence_by_seed(
    mine: Mapping[int, Outcome], before: Mapping[int, Outcome], classes: int | None
) -> dict[int, Convergence]:
    """The convergence of each finished run.

    Args:
        mine: The runs of one arm in one setting, by seed.
        before: Those with half of the epochs, as far as there are any.
        classes: The number of classes, if it is known.
    """
    found = {}
    for seed, outcome in mine.items():
        if outcome.run is None:
            continue
        half = before[seed].run if seed in before else None
        convergence = assess_convergence(
            outcome.run.metrics,
            classes=classes,
            test_accuracy=float(outcome.result["test_accuracy"]),
            half=() if half is None else half.metrics,
        )
        if convergence is not None:
            found[seed] = convergence
    return found
