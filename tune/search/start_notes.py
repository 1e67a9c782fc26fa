"""Notes on what a search reuses and leaves out, printed before its first trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.config.run_config import override
from preprocess.errors import ConfigError
from tune.search.search_plan import Search
from tune.space.space import Space, parse_space
from tune.trials.ledger import Ledger

# In larger spaces the combinations that are not valid are not counted.
_COUNTED = 10_000


def search_notes(search: Search, folder: Path) -> Iterator[str]:
    """A line each for finished trials, for a space smaller than the number of samples, and for invalid combinations.

    Args:
        search: The plan.
        folder: The search's folder, existing or not.
    """
    states = [Ledger(folder).state(config) for config in search.configs()]
    done = states.count("done") + states.count("pruned")
    if done:
        again = f"; {states.count('failed')} failed trials will be run again" if "failed" in states else ""
        yield f"{done} finished trials are reused{again}"
    if search.traits.adaptive:
        return
    if len(search.trials) < search.samples:
        yield (
            f"the space has {len(search.trials)} valid configurations, fewer than the {search.samples} samples: all of "
            "them are run"
        )
    count, message = _invalid(parse_space(search.space, search.config), search)
    if count:
        yield f"{count} combinations of the space are not valid and are left out; the first: {message}"


def _invalid(space: Space, search: Search) -> tuple[int, str]:
    if space.size(search.config) > _COUNTED:
        return 0, ""
    errors = []
    for point in space.combinations(search.config):
        try:
            override(search.config, point)
        except ConfigError as error:
            errors.append(error.errors[0])
    return len(errors), next(iter(errors), "")
