"""Many runs: search, comparison, report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from preprocess.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tune.comparison.compare_call import ComparisonResult as ComparisonResult
    from tune.comparison.compare_call import compare as compare
    from tune.objective.objective_search import Report as Report
    from tune.report.page import write_report as report
    from tune.search.search_call import search as search
    from tune.trials.results_frame import load_results as load_results
    from tune.trials.search_result import SearchResult as SearchResult

_HOMES = {
    "SearchResult": "tune.trials.search_result",
    "Report": "tune.objective.objective_search",
    "compare": "tune.comparison.compare_call",
    "ComparisonResult": "tune.comparison.compare_call",
    "load_results": "tune.trials.results_frame",
}
# Packages that are called like functions; see `preprocess.lazy_exports.make_callable`.
_CALLED = ("search", "report")

__all__ = ["search", "SearchResult", "Report", "compare", "ComparisonResult", "load_results", "report"]

_load = lazy_exports(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    return import_module(f"{__name__}.{name}") if name in _CALLED else _load(name)


def __dir__() -> list[str]:
    """For tab completion, which does not see names that are not loaded yet."""
    return sorted({*globals(), *__all__})
