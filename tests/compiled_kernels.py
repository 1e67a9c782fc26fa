"""Compile every Triton kernel ahead of time, without a GPU, and read from the binaries what a GPU would run.

    python tests/compiled_kernels.py FOLDER [--all]

Writes one line of JSON for each kernel, element type, GPU and kind of size: registers, spilled bytes, and the widths in
bits of all loads and stores of global memory. FOLDER keeps the binaries.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from pipeline.kernels import norm_cuda
from pipeline.kernels.surrogate_kernels import SIGMOID
from pipeline.kernels.triton import BLOCK, THREADS
from pipeline.neurons.clif import cuda_kernels as clif_cuda
from pipeline.neurons.clif import cuda_with_norm_kernels as clif_with_norm
from pipeline.neurons.lif import cuda_kernels as lif_cuda
from pipeline.neurons.lif import cuda_with_norm_kernels as lif_with_norm

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
MODULES = {"clif": clif_cuda, "lif": lif_cuda, "clif with norm": clif_with_norm, "lif with norm": lif_with_norm}
KERNELS = {
    f"{name} {direction}": getattr(module, f"{direction}_kernel")
    for name, module in MODULES.items()
    for direction in ("forward", "backward")
} | {name: getattr(norm_cuda, f"{name}_kernel") for name in ("moments", "settle", "finish")}
SIZES = {"moments": norm_cuda.WIDE, "finish": norm_cuda.WIDE, "settle": norm_cuda.CHANNELS}
"""Elements per program, where they are not BLOCK."""
SELDOM, SELDOM_IN = {"lif with norm forward", "lif with norm backward", *SIZES}, ("sm_90", "fp32", True)
"""Kernels that are compiled everywhere in make test-all alone; CLIF's behind batch norm has most registers."""
# The sigmoid is the surrogate with the most arithmetic, and a soft reset with its gradient LIF's longest path. Behind
# batch norm, sums per step are the longer one.
CONSTANTS = {"SAVES": True, "HARD": False, "DETACH_M": False, "DETACH_RESET": False, "KIND": SIGMOID, "SIZE": BLOCK}
CONSTANTS |= {"REPEATED": False, "JOINT": False, "ENDS": True, "STARTS": True, "EVERY": 4, "UNEVEN": False}
CONSTANTS |= {"TRAINS": True, "SPAN": 4096, "CHUNKS": 64, "UNIT": 8}
FLOATS = ("tau", "v_threshold", "alpha", "keep", "gain", "offset", "reset", "through", "momentum", "eps")
INTEGERS = ("steps", "elements", "images", "channels", "units", "chunks", "count", "values")
FLOAT32 = ("u", "past", "table", "kept", "parts", "sums", "weight", "bias", "running_mean", "running_var")
# Float16 differs from bfloat16 in its conversions alone.
CASES = [
    *((target, "fp32", True) for target in TARGETS),
    ("sm_90", "bf16", True),
    ("gfx942", "bf16", True),
    ("sm_90", "fp32", False),
]
MORE = [
    *((target, "fp16", True) for target in TARGETS),
    *((target, "bf16", True) for target in ("sm_80", "sm_100")),
    *((target, "bf16", False) for target in TARGETS),
]
"""GPU, type of inputs and spikes, and whether the number of neurons is a multiple of 16, or that of pixels of 8."""


def build(title: str, target: str, element: str, is_multiple: bool) -> Any:
    """Compile a kernel as a launch would: memory starts at multiples of 16 bytes, as torch allocates it."""
    kernel, signature, attributes = KERNELS[title], {}, {}
    warps, given = THREADS // TARGETS[target].warp_size, CONSTANTS | {"SIZE": SIZES.get(title, BLOCK)}
    if title.endswith("with norm backward"):
        # One warp, as `norm_cuda.ONE_WARP` says.
        warps, given = 1, given | {"SIZE": BLOCK // warps}
    if not is_multiple:
        given |= {"UNIT": 1, "UNEVEN": True}
    for number, name in enumerate(kernel.arg_names):
        if name in given:
            signature[name] = "constexpr"
        elif name in INTEGERS:
            signature[name] = "i32"
        elif name in FLOATS:
            signature[name] = "fp32"
        else:
            signature[name] = "*fp32" if name in FLOAT32 else f"*{element}"
        if signature[name].startswith("*") or (name == "elements" and is_multiple):
            attributes[(number,)] = [["tt.divisibility", 16]]
    constants = {name: given[name] for name in kernel.arg_names if name in given}
    source = ASTSource(kernel, signature, constants, attributes)
    return compile(source, target=TARGETS[target], options={"num_warps": warps})


def read_cubin(path: Path) -> dict[str, Any]:
    """What NVIDIA's tools say of a binary."""
    usage = subprocess.run(
        [TOOLS / "cuobjdump", "--dump-resource-usage", path], capture_output=True, text=True, check=True
    )
    found = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage.stdout)}
    code = subprocess.run([TOOLS / "nvdisasm", "-c", path], capture_output=True, text=True, check=True).stdout
    # Spilled registers go to the stack, which is local memory.
    return {
        "registers": found["REG"],
        "spilled": found["STACK"] + found["LOCAL"],
        "loads": _widths(re.findall(r"\bLDG\.E(\S*)", code)),
        "stores": _widths(re.findall(r"\bSTG\.E(\S*)", code)),
    }


def _widths(suffixes: list[str]) -> dict[int, int]:
    """How many instructions there are of each width in bits, from their suffixes, such as ``.64.CONSTANT``."""
    found = (re.search(r"\.U?S?(8|16|64|128|256)\b", suffix) for suffix in suffixes)
    return dict(Counter(int(match[1]) if match else 32 for match in found))


def read_amdgcn(text: str) -> dict[str, Any]:
    """The same from AMD's assembly."""

    def number(name: str) -> int:
        match = re.search(rf"\.{name}:\s+(\d+)", text)
        assert match is not None, name
        return int(match[1])

    def widths(verb: str) -> dict[int, int]:
        bits = {"ubyte": 8, "short": 16, "short_d16": 16, "ushort": 16, "dword": 32, "dwordx2": 64, "dwordx4": 128}
        found = re.findall(rf"(?:global|buffer)_{verb}_(\w+)", text)
        return dict(Counter(bits[kind.removesuffix("_hi").removesuffix("_d16")] for kind in found))

    return {
        "registers": number("vgpr_count"),
        "spilled": number("vgpr_spill_count") + number("sgpr_spill_count") + number("private_segment_fixed_size"),
        "loads": widths("load"),
        "stores": widths("store"),
    }


def compiled(folder: Path, cases: list[tuple[str, str, bool]], *, most: bool) -> Iterator[dict[str, Any]]:
    """One row for each case and kernel, or for `most` kernels of batch norm in one case alone."""
    for target, element, is_multiple in cases:
        for name in KERNELS:
            if most and name in SELDOM and (target, element, is_multiple) != SELDOM_IN:
                continue
            built = build(name, target, element, is_multiple)
            if TARGETS[target].backend == "hip":
                found = read_amdgcn(built.asm["amdgcn"])
            else:
                path = folder / f"{name.replace(' ', '-')}-{target}-{element}-{is_multiple}.cubin"
                path.write_bytes(built.asm["cubin"])
                found = read_cubin(path)
            yield {"kernel": name, "gpu": target, "element": element, "multiple": is_multiple} | found


if __name__ == "__main__":
    every = "--all" in sys.argv
    for row in compiled(Path(sys.argv[1]), CASES + (MORE if every else []), most=not every):
        print(json.dumps(row), flush=True)
