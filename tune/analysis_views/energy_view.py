"""The view of the energy of an inference: by rule, by term of memory accesses, and by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.analysis.energy_costs import CostResult
from tune.analysis_views.analysis_view import AnalysisView
from tune.rendering.firing_rate_figure import short_layer
from tune.rendering.panels import Panel
from tune.rendering.style import PALETTE
from tune.rendering.table import Table, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TERMS = {
    "potentials": "states of neurons",
    "parameters": "weights and biases",
    "in_out": "inputs and outputs",
    "arithmetic": "arithmetic",
    "addressing": "addressing",
}


def energy_view(result: CostResult) -> AnalysisView:
    """Tables and figures of what an inference costs."""
    measured = f"Measured on {result.subject.samples} samples; estimated from operation counts."
    return AnalysisView(
        lead=(
            f"One inference takes {_uj(result.table6_uj)} µJ by the rule of the paper's Table 6, "
            f"{_uj(result.sparse_uj)} µJ if zero inputs cost nothing, and {_uj(result.corrected.total_uj)} µJ with "
            "memory accesses."
        ),
        sentences=(
            "Table 6 counts a layer that receives other values than spikes in full, also behind an average pooling. "
            "Such an energy hardly depends on how much the neurons fire; the sparse count does.",
            "The memory model is that of Lemaire et al. (2022). Table 7 departs from it, for example in that it "
            "charges CLIF's second state for each synaptic operation; docs/science.md lists the differences.",
            "All are estimates for 45 nm from numbers of operations, not measurements of a chip.",
            *([f"No terms as in Table 7: {result.why_not_printed}."] if result.printed is None else []),
        ),
        tables=(_rules(result), _terms(result), _layers(result)),
        panels=(
            Panel(
                "Synaptic operations by layer",
                "Of one inference; dense: if no input were zero. Operations of neurons and memory accesses are not "
                f"included. {measured}",
                _bars(result),
            ),
            Panel("Energy by rule", f"Of one inference, by different models. {measured}", _energies(result)),
        ),
    )


def _rules(result: CostResult) -> Table:
    rows = [
        ("Table 6: MACs of one time step", _count(result.macs_per_step)),
        ("Table 6: ACs of one time step", _count(result.acs_per_step)),
        ("Table 6: energy of one time step, µJ", _uj(result.table6_per_step_uj)),
        (f"Table 6: energy of all {result.timesteps:g} time steps, µJ", _uj(result.table6_uj)),
        ("zero inputs cost nothing: energy, µJ", _uj(result.sparse_uj)),
        ("with memory accesses: energy, µJ", _uj(result.corrected.total_uj)),
        ("NeuroBench: effective MACs", _count(result.effective_macs)),
        ("NeuroBench: effective ACs", _count(result.effective_acs)),
        ("NeuroBench: dense synaptic operations", _count(result.dense)),
        ("NeuroBench: activation sparsity", f"{result.activation_sparsity:.4f}"),
        ("NeuroBench: connection sparsity", f"{result.connection_sparsity:.4f}"),
        ("NeuroBench: footprint, bytes", f"{result.footprint_bytes:,}"),
    ]
    return Table("Costs of one inference", ("rule and quantity", "value"), tuple(rows), "lr")


def _terms(result: CostResult) -> Table:
    versions = {"corrected, µJ": result.corrected}
    if result.printed is not None:
        versions["as in Table 7, µJ"] = result.printed
    rows = [
        (title, *(_uj(getattr(terms, name) * 1e-6) for terms in versions.values())) for name, title in _TERMS.items()
    ]
    rows.append(("total", *(_uj(terms.total_uj) for terms in versions.values())))
    columns = ("term", *versions)
    title = "Energy of one inference with memory accesses and addressing"
    return Table(title, columns, tuple(rows), "l" + "r" * len(versions), summary=1)


def _layers(result: CostResult) -> Table:
    rows = [
        (
            short_layer(layer.layer),
            layer.kind,
            _count(layer.dense),
            _count(layer.macs),
            _count(layer.acs),
            format_percent(layer.input_sparsity),
            _uj(layer.energy_uj),
        )
        for layer in result.layers
    ]
    columns = ("layer", "kind", "dense", "effective MACs", "effective ACs", "inputs that are zero, %", "energy, µJ")
    return Table("Synaptic operations of one inference by layer", columns, tuple(rows), "llrrrrr")


def _bars(result: CostResult) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        places = range(len(result.layers))
        series = {
            "dense": [layer.dense for layer in result.layers],
            "effective MACs": [layer.macs for layer in result.layers],
            "effective ACs": [layer.acs for layer in result.layers],
        }
        for k, (name, values) in enumerate(series.items()):
            millions = [value / 1e6 for value in values]
            axes.bar([place + 0.27 * (k - 1) for place in places], millions, 0.25, color=PALETTE[k], label=name)
        names = [short_layer(layer.layer) for layer in result.layers]
        axes.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_ylabel("operations, millions")
        axes.legend(fontsize=8)

    return draw


def _energies(result: CostResult) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        totals = {
            "Table 6": result.table6_uj,
            "zero inputs free": result.sparse_uj,
            "with memory": result.corrected.total_uj,
        }
        if result.printed is not None:
            totals["as in Table 7"] = result.printed.total_uj
        bars = axes.bar(list(totals), list(totals.values()), 0.6, color=PALETTE[0])
        axes.bar_label(bars, [_uj(value) for value in totals.values()], fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_ylabel("energy, µJ")

    return draw


def _uj(value: float) -> str:
    return f"{value:.4g}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.4g} M"
