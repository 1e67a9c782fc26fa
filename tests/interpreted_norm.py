"""Batch norm and neuron as one through the Triton kernels, under Triton's interpreter, beside the two apart in float64.

    TRITON_INTERPRET=1 python tests/interpreted_norm.py SHARE

A program of its own, because Triton reads the variable as it is loaded; `test_pipeline/kernels` must be on the path,
whose test of the CPU's kernels has the reference. SHARE of all cases run, evenly spread. Writes one line for each.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import torch
from spikingjelly.activation_based import functional, surrogate
from test_norm_neuron import drawn, make, make_norm, nearest, outcome
from tolerances import NEAR, TOLERANCE, relative

from pipeline.kernels import norm_cuda
from pipeline.kernels.norm_neuron import can_fuse
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import channels_last
from pipeline.neurons.clif import cuda_with_norm_kernels as clif_with_norm
from pipeline.neurons.lif import cuda_with_norm_kernels as lif_with_norm

KINDS = ("clif", "lif", "lif-decay", "lif-detached", "lif-deep")
# One step; runs of equal length, and not; pixels of an odd number, and of one divisible by 8; states that are carried.
FORMS = {(1, 3, 3, 5, 1): [1], (7, 3, 2, 7, 9): [7], (8, 2, 2, 4, 8): [8], (6, 2, 3, 3, 5): [2, 1, 3]}
FUNCTIONS = (surrogate.PiecewiseQuadratic(1.2), surrogate.Sigmoid(3.0), surrogate.ATan(2.0))
CASES = [
    (kind, mode, shape, dtype)
    for shape, kind, mode, dtype in itertools.product(FORMS, KINDS, ("per-step", "joint"), TOLERANCE)
]


@contextlib.contextmanager
def through_triton() -> Iterator[None]:
    """A context in which tensors on the CPU are taken for tensors on CUDA."""
    torch.Tensor.is_cuda = True  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        del torch.Tensor.is_cuda


def inputs(kind: str, norm: SequenceBatchNorm, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """x of which no potential comes near the threshold or an edge of the surrogate."""
    drawings = (drawn(shape, seed).to(dtype) for seed in range(60))
    return next(x for x in drawings if nearest(kind, norm, x, FORMS[shape]) > NEAR / 3)


def compare(kind: str, mode: str, shape: tuple[int, ...], dtype: torch.dtype, **words: Any) -> None:
    """Assert that all results equal those of the two apart in float64, and those of the CPU's kernels."""
    norm, cuts = make_norm(shape[2], mode), FORMS[shape]
    x = inputs(kind, norm, shape, dtype)
    references = [outcome(make(kind, "torch", **words), copy.deepcopy(norm).double(), x.double(), cuts, False)]
    if dtype != torch.float16:
        references.append(outcome(make(kind, "auto", **words), copy.deepcopy(norm), channels_last(x), cuts, True))
    with through_triton():
        found = outcome(make(kind, "auto", **words), norm, x, cuts, True)
    assert found["x"].dtype == found["spikes"].dtype == dtype
    for expected in references:
        assert found.keys() == expected.keys() and found["spikes"].any()
        for name, value in found.items():
            near = 0.0 if name in ("spikes", "num_batches_tracked") else TOLERANCE[dtype]
            near = TOLERANCE[torch.float32] if name.startswith("running") else near
            assert relative(value, expected[name]) <= near, (name, relative(value, expected[name]))


def check_evaluation(kind: str, mode: str) -> None:
    """Without gradients, statistics move in training, and in evaluation are used; equal steps share their memory."""
    x = drawn((3, 2, 3, 3, 5), 1)
    for sequence in (x, x[:1].expand_as(x)):
        fused, apart = make_norm(3, mode), make_norm(3, mode)
        ours, theirs = make(kind, "auto"), make(kind, "torch")
        for training in (True, False):
            fused.train(training), apart.train(training)
            with torch.no_grad(), through_triton():
                assert can_fuse(ours, fused, sequence)
                found = ours(sequence, norm=fused)
            with torch.no_grad():
                assert torch.equal(found, theirs(apart(sequence)))
        assert relative(ours.v, theirs.v) < NEAR and fused.num_batches_tracked == apart.num_batches_tracked
        for name in ("running_mean", "running_var"):
            assert relative(getattr(fused, name), getattr(apart, name)) < NEAR
    functional.reset_net(ours), functional.reset_net(theirs)
    fused.train(), apart.train()
    step = x[:1].clone().requires_grad_()
    weights = drawn(tuple(x.shape), 7)
    grads = []
    for run in (lambda y: ours(y, norm=fused), lambda y: theirs(apart(y))):
        with through_triton() if not grads else contextlib.nullcontext():
            grads += torch.autograd.grad((run(step.expand_as(x)) * weights).sum(), step)
    assert relative(grads[0], grads[1]) < NEAR


def check_numbers() -> None:
    """What is not finite shows in its channel alone, and large means do not swallow the variance."""
    x = drawn((3, 2, 4, 5, 5), 0)
    x[1, 0, 2, 3, 3] = float("nan")
    node, norm = make("clif", "auto"), make_norm(4, "per-step")
    with through_triton():
        node(x, norm=norm)
    finite = torch.tensor([True, True, False, True])
    assert torch.equal(torch.isfinite(node.v).flatten(2).all(2).all(0), finite)
    assert torch.equal(torch.isfinite(norm.running_var), finite)
    large = torch.randn(2, 4, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 0.01 + 300.0
    norm, expected = make_norm(3, "joint"), make_norm(3, "joint").double()
    with through_triton():
        make("lif", "auto")(large, norm=norm)
        constant = torch.full((2, 4, 3, 9, 9), 300.1)
        flat = make_norm(3, "joint")
        make("lif", "auto")(constant, norm=flat)
    expected(large.double())
    torch.testing.assert_close(norm.running_var.double(), expected.running_var, rtol=1e-6, atol=0.0)
    assert torch.allclose(flat.running_var, torch.full((3,), 0.9), rtol=1e-6)


def main(share: float) -> None:
    torch.set_num_threads(1)
    # Small programs, so that small tensors take several, but as few lanes as the interpreter likes.
    clif_with_norm.BLOCK = lif_with_norm.BLOCK = 128
    clif_with_norm.ONE_WARP = lif_with_norm.ONE_WARP = 64
    norm_cuda.WIDE, norm_cuda._SHORTEST = 32, 64
    # The least share meets every form, kind, mode and type: 23 shares no divisor with their number.
    for k in range(max(round(share * len(CASES)), 6)):
        case = CASES[k * 23 % len(CASES)]
        compare(*case)
        print(*case, flush=True)
    pairs = list(itertools.product(("clif", "lif"), FUNCTIONS))
    for kind, function in pairs if share == 1 else pairs[1:2]:
        compare(kind, "per-step", (6, 2, 3, 3, 5), torch.float32, surrogate_function=function)
    for kind, mode in (("clif", "per-step"), ("lif-decay", "joint")):
        check_evaluation(kind, mode)
    check_numbers()
    print("all", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
