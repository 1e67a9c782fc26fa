"""A CUDA device that is not there: tensors without memory on it, and kernel launches that are checked instead of run.

`torch._subclasses.FakeTensorMode` computes shapes, dtypes and devices only. What a GPU would refuse fails: a CPU tensor
that meets a CUDA one, and dtypes that do not match. So does what would make the host wait for the GPU: a value that
Python reads (`.item()`, `bool`, `.numpy()`, `nonzero`), or, inside `Strict`, a copy between host and device.

The autograd engine needs a real CUDA context; `backward` walks its graph instead, calling the same nodes.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CUDA = torch.device("cuda", 0)


# The oldest version that this was tried with, but for 2.6, which asks the driver and mixes real with fake tensors.
_OLDEST = "2.14"
_ATEN = torch.ops.aten
_COPIES = {_ATEN._to_copy.default: 0, _ATEN.copy_.default: 1}
"""Operators that copy, with the number of the argument that they copy from."""
_PRODUCTS = {
    operator.default
    for operator in (_ATEN.mm, _ATEN.bmm, _ATEN.addmm, _ATEN.baddbmm, _ATEN.convolution, _ATEN.convolution_backward)
}


class CopyError(RuntimeError):
    """Data cross between host and device."""


class DtypeError(RuntimeError):
    """Tensors of different dtypes are multiplied."""


class LaunchError(RuntimeError):
    """A kernel is launched with arguments that do not fit it."""


@contextlib.contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """A context in which tensors on CUDA can be made and computed with, without a GPU; skips tests with older torch."""
    if torch.__version__ < _OLDEST:
        pytest.skip(f"fake CUDA devices need torch {_OLDEST}: that of {torch.__version__} asks for a driver")
    from pipeline.kernels import norm_cuda
    from pipeline.neurons.clif import cuda_kernels as clif_cuda
    from pipeline.neurons.clif import cuda_with_norm_kernels as clif_with_norm
    from pipeline.neurons.lif import cuda_kernels as lif_cuda
    from pipeline.neurons.lif import cuda_with_norm_kernels as lif_with_norm

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(torch.cuda, "device_of", lambda _: contextlib.nullcontext())
        # SpikingJelly logs the device's name where it falls back to torch.
        patch.setattr(torch.cuda, "get_device_name", lambda *_: "fake")
        for module in (clif_cuda, lif_cuda):
            for name in ("forward_kernel", "backward_kernel"):
                patch.setattr(module, name, CheckedLaunch(getattr(module, name)))
        for module in (clif_with_norm, lif_with_norm, norm_cuda):
            for name in [name for name in vars(module) if name.endswith("_kernel")]:
                patch.setattr(module, name, CheckedNormLaunch(getattr(module, name)))
        with noted_inputs(), FakeTensorMode() as mode:
            yield mode


@contextlib.contextmanager
def noted_inputs() -> Iterator[None]:
    """A context in which autograd functions written in Python note which inputs are tensors, as `backward` needs it."""

    def apply_and_note(cls: Any, *args: Any, **keywords: Any) -> Any:
        results = super(torch.autograd.Function, cls).apply(*args, **keywords)
        for result in results if isinstance(results, tuple) else (results,):
            if isinstance(result, torch.Tensor) and isinstance(result.grad_fn, BackwardCFunction):
                result.grad_fn.tensor_inputs = [isinstance(one, torch.Tensor) for one in args]
        return results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd.Function, "apply", classmethod(apply_and_note), raising=False)
        yield


def move(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Move a module to the fake device as `module.to("cuda")` would: what that leaves behind stays on the CPU."""
    return module._apply(lambda tensor: mode.from_tensor(tensor).to(CUDA))


class Strict(TorchDispatchMode):
    """A context that refuses copies between host and device, and products of different dtypes.

    A GPU computes neither: it waits for the one and refuses the other, which fake tensors accept.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _COPIES:
            source = args[_COPIES[func]]
            if source.device.type != out.device.type:
                raise CopyError(f"a tensor {tuple(source.shape)} is copied from {source.device} to {out.device}")
        elif func in _PRODUCTS and len(dtypes := {one.dtype for one in args if isinstance(one, torch.Tensor)}) > 1:
            raise DtypeError(f"{func}: expected one dtype, found {dtypes}")
        return out


class CheckedLaunch:
    """Replaces a Triton kernel: its arguments are checked, and nothing runs."""

    ROWS = frozenset({"x", "spikes", "grad_spikes", "grad_x", "u", "past"})
    """Arguments with an element for each neuron and time step; the other tensors have one for each neuron."""
    FLOAT32 = frozenset({"u", "past"})

    def __init__(self, kernel: Any) -> None:
        self._names = kernel.arg_names

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            given = dict(zip(self._names, args, strict=False)) | options
            missing = set(self._names) - set(given)
            if missing or set(given) - set(self._names) - {"num_warps"}:
                raise LaunchError(f"expected arguments {self._names}, found {sorted(given)}")
            if grid[0] * given["SIZE"] < given["elements"]:
                raise LaunchError(f"{grid[0]} programs of {given['SIZE']} elements are too few for {given['elements']}")
            self._check_tensors(given)

        return launch

    def _check_tensors(self, given: dict[str, Any]) -> None:
        tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
        inputs = tensors["x" if "x" in tensors else "grad_spikes"]
        for name, tensor in tensors.items():
            elements = given["elements"] * (given["steps"] if name in self.ROWS else 1)
            if name in self.FLOAT32 and given.get("SAVES") is False:
                elements = 0
            if tensor.device != CUDA or not tensor.is_contiguous() or tensor.numel() != elements:
                raise LaunchError(
                    f"{name}: expected {elements} contiguous elements on {CUDA}, found {tuple(tensor.shape)} with "
                    f"strides {tensor.stride()} on {tensor.device}"
                )
            dtype = torch.float32 if name in self.FLOAT32 else inputs.dtype
            if tensor.dtype != dtype:
                raise LaunchError(f"{name}: expected {dtype}, found {tensor.dtype}")


class CheckedNormLaunch:
    """The same for the kernels of batch norm and of neurons behind it, whose arguments have other sizes."""

    def __init__(self, kernel: Any) -> None:
        self._names = kernel.arg_names
        self._states = 2 if "m" in self._names or "grad_m" in self._names else 1

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            given = dict(zip(self._names, args, strict=False)) | options
            if set(given) ^ set(self._names) != {"num_warps"} - set(self._names):
                raise LaunchError(f"expected arguments {self._names}, found {sorted(given)}")
            expected = self._sizes(grid, given)
            for name, value in given.items():
                if isinstance(value, torch.Tensor):
                    self._check(name, value, expected[name], given)

        return launch

    def _sizes(self, grid: tuple[int, ...], given: dict[str, Any]) -> dict[str, int]:
        """The number of elements of each argument."""
        channels = given["channels"]
        steps = given["steps"] if "steps" in given else grid[2]
        rows = 1 if given.get("JOINT") else steps
        sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), channels)
        sizes |= {"table": rows * 4 * channels, "sums": rows * 2 * channels}
        if "chunks" in given:
            sizes["parts"] = 3 * given["chunks"] * channels * (1 if given.get("REPEATED") else steps)
            if not given.get("TRAINS", True):
                sizes["parts"] = sizes["table"]
        if "images" not in given:
            if grid[0] * given["SIZE"] < channels:
                raise LaunchError(f"{grid[0]} programs of {given['SIZE']} channels are too few for {channels}")
            return sizes
        count = given["images"] * given["units"] * given["UNIT"]
        if grid[0] * given.get("SPAN", given["SIZE"]) < count or grid[1] != channels:
            raise LaunchError(f"{grid} programs are too few for {channels} channels of {count} elements")
        sizes |= dict.fromkeys(("x", "spikes", "grad_spikes", "grad"), steps * channels * count)
        if "EVERY" in given:
            runs = -(-steps // given["EVERY"])
            sizes["kept"] = runs * self._states * channels * count if given.get("SAVES", True) else 0
        sizes.setdefault("parts", grid[0] * rows * 2 * channels)
        sizes |= dict.fromkeys(("v", "m", "v_after", "m_after"), channels * count)
        for flag, names in (("ENDS", ("grad_v", "grad_m")), ("STARTS", ("before_v", "before_m"))):
            sizes |= dict.fromkeys(names, channels * count if given.get(flag) else sizes["table"])
        return sizes

    def _check(self, name: str, tensor: torch.Tensor, size: int, given: dict[str, Any]) -> None:
        part = tensor[0] if given.get("REPEATED") and name == "x" else tensor
        if tensor.device != CUDA or not part.is_contiguous() or tensor.numel() != size:
            raise LaunchError(
                f"{name}: expected {size} contiguous elements on {CUDA}, found {tuple(tensor.shape)} with "
                f"strides {tensor.stride()} on {tensor.device}"
            )
        small = name in ("table", "sums", "parts", "kept", "weight", "bias", "running_mean", "running_var")
        missing = (not given.get("ENDS", True) and name in ("grad_v", "grad_m")) or (
            not given.get("STARTS", True) and name in ("before_v", "before_m")
        )
        dtype = torch.float32 if small or missing else given["x"].dtype
        if tensor.dtype != dtype:
            raise LaunchError(f"{name}: expected {dtype}, found {tensor.dtype}")


def backward(loss: torch.Tensor) -> None:
    """Fill the gradients of all leaves behind a loss: the autograd graph, walked in Python.

    Node by node in reverse topological order, as the engine does; a gradient is summed to the shape and converted to
    the dtype that its receiver expects, and must be on its device.
    """
    assert loss.grad_fn is not None
    received: dict[Any, dict[int, torch.Tensor]] = defaultdict(dict)
    received[loss.grad_fn][0] = torch.ones_like(loss)
    with torch.no_grad(), torch.autocast("cuda", enabled=False):
        for node in reversed(_sorted_nodes(loss.grad_fn)):
            found = received.pop(node, {})
            gradients = [
                None if found.get(k) is None else _fitted(found[k], expected)
                for k, expected in enumerate(node._input_metadata)
            ]
            if hasattr(node, "variable"):
                leaf, (gradient,) = node.variable, gradients
                if gradient is not None:
                    leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
                continue
            for (receiver, k), gradient in zip(node.next_functions, _call(node, gradients), strict=True):
                if receiver is not None and gradient is not None:
                    known = received[receiver].get(k)
                    received[receiver][k] = gradient if known is None else known + gradient


def _call(node: Any, gradients: list[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """A node's gradients of its tensors."""
    if not isinstance(node, BackwardCFunction):
        results = node(*gradients)
        return list(results) if isinstance(results, tuple) else [results]
    results = node.apply(*gradients)
    results = results if isinstance(results, tuple) else (results,)
    return [gradient for gradient, is_tensor in zip(results, node.tensor_inputs, strict=False) if is_tensor]


def _fitted(gradient: torch.Tensor, expected: Any) -> torch.Tensor:
    if gradient.device != expected.device:
        raise RuntimeError(f"a gradient on {gradient.device} meets a result on {expected.device}")
    return gradient.sum_to_size(tuple(expected.shape)).to(expected.dtype)


def _sorted_nodes(root: Any) -> list[Any]:
    """The nodes of a graph, each before those that receive gradients from it in reverse."""
    nodes, seen, stack = [], set(), [(root, False)]
    while stack:
        node, is_complete = stack.pop()
        if is_complete:
            nodes.append(node)
        elif node not in seen:
            seen.add(node)
            stack += [(node, True), *((after, False) for after, _ in node.next_functions if after is not None)]
    return nodes
