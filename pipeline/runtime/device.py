"""Device, threads and precision of a run."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
from collections.abc import Iterator

import torch

from pipeline.config.run_config import RunConfig
from pipeline.runtime.determinism import deterministic_algorithms
from pipeline.runtime.distributed import local_device
from preprocess.errors import ConfigError, FullMemoryError
from preprocess.freed_memory import keep_freed_memory

_LESS_MEMORY = (
    "Lower batch_size, input.size, network.width or binning.timesteps. Estimate the memory of a configuration: "
    "spikeloom train ... --dry-run"
)
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device with a name; ``auto`` is CUDA if it is available, else the CPU.

    Raises:
        ConfigError: If the name is not valid, or the machine does not have the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    # PyTorch knows more names, such as meta and xla, for which nothing here is made.
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:<number>, found '{name}'. Use auto.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ConfigError(f"device: expected one of this machine's {found} CUDA devices, found '{name}'. Use auto.")
    return device


def default_threads() -> int:
    """Return the number of CPU threads: OMP_NUM_THREADS if set, as Ray does for trials, else the process's CPUs."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdigit() and int(limit) > 0 else len(os.sched_getaffinity(0))


def resolve_precision(precision: str, device: torch.device) -> str:
    """Resolve auto: fp32 on the CPU; on CUDA bf16 if the device supports it, else fp16."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


@contextlib.contextmanager
def compute_device(config: RunConfig, remedy: str = _LESS_MEMORY) -> Iterator[torch.device]:
    """Yield the device of a configuration, and use its threads and determinism in the context.

    Args:
        config: The configuration of the run.
        remedy: The advice at the end of the message if memory runs out.

    Raises:
        ConfigError: If this machine does not have the device.
        FullMemoryError: If memory is full.
    """
    device = choose_device(local_device(config.device))
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.set_device(device)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or default_threads())
    try:
        with deterministic_algorithms(config.deterministic), _out_of_memory_errors(device, remedy):
            yield device
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _out_of_memory_errors(device: torch.device, remedy: str) -> Iterator[None]:
    """Convert out-of-memory errors to FullMemoryError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # PyTorch's CPU allocator raises a plain RuntimeError.
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        raise FullMemoryError(f"{device}: out of memory. {remedy}") from None


def free_memory() -> None:
    """Release unused memory, such as that of a step that ran out of memory."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Return the autocast context of a forward pass; it has no effect for fp32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, _TYPES[precision])


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory so far in MB: that of this process's tensors on CUDA, that of the process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Reported in kibibytes on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
