"""Data-parallel training of one network by several processes that ``torchrun`` starts, one per GPU or on CPUs.

Each process gets an equal share of every batch, and DistributedDataParallel averages their gradients. Batch norm uses
the statistics of each process's own share; the running statistics are the first process's. An evaluation is divided
into whole batches, so that its result is equal to that of one process. Only the first process writes files.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from preprocess.errors import ConfigError

# How long a process waits for the slowest one, which may still read its share of an evaluation from a slow disk.
_PATIENCE = dt.timedelta(hours=2)

Value = TypeVar("Value")

# All networks wrapped by `Group.wrap` that still exist.
_wrapped: weakref.WeakSet[nn.parallel.DistributedDataParallel] = weakref.WeakSet()


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes; 1 for an ordinary run.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that its backward pass averages gradients over all processes; unchanged if there is one."""
        if self.size == 1:
            return network
        wrapped = nn.parallel.DistributedDataParallel(network)
        _wrapped.add(wrapped)
        return wrapped

    def without_sync(self, network: nn.Module) -> contextlib.AbstractContextManager[object]:
        """A context in which backward passes of a wrapped network accumulate gradients without averaging them."""
        if isinstance(network, nn.parallel.DistributedDataParallel):
            return network.no_sync()
        return contextlib.nullcontext()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes, in each of them."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes by rank, in each of them; they travel pickled, as CPU objects."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    @torch.no_grad()
    def share_state(self, network: nn.Module) -> None:
        """Overwrite parameters and buffers by those of the first process's network.

        Training keeps parameters equal, but the running statistics of batch norm are of each process's own samples.
        """
        if self.size == 1:
            return
        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for tensor in (*network.parameters(), *network.buffers()):
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for tensors in by_type.values():
            # One message for each type; flat, because weights may have any memory order.
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            dist.broadcast(flat, 0)
            for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(values.view(tensor.shape))

    def broadcast(self, value: object) -> object:
        """Return the value of the first process, in each of them."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values)
        return values[0]


def group_from_env() -> Group:
    """Read the group from the environment variables set by torchrun, without joining it."""
    size = int(os.environ.get("WORLD_SIZE") or 1)
    return Group(int(os.environ.get("RANK") or 0), size) if size > 1 else Group()


@contextlib.contextmanager
def joined(group: Group, device: torch.device) -> Iterator[None]:
    """Join the process group in the context: with NCCL on GPUs, with Gloo on CPUs.

    At the end, also after an exception, the threads of the process group have ended, and wrapped networks can no longer
    be used.
    """
    if group.size == 1:
        yield
        return
    _import_before_group()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        _end_group()


def _import_before_group() -> None:
    """Import a module that DistributedDataParallel would otherwise import while the process group exists.

    The functions of that module have the current process group as a default argument. If it were imported later, they
    would keep the group and its threads alive until the interpreter shuts down.
    """
    importlib.import_module("torch.distributed.nn.functional")


def _end_group() -> None:
    """Destroy the process group and wait for its threads.

    `destroy_process_group` only drops torch's own references. The threads are joined when the last reference goes, and
    every wrapped network has one, which a variable or the traceback of an exception may keep alive. A Gloo thread that
    lives on takes the GIL to release the tensors of its last operation. If the interpreter begins to shut down while
    it waits for the GIL, Python ends the thread by unwinding through C++ code that must not throw, and the process
    aborts: "terminate called without an active exception".
    """
    for network in list(_wrapped):
        for name in ("reducer", "logger", "process_group"):
            setattr(network, name, None)
    _wrapped.clear()
    dist.destroy_process_group()


def local_device(name: str) -> str:
    """Return the device name of this process: for ``auto`` and ``cuda``, each process of a group uses its own GPU."""
    if group_from_env().size == 1 or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{os.environ.get('LOCAL_RANK') or 0}"


def share_of(batch_size: int, group: Group) -> int:
    """Return the number of samples of a batch for each process.

    Raises:
        ConfigError: If the batch size is not a multiple of the number of processes.
    """
    if batch_size % group.size:
        raise ConfigError(
            f"batch_size: expected a multiple of the {group.size} processes that torchrun started, found {batch_size}"
        )
    return batch_size // group.size
