"""The kernels for CUDA without a GPU: equal to the CPU's under Triton's interpreter, and compiled for four GPUs.

The kernels themselves are run and compiled, in a process of their own: Triton reads TRITON_INTERPRET as it is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import PATIENCE_S

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import CLIFNode, make_neuron

pytest.importorskip("triton", reason="Triton comes with torch for CUDA only")

TESTS = Path(__file__).resolve().parents[2]

INTERPRETED = """
import torch
from pipeline.neurons.clif import custom_op as clif_operator
from pipeline.neurons.clif import cuda_kernels as clif_triton
from pipeline.neurons.lif import custom_op as lif_operator
from pipeline.neurons.lif import cuda_kernels as lif_triton

generator = torch.Generator().manual_seed(2)
T, shape = 5, (3, 100)
x, gs = (torch.randn(T, *shape, generator=generator) * 1.2 + 0.3 for _ in range(2))
v, m, gv, gm = (torch.randn(*shape, generator=generator) * 0.3 + 0.3 for _ in range(4))

def assert_near(found, expected, tolerance):
    for ours, cpu in zip(found, expected, strict=True):
        assert ours.dtype == cpu.dtype and ours.shape == cpu.shape
        assert float((ours.double() - cpu.double()).norm()) <= tolerance * float(cpu.double().norm()) + 1e-12

for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)):
    cast = [one.to(dtype) for one in (x, v, m, gs, gv, gm)]
    xd, vd, md, gsd, gvd, gmd = cast
    for kind, alpha in ((0, 1.0), (1, 0.8), (2, 2.0), (3, 1.3)):
        detach = kind == 1
        settings = clif_operator.Settings(1.8, 0.9, kind, alpha, detach)
        *found, u = clif_triton.forward(xd, vd, md, settings, True)
        spikes, states, (u_cpu,) = clif_operator._forward(xd, (vd, md), settings, True)
        expected = [spikes, *states]
        assert torch.equal(found[0], expected[0]) and found[0].any()
        assert_near([*found, u], [*expected, u_cpu], tolerance)
        found = clif_triton.backward(gsd, gvd, gmd, u, md, settings)
        of_x, of_states = clif_operator._backward(gsd, (gvd, gmd), (u,), (md,), settings, True)
        assert_near(found, [of_x, *of_states], tolerance)
        for hard, detach in ((False, False), (False, True), (True, False), (True, True)):
            update = lif_operator.Update(0.4, 0.6, 0.1, 0.9, hard, 0.2 if hard else 0.9, detach, kind, alpha)
            found = lif_triton.forward(xd, vd, update, True)
            spikes, (v_after,), (u,) = lif_operator._forward(xd, (vd,), update, True)
            assert torch.equal(found[0], spikes) and spikes.any()
            assert_near(found, [spikes, v_after, u], tolerance)
            back = lif_triton.backward(gsd, gvd, u, update)
            of_x, of_states = lif_operator._backward(gsd, (gvd,), (u,), (), update, True)
            assert_near(back, [of_x, *of_states], tolerance)
    assert clif_triton.forward(xd, vd, md, settings, False)[3].shape == (0, 300)
"""


def run_apart(script: str, *words: str, **environment: str) -> None:
    # Triton keeps what it compiled in a folder: each test its own.
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", script, *words]
    result = subprocess.run(command, timeout=600, capture_output=True, text=True, env=variables)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_interpreted_kernels_equal_the_cpus(tmp_path: Path):
    run_apart(INTERPRETED, TRITON_INTERPRET="1", TRITON_CACHE_DIR=str(tmp_path))


def rows_of(folder: Path, share: Callable[[int], int]) -> list[dict[str, Any]]:
    """What the binaries of all kernels say; the cases of `compiled_kernels.MORE` are for make test-all."""
    words = [str(TESTS / "compiled_kernels.py"), str(folder), *(["--all"] if share(1000) == 1000 else [])]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "TRITON_CACHE_DIR": str(folder), "PYTHONPATH": str(TESTS.parent)}
    ended = subprocess.run([sys.executable, *words], timeout=PATIENCE_S, capture_output=True, text=True, env=variables)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.long
@pytest.mark.slow
def test_kernels_compile_for_every_gpu_without_spills_and_with_full_vectors(
    tmp_path: Path, share_of: Callable[[int], int]
):
    import triton

    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    missing = [name for name in ("cuobjdump", "nvdisasm") if not (tools / name).is_file()]
    if missing:
        pytest.skip(f"this Triton ships no {', '.join(missing)} (looked in {tools})")
    rows = rows_of(tmp_path, share_of)
    assert {row["gpu"] for row in rows} == {"sm_80", "sm_90", "sm_100", "gfx942"}
    for row in rows:
        # 64 registers let 32 warps share a multiprocessor, 96 let 20, 128 let 16. Behind batch norm, a run of steps is
        # kept in them, and more if their number is odd.
        runs = "with norm" in row["kernel"]
        most = 128 if runs and not row["multiple"] else 96 if "norm backward" in row["kernel"] else 64
        most = 96 if row["kernel"] == "settle" else most
        assert row["spilled"] == 0 and 0 < row["registers"] <= most, row
        assert row["stores"], row
        loads, stores = ({int(width) for width in row[kind]} for kind in ("loads", "stores"))
        size = 32 if row["element"] == "fp32" else 16
        if row["kernel"] in ("moments", "finish"):
            # Eight neighbouring elements of a thread, as many at once as an instruction can.
            assert (128 if row["multiple"] else size) in loads, row
            assert row["kernel"] == "moments" or (128 if row["multiple"] else size) in stores, row
        elif row["kernel"] != "settle":
            # Two neighbouring elements of a thread in one instruction: 64 bits of float32, 32 of bfloat16 and float16.
            # If the number of neurons is odd, each time step starts at another alignment, and they are read one by one.
            # u and saved states are float32 always, and behind batch norm so are factors and sums, of 32 bits.
            together = 2 if row["multiple"] else 1
            bits = {size * together, 32 * together}
            assert bits <= loads | stores <= bits | ({32} if runs else set()), row


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_a_gpu_computes_what_the_cpu_does(kind: str):
    x = torch.randn(6, 4, 5000, generator=torch.Generator().manual_seed(0)) + 0.3
    found = []
    for device in ("cpu", "cuda"):
        inputs = x.to(device).requires_grad_()
        spikes = make_neuron(NeuronConfig(kind, backend="fused")).to(device)(inputs)
        (spikes * x.to(device)).sum().backward()
        found.append((spikes.detach().cpu(), inputs.grad.cpu()))
    same = (found[0][0] == found[1][0]).all(0)
    assert same.double().mean() > 0.999
    torch.testing.assert_close(found[0][1][:, same], found[1][1][:, same], rtol=1e-4, atol=1e-5)


def test_a_device_without_kernels_is_named():
    node = CLIFNode(step_mode="m", backend="fused")
    with pytest.raises(Exception, match=r"backend='fused': expected a tensor on the CPU or on CUDA, found one on meta"):
        node(torch.ones(2, 1, 3, device="meta"))
