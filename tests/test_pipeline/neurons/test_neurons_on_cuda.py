"""The kernels for CUDA without a GPU: equal to the CPU's under Triton's interpreter, and compiled for two GPUs.

The kernels themselves are run and compiled, in a process of their own: Triton reads TRITON_INTERPRET as it is loaded.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import CLIFNode, make_neuron

pytest.importorskip("triton", reason="Triton comes with torch for CUDA only")

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
        *found, u, past = clif_triton.forward(xd, vd, md, settings, True)
        spikes, states, (u_cpu, _) = clif_operator._forward(xd, (vd, md), settings, True)
        expected = [spikes, *states]
        assert torch.equal(found[0], expected[0]) and found[0].any()
        assert_near([*found, u], [*expected, u_cpu], tolerance)
        found = clif_triton.backward(gsd, gvd, gmd, u, past, settings)
        of_x, of_states = clif_operator._backward(gsd, (gvd, gmd), (u, past), (md,), settings, True)
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

COMPILED = """
import sys
from pathlib import Path
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from pipeline.neurons.clif import cuda_kernels as clif_triton
from pipeline.neurons.lif import cuda_kernels as lif_triton
from pipeline.kernels.triton import BLOCK, WARPS

folder, architecture = Path(sys.argv[1]), int(sys.argv[2])
flags = {"SAVES": True, "HARD": False, "DETACH_M": False, "DETACH_RESET": False, "KIND": 2, "SIZE": BLOCK}
whole = {"steps": "i32", "elements": "i32"}
floats = ("tau", "v_threshold", "alpha", "keep", "gain", "offset", "reset")
for module in (clif_triton, lif_triton):
    for kernel in (module.forward_kernel, module.backward_kernel):
        for element in ("fp32", "bf16", "fp16"):
            signature = {}
            for name in kernel.arg_names:
                kept = "*fp32" if name in ("u", "past") else f"*{element}"
                signature[name] = "constexpr" if name in flags else whole.get(name, "fp32" if name in floats else kept)
            constants = {name: flags[name] for name in kernel.arg_names if name in flags}
            source = ASTSource(kernel, signature, constants)
            built = compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": WARPS})
            name = f"{module.__name__.split('.')[-2]}-{kernel.__name__}-{element}.cubin"
            (folder / name).write_bytes(built.asm["cubin"])
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


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [80, 90])
def test_kernels_compile_for_a_gpu_and_spill_nothing(architecture: int, tmp_path: Path):
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.is_file():
        pytest.skip(f"this Triton ships no cuobjdump (looked for {tool})")
    run_apart(COMPILED, str(tmp_path), str(architecture), TRITON_CACHE_DIR=str(tmp_path / "cache"))
    cubins = sorted(tmp_path.glob("*.cubin"))
    assert len(cubins) == 12
    for cubin in cubins:
        told = subprocess.run([tool, "--dump-resource-usage", cubin], capture_output=True, text=True, check=True).stdout
        usage = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", told)}
        # Spilled registers go to the stack, which is local memory. 64 registers let 32 warps share a multiprocessor.
        assert usage["STACK"] == usage["LOCAL"] == 0 and 0 < usage["REG"] <= 64, (cubin.name, usage)
        print(cubin.name, usage)


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
