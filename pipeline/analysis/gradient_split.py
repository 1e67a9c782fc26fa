"""The gradient of a loss with respect to a neuron's potential, split into spatial and temporal parts.

With P[t] = dL/ds[t] H[t], the spatial part, where H is the surrogate gradient and dL/ds[t] does not include paths
through the neuron's own later steps, and with

    epsilon[t] = du[t+1]/du[t] + du[t+1]/ds[t] H[t]    at constant m    (Huang et al., ICML 2024, Eq. 6)
    psi[t] = dm[t]/du[t] + dm[t]/ds[t] H[t]                             (Eq. 23)
    mu[t] = du[t+1]/dm[t],  rho[t] = dm[t+1]/dm[t]       at constant u[t+1] and s[t+1],

the chain rule gives, from the last step backwards,

    dL/dm[t] = mu[t] dL/du[t+1] + rho[t] dL/dm[t+1]
    dL/du[t] = P[t] + epsilon[t] dL/du[t+1] + psi[t] dL/dm[t]           (for LIF without the last term: Eqs. 10-13)

The paper's Eqs. 22 and 45 have epsilon + mu psi in place of epsilon, and its Eq. 48 has rho + psi[t+1] mu[t] in place
of rho. Both count paths from m[t] to u[t+1] twice, so that the printed parts do not sum to the gradient; here epsilon
and rho are as above, and everything else is as printed. `printed_gradient` is the printed recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from pipeline.analysis.neuron_equations import Equations, Trace


@dataclass(frozen=True, eq=False)
class Linearised:
    """The derivatives of a neuron's steps along a trace, of shape (T, ...) or (T - 1, ...) from one step to the next.

    Attributes:
        slope: H[t], the surrogate gradient ds[t]/du[t].
        gain: du[t]/dx[t].
        epsilon: Of u[t+1] by u[t], through the spike too, at constant m.
        psi: Of m[t] by u[t], through the spike too; None for a neuron without m or with a detached one.
        mu: Of u[t+1] by m[t]; likewise.
        rho: Of m[t+1] by m[t]; likewise.
        furthest: The largest distance over which gradients flow; None for no limit.
    """

    slope: torch.Tensor
    gain: float
    epsilon: torch.Tensor
    psi: torch.Tensor | None = None
    mu: torch.Tensor | None = None
    rho: torch.Tensor | None = None
    furthest: int | None = None


class PartsAtDistance(NamedTuple):
    """The parts of dL/du[t] for t = 0 .. T - 1 - distance, each (T - distance, ...).

    Attributes:
        membrane: What reaches u[t] from u[t+1]; at distance 0 the spatial part.
        complementary: What reaches u[t] through m[t]; None for a neuron without that path.
    """

    membrane: torch.Tensor
    complementary: torch.Tensor | None

    @property
    def total(self) -> torch.Tensor:
        """The sum of both."""
        return self.membrane if self.complementary is None else self.membrane + self.complementary


@dataclass(frozen=True)
class Window:
    """How far back gradients flow; `pipeline.neurons.truncation` has the two kinds.

    Attributes:
        block: Number of time steps in a block, between which no gradient flows; None for no blocks.
        furthest: The largest distance t' - t from a spike s[t'] back to u[t]; None for no limit.
    """

    block: int | None = None
    furthest: int | None = None


NO_WINDOW = Window()


def linearise(equations: Equations, along: Trace, window: Window = NO_WINDOW) -> Linearised:
    """Differentiate the steps of a neuron along a trace.

    Args:
        equations: The neuron's.
        along: Its trace.
        window: How far back gradients flow; its blocks are in the derivatives, its distance is in the sums of parts.
    """
    u, m, s = along.u, along.m, along.spikes
    slope = equations.slope(u)
    reset_slope = torch.zeros_like(slope) if equations.detach_reset else slope
    # 0 where a rectified potential does not reach the membrane.
    passes = (u > 0).to(u.dtype) if equations.rectified else torch.ones_like(u)
    if equations.v_reset is not None:
        after = passes * (1.0 - s) + (equations.v_reset - equations.firing(u)) * reset_slope
    elif m is None:
        after = passes - equations.reset * reset_slope
    else:
        after = passes - (equations.reset + torch.sigmoid(m)) * reset_slope
    epsilon = equations.keep * after[:-1]
    psi = mu = rho = None
    if m is not None and not equations.detach_m:
        raised = torch.sigmoid(m)
        mu = -equations.keep * (s * raised * (1.0 - raised))[:-1]
        if equations.adaptation == "decayed":
            decay = torch.sigmoid(u / equations.tau)
            before = torch.cat([torch.zeros_like(m[:1]), m[:-1]])
            psi = before * decay * (1.0 - decay) / equations.tau + slope
            rho = decay[1:]
        else:
            psi, rho = slope, torch.ones_like(mu)
    if window.block is not None:
        inside = torch.arange(1, len(u), device=u.device) % window.block != 0
        keeps = inside.view(-1, *(1,) * (u.dim() - 1)).to(u.dtype)
        epsilon = epsilon * keeps
        mu, rho = (None if each is None else each * keeps for each in (mu, rho))
    return Linearised(slope, equations.gain, epsilon, psi, mu, rho, window.furthest)


def parts_by_source(steps: Linearised, source: torch.Tensor) -> Iterator[PartsAtDistance]:
    """The parts of dL/du[t] by the step t + distance at which the loss acts on the neuron's spike.

    They sum to dL/du. The part at a distance is P[t + distance] times the total derivative of u[t + distance] by u[t];
    its two terms are what of it comes to u[t] from u[t+1] and through m[t], the two temporal terms of Eq. 45.

    Args:
        steps: The derivatives.
        source: P, shape (T, ...). With `steps.slope` in its place, the parts are ds[t + distance]/du[t].
    """
    of_u, of_m = source, None if steps.mu is None else torch.zeros_like(source)
    yield PartsAtDistance(source, None)
    for distance in range(1, len(source)):
        # From parts that end at step t + 1 to those that end at step t, for all t at once.
        left = len(source) - distance
        if steps.furthest is not None and distance > steps.furthest:
            nothing = torch.zeros_like(source[:left])
            yield PartsAtDistance(nothing, None if of_m is None else nothing)
            continue
        later = of_u[1:]
        membrane = steps.epsilon[:left] * later
        complementary = None
        if of_m is not None and steps.mu is not None and steps.rho is not None and steps.psi is not None:
            of_m = steps.mu[:left] * later + steps.rho[:left] * of_m[1:]
            complementary = steps.psi[:left] * of_m
        found = PartsAtDistance(membrane, complementary)
        of_u = found.total
        yield found


def total_gradients(steps: Linearised, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """dL/du and dL/dm by the recursion from the last step backwards, each (T, ...); the latter is None without m.

    A largest distance has no such recursion: there, dL/du is the sum of the parts.

    Args:
        steps: The derivatives.
        source: P, shape (T, ...).
    """
    of_u = source.clone()
    of_m = None if steps.mu is None else torch.zeros_like(source)
    for t in reversed(range(len(source) - 1)):
        of_u[t] += steps.epsilon[t] * of_u[t + 1]
        if of_m is not None and steps.mu is not None and steps.rho is not None and steps.psi is not None:
            of_m[t] = steps.mu[t] * of_u[t + 1] + steps.rho[t] * of_m[t + 1]
            of_u[t] += steps.psi[t] * of_m[t]
    return of_u, of_m


def parts_of_paper(steps: Linearised, source: torch.Tensor) -> Iterator[PartsAtDistance]:
    """The parts of dL/du[t] as in Eqs. 10-13 (LIF) and 20-24 (CLIF), by t' - t, with epsilon and rho as corrected.

    T_M1[t, t'] = (P[t'] + psi[t'] dL/dm[t']) prod epsilon is the membrane term, and psi[t] T_M2[t, t'] the
    complementary one, T_M2[t, t'] = dL/du[t'] mu[t'-1] prod rho. They sum to dL/du. Both contain total derivatives at
    t', so the loss that a part comes from may act later than at t'; `parts_by_source` separates these. For LIF both
    splits are the same.

    Args:
        steps: The derivatives.
        source: P, shape (T, ...).
    """
    if steps.psi is None or steps.mu is None or steps.rho is None:
        yield from parts_by_source(steps, source)
        return
    yield PartsAtDistance(source, None)
    if steps.furthest is not None:
        yield from _parts_in_windows(steps, source, steps.furthest)
        return
    of_u, of_m = total_gradients(steps, source)
    assert of_m is not None
    arriving = source + steps.psi * of_m
    shared = steps.mu * of_u[1:]
    for distance in range(1, len(source)):
        left = len(source) - distance
        arriving = steps.epsilon[:left] * arriving[1:]
        if distance > 1:
            shared = steps.rho[:left] * shared[1:]
        yield PartsAtDistance(arriving, steps.psi[:left] * shared)


def _parts_in_windows(steps: Linearised, source: torch.Tensor, furthest: int) -> Iterator[PartsAtDistance]:
    """The temporal parts of Eqs. 20-24 with the total derivatives of each u[t]'s own window t .. t + furthest."""
    assert steps.psi is not None and steps.mu is not None and steps.rho is not None
    after = _window_gradients(steps, source, furthest)
    of_epsilon, of_rho = torch.ones_like(source), torch.ones_like(source[1:])
    for distance in range(1, len(source)):
        left = len(source) - distance
        if distance > furthest:
            nothing = torch.zeros_like(source[:left])
            yield PartsAtDistance(nothing, nothing)
            continue
        of_u, of_m = after[distance]
        of_epsilon = steps.epsilon[:left] * of_epsilon[1:]
        if distance > 1:
            of_rho = steps.rho[:left] * of_rho[1:]
        membrane = of_epsilon * (source[distance:] + steps.psi[distance:] * of_m)
        yield PartsAtDistance(membrane, steps.psi[:left] * of_rho * steps.mu[distance - 1 :] * of_u)


def _window_gradients(
    steps: Linearised, source: torch.Tensor, furthest: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The derivatives by u[t + k] and m[t + k] of the loss at t + k .. t + furthest; entry k has t = 0 .. T - 1 - k."""
    assert steps.psi is not None and steps.mu is not None and steps.rho is not None
    last = min(furthest, len(source) - 1)
    found = [(source[last:], torch.zeros_like(source[last:]))]
    for k in reversed(range(last)):
        next_u, next_m = found[-1]
        of_u, of_m = source[k:].clone(), torch.zeros_like(source[k:])
        of_m[:-1] = steps.mu[k:] * next_u + steps.rho[k:] * next_m
        of_u[:-1] += steps.epsilon[k:] * next_u
        of_u += steps.psi[k:] * of_m
        found.append((of_u, of_m))
    return found[::-1]


def printed_gradient(steps: Linearised, source: torch.Tensor) -> torch.Tensor:
    """dL/du by Eqs. 45 and 48 as printed, (T, ...), which count paths from m[t] to u[t+1] twice."""
    of_u = source.clone()
    of_m = torch.zeros_like(source)
    for t in reversed(range(len(source) - 1)):
        if steps.mu is None or steps.rho is None or steps.psi is None:
            of_u[t] += steps.epsilon[t] * of_u[t + 1]
            continue
        rho = steps.rho[t] + steps.psi[t + 1] * steps.mu[t]
        of_m[t] = steps.mu[t] * of_u[t + 1] + rho * of_m[t + 1]
        xi = steps.epsilon[t] + steps.mu[t] * steps.psi[t]
        of_u[t] += xi * of_u[t + 1] + steps.psi[t] * of_m[t]
    return of_u
