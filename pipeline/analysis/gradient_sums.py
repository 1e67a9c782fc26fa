"""Sums over the parts of a spiking layer's gradient, batch by batch, and the measures that are made of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.analysis.gradient_split import (
    Linearised,
    PartsAtDistance,
    Window,
    linearise,
    parts_by_source,
    parts_of_paper,
    printed_gradient,
)
from pipeline.analysis.neuron_equations import Equations, follow, trace
from pipeline.analysis.node_potentials import node_potentials

# Values of one tensor (T, n) that are processed at a time, in float64.
_CHUNK = 1 << 17


@dataclass(frozen=True)
class DistancePart:
    """A part of the gradient at a distance of time steps, as root mean squares over all steps, samples and neurons.

    Attributes:
        distance: t' - t in time steps; 0 is the spatial part.
        total: Of both terms together.
        membrane: Of what reaches u[t] from u[t+1]; of the spatial part at distance 0.
        complementary: Of what reaches u[t] through m[t]; None at distance 0 and for neurons without that path.
    """

    distance: int
    total: float
    membrane: float
    complementary: float | None


@dataclass(frozen=True)
class Reach:
    """How far the input of a neuron affects its spikes, by the surrogate gradient ds[t']/dx[t].

    Attributes:
        neuron: Name of the neuron.
        mean: Mean of |ds[t']/dx[t]| over all t, samples and neurons, by distance t' - t = 0 .. T - 1.
        nonzero: Share of the pairs for which it is not exactly zero, likewise.
    """

    neuron: str
    mean: tuple[float, ...]
    nonzero: tuple[float, ...]


@dataclass(frozen=True)
class LayerGradients:
    """The gradient with respect to the potentials u[t] of one layer.

    Root mean squares (rms) are over all time steps, samples and neurons, in the unit of the loss per unit of the
    potential.

    Attributes:
        layer: Name of the layer.
        neurons: Number of neurons.
        gradient: Rms of dL/du.
        spatial: Rms of its spatial part.
        temporal: Rms of the sum of its temporal parts.
        by_source: Its parts by the distance to the step at which the loss acts on the neuron's spike.
        of_paper: Its parts by t' - t as in Eqs. 12, 21 and 24; the same as `by_source` for neurons without m.
        zero_temporal: Share of all (step before the last, sample, neuron) whose temporal part is exactly zero.
        zero_cut: Share of them for which a later step has a spatial part that does not reach back; the other zeros have
            no later spatial part.
        zero_neurons: Share of all (sample, neuron) whose temporal part is exactly zero at every step.
        residual: Relative difference between the sum of the parts and autograd's gradient, in the L2 norm.
        printed_difference: The same for the sum of the parts of Eqs. 45 and 48 as printed; None without m's
            gradient or with a sliding window, for which the paper has no equations.
        reach: Reach of the layer's own neuron first, then of other neurons that get the same input currents.
    """

    layer: str
    neurons: int
    gradient: float
    spatial: float
    temporal: float
    by_source: tuple[DistancePart, ...]
    of_paper: tuple[DistancePart, ...]
    zero_temporal: float
    zero_cut: float
    zero_neurons: float
    residual: float
    printed_difference: float | None
    reach: tuple[Reach, ...]


class LayerSums:
    """The sums of one layer.

    Args:
        name: Name of the layer.
        node: The layer.
        own: Its equations.
        compared: Equations of all neurons whose reach is measured, the layer's own first.
        window: How far back gradients flow.
    """

    def __init__(
        self, name: str, node: nn.Module, own: Equations, compared: Mapping[str, Equations], window: Window
    ) -> None:
        self._name, self._node, self._own, self._window = name, node, own, window
        self._compared = compared
        self._neurons = 0
        self._by_source, self._of_paper = _Parts(), _Parts()
        self._reach = {neuron: _Magnitudes() for neuron in compared}
        # Squares of dL/du, its spatial and temporal parts, the residual and the printed difference, and counts.
        self._squares = dict.fromkeys(("gradient", "spatial", "temporal", "residual", "printed"), 0.0)
        self._counts = dict.fromkeys(("steps", "before_last", "zero", "cut", "neurons", "zero_neurons"), 0.0)

    def add(
        self,
        x: torch.Tensor,
        of_spikes: torch.Tensor,
        of_x: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """Add a batch.

        Args:
            x: Input current, (T, B, ...).
            of_spikes: dL/ds of its output, likewise, without paths through the layer's own later steps.
            of_x: dL/dx of autograd, likewise.
            mask: The steps that count, bool (T, B); None for all.
        """
        self._neurons = x[0, 0].numel()
        u = node_potentials(self._node, self._own, x)
        valid = None if mask is None else mask[..., None].expand(*mask.shape, self._neurons).flatten(1)
        # Compared in the type of u, as the node compares.
        spikes = u >= self._own.v_threshold
        tensors = [tensor.flatten(1) for tensor in (x, u, spikes, of_spikes, of_x)]
        with _one_thread():
            for part in _chunks(x.shape[0], tensors[0].shape[1]):
                wide = [tensor[:, part].double() for tensor in tensors]
                self._add_chunk(wide, None if valid is None else valid[:, part])

    def _add_chunk(self, tensors: list[torch.Tensor], valid: torch.Tensor | None) -> None:
        x, u, spikes, of_spikes, of_x = tensors
        steps = linearise(self._own, follow(self._own, u, spikes), self._window)
        source = of_spikes * steps.slope
        temporal = self._split(steps, source, valid)
        found = source + temporal
        squares = self._squares
        of_u = of_x / steps.gain
        for name, values in (
            ("gradient", of_u),
            ("spatial", source),
            ("temporal", temporal),
            ("residual", found - of_u),
        ):
            squares[name] += _square(values)
        if self._is_printed:
            squares["printed"] += _square(printed_gradient(steps, source) - of_u)
        self._count_zeros(source, temporal, valid)
        for neuron, equations in self._compared.items():
            along = steps if equations is self._own else linearise(equations, trace(equations, x), self._window)
            for distance, part in enumerate(parts_by_source(along, along.slope)):
                self._reach[neuron].add(distance, part.total * along.gain, valid)

    def _split(self, steps: Linearised, source: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        """Add the parts of both splits; returns the sum of the temporal ones, (T, n)."""
        temporal = torch.zeros_like(source)
        for distance, part in enumerate(parts_by_source(steps, source)):
            self._by_source.add(distance, part, valid)
            if distance:
                temporal[: len(source) - distance] += part.total
        for distance, part in enumerate(parts_of_paper(steps, source)):
            self._of_paper.add(distance, part, valid)
        return temporal

    def _count_zeros(self, source: torch.Tensor, temporal: torch.Tensor, valid: torch.Tensor | None) -> None:
        # A step counts if the next one is not padding.
        later = torch.ones_like(source[1:], dtype=torch.bool) if valid is None else valid[1:]
        zero = (temporal[:-1] == 0) & later
        comes = (source != 0).flip(0).cumsum(0).flip(0)[1:] > 0
        counts = self._counts
        counts["steps"] += source.numel() if valid is None else int(valid.sum())
        counts["before_last"] += int(later.sum())
        counts["zero"] += int(zero.sum())
        counts["cut"] += int((zero & comes).sum())
        counts["neurons"] += int(later.any(0).sum())
        counts["zero_neurons"] += int((later.any(0) & (zero | ~later).all(0)).sum())

    @property
    def _is_printed(self) -> bool:
        """Whether Eqs. 45 and 48 are those of this layer: it has a gradient through m, and no sliding window."""
        through_m = self._own.adaptation != "none" and not self._own.detach_m
        return through_m and self._window.furthest is None

    def result(self) -> LayerGradients:
        """The measures over all batches."""
        squares, counts = self._squares, self._counts
        whole = squares["gradient"] ** 0.5

        def rms(name: str) -> float:
            return (squares[name] / counts["steps"]) ** 0.5

        def relative(name: str) -> float:
            return squares[name] ** 0.5 / whole if whole else 0.0

        before_last = max(counts["before_last"], 1.0)
        return LayerGradients(
            layer=self._name,
            neurons=self._neurons,
            gradient=rms("gradient"),
            spatial=rms("spatial"),
            temporal=rms("temporal"),
            by_source=self._by_source.parts(),
            of_paper=self._of_paper.parts(),
            zero_temporal=counts["zero"] / before_last,
            zero_cut=counts["cut"] / before_last,
            zero_neurons=counts["zero_neurons"] / max(counts["neurons"], 1.0),
            residual=relative("residual"),
            printed_difference=relative("printed") if self._is_printed else None,
            reach=tuple(magnitudes.reach(neuron) for neuron, magnitudes in self._reach.items()),
        )


class _Parts:
    """Sums of squares of values (T - distance, n) by distance; steps without a later one at a distance do not count."""

    def __init__(self) -> None:
        # Pairs of steps, and squares of the sum, of the membrane and of the complementary term.
        self._totals: list[list[float]] = []
        self._has_m = False

    def add(self, distance: int, part: PartsAtDistance, valid: torch.Tensor | None) -> None:
        """Add the parts at a distance."""
        if len(self._totals) == distance:
            self._totals.append([0.0] * 4)
        self._has_m |= part.complementary is not None
        later = None if valid is None else valid[distance:]
        total = part.total
        squares = [_square(values, later) for values in (total, part.membrane)]
        squares.append(0.0 if part.complementary is None else _square(part.complementary, later))
        found = [_count(total, later), *squares]
        self._totals[distance] = [a + b for a, b in zip(self._totals[distance], found, strict=True)]

    def parts(self) -> tuple[DistancePart, ...]:
        """Root mean squares by distance."""
        means = [[(square / max(pairs, 1.0)) ** 0.5 for square in squares] for pairs, *squares in self._totals]
        return tuple(
            DistancePart(distance, total, membrane, m if distance and self._has_m else None)
            for distance, (total, membrane, m) in enumerate(means)
        )


class _Magnitudes:
    """Sums of magnitudes, and numbers of non-zeros, of values (T - distance, n) by distance."""

    def __init__(self) -> None:
        self._totals: list[list[float]] = []

    def add(self, distance: int, values: torch.Tensor, valid: torch.Tensor | None) -> None:
        """Add the values at a distance."""
        if len(self._totals) == distance:
            self._totals.append([0.0] * 3)
        later = None if valid is None else valid[distance:]
        values = values if later is None else values * later
        found = _count(values, later), float(torch.linalg.vector_norm(values, 1)), float(torch.count_nonzero(values))
        self._totals[distance] = [a + b for a, b in zip(self._totals[distance], found, strict=True)]

    def reach(self, neuron: str) -> Reach:
        """Means by distance."""
        pairs = [max(count, 1.0) for count, _, _ in self._totals]
        mean = tuple(magnitude / each for (_, magnitude, _), each in zip(self._totals, pairs, strict=True))
        nonzero = tuple(count / each for (_, _, count), each in zip(self._totals, pairs, strict=True))
        return Reach(neuron, mean, nonzero)


def _count(values: torch.Tensor, valid: torch.Tensor | None) -> float:
    return float(values.numel() if valid is None else valid.sum())


def _square(values: torch.Tensor, valid: torch.Tensor | None = None) -> float:
    """The sum of squares."""
    return float(torch.linalg.vector_norm(values if valid is None else values * valid)) ** 2


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one CPU thread in the context.

    A chunk is thousands of short operations, after each of which threads wait for each other: with other processes on
    the machine, two threads took ten times as long as one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chunks(steps: int, columns: int) -> Iterator[slice]:
    size = max(1, _CHUNK // steps)
    for start in range(0, columns, size):
        yield slice(start, start + size)
