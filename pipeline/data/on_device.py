"""Arrays of one batch on its device."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray


def on_device(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array as a tensor on a device, for a GPU through pinned memory: from other memory the host waits for the copy.

    It would wait for all work that is queued before the copy, too, so that the GPU idles until more is queued.
    """
    tensor = torch.from_numpy(values)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)
