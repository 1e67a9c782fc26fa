"""Several processes that train one network on one machine, as ``torchrun`` starts them: one for each GPU, or on CPUs.

Each process takes its share of every batch, and torch's DistributedDataParallel averages their gradients; the first
process alone evaluates and writes. Batch norm normalises over a process's own share, as is usual.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from preprocess.errors import ConfigError

# The others wait while the first evaluates.
_PATIENCE = dt.timedelta(hours=2)

# Every network that `Group.wrap` has wrapped and that still exists.
_wrapped: weakref.WeakSet[nn.parallel.DistributedDataParallel] = weakref.WeakSet()


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Attributes:
        rank: This one's number, from 0.
        size: How many there are; 1 is an ordinary run.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process evaluates and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network whose backward pass averages gradients over all processes; itself where there is one."""
        if self.size == 1:
            return network
        wrapped = nn.parallel.DistributedDataParallel(network)
        _wrapped.add(wrapped)
        return wrapped

    def without_sync(self, network: nn.Module) -> contextlib.AbstractContextManager[object]:
        """While it is held, backward passes of a wrapped network add to gradients without averaging them."""
        if isinstance(network, nn.parallel.DistributedDataParallel):
            return network.no_sync()
        return contextlib.nullcontext()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in each of them."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, value: object) -> object:
        """The first process's value, in each of them."""
        told = [value]
        if self.size > 1:
            dist.broadcast_object_list(told)
        return told[0]


def group_from_env() -> Group:
    """What torchrun says in this process's environment, before anything is joined."""
    size = int(os.environ.get("WORLD_SIZE") or 1)
    return Group(int(os.environ.get("RANK") or 0), size) if size > 1 else Group()


@contextlib.contextmanager
def joined(group: Group, device: torch.device) -> Iterator[None]:
    """Meet the other processes while it is held: over NCCL on GPUs, over Gloo on CPUs.

    When it ends, by an exception too, the process group's threads have ended, and wrapped networks no longer work.
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
    """Import now what DistributedDataParallel would import while the process group exists.

    The functions of this module have the process group of the moment as a default argument: imported later, they
    would hold the group, and its threads, until the interpreter is torn down.
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
    """The device of this process: of ``auto`` and ``cuda``, each process of a group takes a GPU of its own."""
    if group_from_env().size == 1 or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{os.environ.get('LOCAL_RANK') or 0}"


def share_of(batch_size: int, group: Group) -> int:
    """How many samples of a batch each process takes.

    Raises:
        ConfigError: If they cannot be shared out evenly.
    """
    if batch_size % group.size:
        raise ConfigError(
            f"batch_size: expected a multiple of the {group.size} processes that torchrun started, found {batch_size}"
        )
    return batch_size // group.size
