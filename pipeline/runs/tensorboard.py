"""The metrics of a run for TensorBoard, in addition to metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Scalars:
    """A writer of the metrics of each epoch to ``folder/tensorboard``."""

    def __init__(self, folder: Path, next_epoch: int) -> None:
        """Epochs from `next_epoch` on that an interrupted run already wrote are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=next_epoch)

    def write(self, epoch: int, *rows: Mapping[str, Any]) -> None:
        """Write every number of the rows, as ``train/loss``, ``validation/accuracy``, ``firing_rate`` and so on."""
        for row in rows:
            for name, value in row.items():
                if name != "epoch" and isinstance(value, int | float):
                    split, _, rest = name.partition("_")
                    grouped = f"{split}/{rest}" if split in ("train", "validation", "test") else name
                    self._writer.add_scalar(grouped, value, epoch)
        self._writer.flush()

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
