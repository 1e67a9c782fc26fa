"""Where and how precisely a run computes: device, threads, autocast."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
from collections.abc import Iterator

import torch

from pipeline.config.run_config import RunConfig
from pipeline.runtime.distributed import local_device
from preprocess.errors import ConfigError, FullMemoryError
from preprocess.malloc import keep_freed_memory

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device of a configuration; ``auto`` is CUDA where there is a device, else the CPU.

    Raises:
        ConfigError: If the name is none, or the machine lacks the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:<number>, found '{name}'") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ConfigError(f"device: expected one of this machine's {found} CUDA devices, found '{name}'. Use auto.")
    return device


def default_threads() -> int:
    """This process's share of the machine: OMP_NUM_THREADS where set, as Ray does for a trial, else its CPUs."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) > 0 else len(os.sched_getaffinity(0))


def resolve_precision(precision: str, device: torch.device) -> str:
    """``fp32``, ``bf16`` or ``fp16``: of auto, fp32 on the CPU; on CUDA bf16 where the device has it, else fp16."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


@contextlib.contextmanager
def compute_device(config: RunConfig) -> Iterator[torch.device]:
    """The device to compute on, with the configuration's threads and determinism while it is held."""
    device = choose_device(local_device(config.device))
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.set_device(device)
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(config.threads or default_threads())
    if config.deterministic:
        # What cuBLAS asks for; read when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        with _naming_full_memory(device):
            yield device
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)


@contextlib.contextmanager
def _naming_full_memory(device: torch.device) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # Torch's CPU allocator has no error class of its own.
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        raise FullMemoryError(
            f"{device}: out of memory. Lower batch_size, input.size, network.width or binning.timesteps; what a "
            "configuration takes: spikeloom train ... --dry-run"
        ) from None


def free_memory() -> None:
    """Give back what nothing holds any more: what a step that did not fit has left."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision for the forward pass; nothing for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, _TYPES[precision])


def peak_memory_mb(device: torch.device) -> float:
    """The most memory that was in use so far: on CUDA by this process's tensors, else by the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Linux counts kibibytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
