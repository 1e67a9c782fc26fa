"""What a search reuses and leaves out, said before its first trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.config.run_config import override
from preprocess.errors import ConfigError
from tune.search.plan import Search
from tune.space.space import Space, parse_space
from tune.trials.ledger import Ledger

# Larger spaces are sampled, and how many of their combinations are valid is not counted.
_COUNTED = 10_000


def search_notes(search: Search, folder: Path) -> Iterator[str]:
    """A line each: trials that are there already, fewer trials than asked for, combinations that are not valid.

    Args:
        search: What is asked for.
        folder: The search's own, there or not.
    """
    states = [Ledger(folder).state(config) for config in search.configs()]
    done = states.count("done") + states.count("pruned")
    if done:
        again = f"; {states.count('failed')} that failed are run again" if "failed" in states else ""
        yield f"{done} trials are finished already and are reused{again}"
    if search.method == "random" and len(search.trials) < search.samples:
        yield f"the space has {len(search.trials)} configurations, fewer than the {search.samples} trials: all are run"
    if search.method in ("random", "grid") and (space := parse_space(search.space, search.config)):
        count, message = _invalid(space, search)
        if count:
            yield f"{count} combinations of the space are not valid and left out; the first: {message}"


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
