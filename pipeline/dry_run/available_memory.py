"""The memory that a process can still allocate, on the machine, in its control groups or on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

# Files of control groups, version 2 and version 1: limit, use, and the part of the use that can be freed.
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(
    device: torch.device, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the memory that this process can still allocate, in bytes; None if the system does not report it.

    On the CPU: the minimum of the free memory of the machine and of what the limits of its control groups (containers,
    Slurm) leave. On CUDA: the free memory of the device, and what this process has reserved but does not use.

    Args:
        device: Device of the step.
        proc: The folder /proc of Linux.
        groups: The folder of its control groups.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + unused)
    found = [*_machine_bytes(proc), *_group_bytes(proc, groups)]
    return min(found, default=None)


def _machine_bytes(proc: Path) -> Iterator[int]:
    for line in _read(proc / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _group_bytes(proc: Path, groups: Path) -> Iterator[int]:
    """What remains of the limit of each control group of this process, parents included."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = groups / controllers
        inner = root / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(root):
                yield from _group_left(folder)


def _group_left(folder: Path) -> Iterator[int]:
    for limit_file, use_file, cached in _GROUP_FILES:
        limit, use = _read(folder / limit_file).strip(), _read(folder / use_file).strip()
        if limit.isdecimal() and use.isdecimal():
            pairs = (line.split() for line in _read(folder / "memory.stat").splitlines())
            freed = next((int(pair[1]) for pair in pairs if pair[0] == cached), 0)
            yield max(0, int(limit) - int(use) + freed)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
