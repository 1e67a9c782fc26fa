"""Batch norm and neuron as one on CUDA, without a GPU: equal under Triton's interpreter, and when it is chosen.

`tests/fake_cuda.py` has the device of the latter. Compiled kernels are a matter of `test_neurons_on_cuda.py`.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_cuda
import pytest
import torch
from fake_cuda import CUDA, DTYPES, LaunchError
from patience import PATIENCE_S
from test_norm_neuron import make, make_norm
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from pipeline.kernels.norm_neuron import can_fuse
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.neurons import CLIFNode

pytest.importorskip("triton", reason="Triton comes with torch for CUDA only")

TESTS = Path(__file__).resolve().parents[2]
SHAPE = (10, 4, 6, 5, 7)


@pytest.fixture
def device() -> Iterator[FakeTensorMode]:
    with fake_cuda.fake_cuda() as mode:
        yield mode


def norm_on(mode: FakeTensorMode, kind: Any = "per-step") -> SequenceBatchNorm:
    with unset_fake_temporarily():
        norm = make_norm(SHAPE[2], kind)
    fake_cuda.move(norm, mode)
    return norm


@pytest.mark.slow
def test_interpreted_kernels_equal_the_two_apart(tmp_path: Path, share_of: Callable[[int], int]):
    """The least share meets every kind of neuron, mode, element type and form; make test-all runs all of them."""
    folders = (TESTS.parent, TESTS, Path(__file__).parent)
    variables = {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, str(TESTS / "interpreted_norm.py"), str(share_of(1000) / 1000)],
        env=os.environ | variables | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "all"


@pytest.mark.parametrize("mode", ["per-step", "joint"])
@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_a_step_launches_on_the_device_alone_and_keeps_less_than_the_two_apart(
    device: FakeTensorMode, kind: str, mode: str
):
    for dtype in DTYPES.values():
        kept = []
        for together in (True, False):
            node, norm = make(kind, "auto"), norm_on(device, mode)
            x = torch.empty(SHAPE, dtype=dtype, device=CUDA, requires_grad=True)
            found: dict[int, int] = {}

            def remember(tensor: torch.Tensor, found: dict[int, int] = found) -> torch.Tensor:
                storage = tensor.untyped_storage()
                found[storage._cdata] = storage.nbytes()
                return tensor

            with fake_cuda.Strict(), torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
                assert can_fuse(node, norm, x)
                spikes = node(x, norm=norm) if together else node(norm(x))
            with fake_cuda.Strict():
                fake_cuda.backward(spikes.float().sum())
            assert spikes.dtype == x.grad.dtype == dtype and x.grad.shape == x.shape
            assert norm.weight.grad.device == norm.bias.grad.device == CUDA
            kept.append(sum(found.values()))
        assert kept[0] < 0.85 * kept[1], (dtype, kept)


def test_evaluation_saves_nothing_and_runs_as_one(device: FakeTensorMode):
    node, norm = make("clif", "auto"), norm_on(device).eval()
    with torch.no_grad(), fake_cuda.Strict():
        x = torch.empty(SHAPE, device=CUDA)
        assert can_fuse(node, norm, x)
        assert node(x, norm=norm).shape == SHAPE


def test_what_has_no_kernel_runs_apart(device: FakeTensorMode):
    x = torch.empty(SHAPE, device=CUDA)
    norm, node = norm_on(device), make("clif", "auto")
    assert all(can_fuse(node, norm, x.to(dtype)) for dtype in DTYPES.values())
    assert not can_fuse(node, norm, x.double()) and not can_fuse(node, norm, x[:, 0])
    assert not can_fuse(CLIFNode(step_mode="m", detach_m=True), norm, x)
    assert not can_fuse(make("clif", "torch"), norm, x)
    assert not can_fuse(node, nn.SyncBatchNorm(SHAPE[2]), x)  # type: ignore[arg-type]
    # Gradients through fixed statistics, and statistics averaged over all batches.
    assert not can_fuse(node, norm_on(device).eval(), x)
    norm.momentum = None
    assert not can_fuse(node, norm, x)
    norm.momentum = 0.1
    hook = norm.register_forward_hook(lambda *_: None)
    assert not can_fuse(node, norm, x)
    hook.remove()
    assert can_fuse(node, norm, x)
    assert not can_fuse(node, norm, torch.empty(5, 1, SHAPE[2], 1, 1, device=CUDA))


def test_a_launch_with_the_wrong_memory_fails(device: FakeTensorMode):
    from pipeline.kernels import norm_cuda

    x = torch.empty(SHAPE, device=CUDA)
    form = norm_cuda.Form.of(x)
    table, sums = torch.empty(10, 4, 6, device=CUDA), torch.empty(10, 2, 6, device=CUDA)
    norm_cuda.finish(torch.empty_like(x), x, form, table, sums)
    for bad in (sums.half(), sums[:, :1], sums.transpose(0, 2), torch.empty(10, 2, 6)):
        with pytest.raises(LaunchError, match=r"sums: expected .*, found"):
            norm_cuda.finish(torch.empty_like(x), x, form, table, bad)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["per-step", "joint"])
@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_a_gpu_computes_as_one_what_it_computes_apart(kind: str, mode: Any):
    """In every element type, at pixel numbers that allow wide loads and that do not, for T that runs divide or not."""
    for shape in ((10, 16, 24, 17, 17), (7, 4, 64, 32, 32), (4, 8, 128, 6, 6)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1.5 + 3.0
        weights = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        for dtype, near in ((torch.float32, 1e-4), (torch.bfloat16, 2e-2), (torch.float16, 5e-3)):
            found = []
            for together in (True, False):
                node, norm = make(kind, "auto"), make_norm(shape[2], mode).cuda()
                # In float32 of the same rounded values, so that the same elements spike.
                inputs = x.to(dtype).cuda().to(dtype if together else torch.float32).requires_grad_()
                assert can_fuse(node, norm, inputs)
                spikes = node(inputs, norm=norm) if together else node(norm(inputs))
                (spikes.float() * weights.cuda()).sum().backward()
                buffers = copy.deepcopy(norm).cpu().running_var
                found.append((spikes.detach().float(), inputs.grad.float(), norm.weight.grad, buffers))
            ours, apart = found
            differing = float((ours[0] != apart[0]).double().mean())
            assert differing < 1e-4, (shape, dtype, differing)
            assert float((ours[1] - apart[1]).norm() / apart[1].norm()) < max(near, 30 * differing**0.5)
            assert float((ours[3] - apart[3]).norm() / apart[3].norm()) < 1e-5
