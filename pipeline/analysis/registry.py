"""The analyses by name; does not load torch, because the command line and the report read it first.

An analysis is a module of this package with a function ``(subject, options) -> result``, a class of options in
`pipeline.analysis.analysis_options`, and a view in `tune.analysis_views` that makes its tables and figures.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.analysis.analysis_options import (
    AnalysisOptions,
    BatchNormOptions,
    DynamicsOptions,
    EnergyOptions,
    GradientOptions,
    InferenceOptions,
    RateOptions,
    RobustnessOptions,
)
from preprocess.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.analysis.stored_result import AnalysisResult


@dataclass(frozen=True)
class Analysis:
    """An entry of `ANALYSES`.

    Attributes:
        title: The heading of its section in a report.
        summary: What it shows, for the list of analyses.
        options: The class of its options.
        function: ``module:function``, imported on use; called with a run folder, preset or `Analysed`, and the options.
        result: ``module:Class`` of what the function returns.
    """

    title: str
    summary: str
    options: type[AnalysisOptions]
    function: str
    result: str

    def run(self, analysed: Any, options: AnalysisOptions) -> AnalysisResult:
        """Run the analysis; see its function for the errors."""
        call: Callable[..., AnalysisResult] = _named(self.function)
        return call(analysed, options)

    @property
    def result_class(self) -> type[AnalysisResult]:
        """The class of the result."""
        found: type[AnalysisResult] = _named(self.result)
        return found


ANALYSES: dict[str, Analysis] = {
    "gradients": Analysis(
        "Gradients",
        "parts of the gradient by distance in time, and how far inputs reach later spikes",
        GradientOptions,
        "pipeline.analysis.gradients:analyse_gradients",
        "pipeline.analysis.gradients:GradientResult",
    ),
    "dynamics": Analysis(
        "Dynamics",
        "traces of single neurons, inter-spike intervals, rate over input, autocorrelation",
        DynamicsOptions,
        "pipeline.analysis.dynamics:analyse_dynamics",
        "pipeline.analysis.dynamics:DynamicsResult",
    ),
    "rates": Analysis(
        "Firing rates",
        "firing rate by layer and time step, silent and saturated neurons, sparsity",
        RateOptions,
        "pipeline.analysis.rates:analyse_rates",
        "pipeline.analysis.rates:RateResult",
    ),
    "energy": Analysis(
        "Energy",
        "operations and energy of an inference by several rules, with and without memory accesses",
        EnergyOptions,
        "pipeline.analysis.energy_costs:analyse_energy",
        "pipeline.analysis.energy_costs:CostResult",
    ),
    "robustness": Analysis(
        "Robustness",
        "accuracy with noise events, hot pixels, dropped events, time jitter and other time steps",
        RobustnessOptions,
        "pipeline.analysis.robustness:analyse_robustness",
        "pipeline.analysis.robustness:RobustnessResult",
    ),
    "inference": Analysis(
        "Inference with LIF dynamics",
        "accuracy of the trained weights with LIF neurons of soft and hard reset; NIR export",
        InferenceOptions,
        "pipeline.analysis.lif_inference:analyse_inference",
        "pipeline.analysis.lif_inference:InferenceResult",
    ),
    "batch-norm": Analysis(
        "Batch norm in evaluation",
        "accuracy with the running average, with the statistics of batches, and with averages estimated again",
        BatchNormOptions,
        "pipeline.analysis.batch_norm_statistics:analyse_batch_norm",
        "pipeline.analysis.batch_norm_statistics:BatchNormResult",
    ),
}


def find_analysis(name: str) -> Analysis:
    """The analysis of this name; ConfigError if there is none."""
    if name in ANALYSES:
        return ANALYSES[name]
    near = difflib.get_close_matches(name, ANALYSES, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"ANALYSIS: expected one of {', '.join(ANALYSES)}, found '{name}'.{hint}")


def _named(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)
