"""The training, validation and test samples of a run, by the rules of `preprocess/datasets/splits.py`.

Does not load torch.
"""

from __future__ import annotations

from pipeline.config.run_config import RunConfig
from preprocess.datasets.splits import Splits, split_samples
from preprocess.store.frame_source import FrameSource
from preprocess.store.imported_frames import DataFile


def split_for(config: RunConfig, store: DataFile | FrameSource, *, needs_test: bool = True) -> Splits:
    """Split the samples of a data set according to a configuration.

    Args:
        config: Configuration of the run; its `dataset` and `selection` are used.
        store: The event store or images of the data set, or any frames of it.
        needs_test: Whether an official split without test samples is refused; selection `paper` always needs them.

    Raises:
        ConfigError: If the split does not exist for the data set, or leaves one of the parts empty.
    """
    dataset = config.dataset
    return split_samples(
        store.samples,
        dataset.name,
        dataset.split,
        dataset.validation_fraction,
        config.selection,
        store.classes,
        needs_test=needs_test or config.selection == "paper",
        resampling=dataset.resampling,
    )
