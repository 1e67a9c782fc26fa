"""The view of each analysis of `pipeline.analysis.registry`, and its figure as a file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.analysis.stored_result import AnalysisResult
from tune.analysis_views.analysis_view import AnalysisView
from tune.rendering.panels import draw_panels
from tune.rendering.style import PAPER, drawing, save

VIEWS = {
    "dynamics": "tune.analysis_views.dynamics_view:dynamics_view",
    "gradients": "tune.analysis_views.gradients_view:gradients_view",
    "rates": "tune.analysis_views.rates_view:rates_view",
    "energy": "tune.analysis_views.energy_view:energy_view",
    "robustness": "tune.analysis_views.robustness_view:robustness_view",
    "inference": "tune.analysis_views.inference_view:inference_view",
    "batch-norm": "tune.analysis_views.batch_norm_view:batch_norm_view",
}
"""By the name of the analysis: ``module:function``, imported on use, from its result to an `AnalysisView`."""

# Panels in a row of a figure's file.
_COLUMNS = 3


def view_of(result: AnalysisResult) -> AnalysisView:
    """The tables and figures of a result."""
    module, _, name = VIEWS[result.ANALYSIS].partition(":")
    make: Callable[[Any], AnalysisView] = getattr(import_module(module), name)
    return make(result)


def draw_analysis(result: AnalysisResult, folder: Path) -> Path:
    """Write all figures of a result as ``<analysis>.svg`` into a folder; returns its path."""
    with drawing(PAPER):
        figure = draw_panels(*view_of(result).panels, about=result.subject.about, columns=_COLUMNS)
        (path,) = save(figure, folder, result.ANALYSIS, ("svg",))
    return path
