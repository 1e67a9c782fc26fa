"""What is analysed: the network of a run with its selected weights, or that of a preset with its initial weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.analysis.analysis_options import Part, SampledOptions
from pipeline.analysis.stored_result import FOLDER, Subject
from pipeline.analysis.weights_digest import weights_digest
from pipeline.config.neurons import traits_of
from pipeline.config.run_config import RunConfig, override
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.evaluation.evaluate_run import run_cache
from pipeline.evaluation.finished_run import load_selected, open_run_data, require_weights
from pipeline.networks.run_network import make_run_network
from pipeline.presets.registry import PRESETS, find_preset
from pipeline.runs.run_folder import Run, default_out, open_run
from pipeline.runtime.device import choose_device, compute_device
from preprocess.default_cache_folder import default_cache
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.progress import Progress


@dataclass(frozen=True, eq=False)
class Analysed:
    """A run or a preset to analyse; `open_analysed` opens one.

    Attributes:
        name: Name of the run's folder, or of the preset.
        config: Its configuration.
        cache: The folder of all caches.
        run: The run; None for a preset.
        progress: Reports the progress of building a missing frame cache.
    """

    name: str
    config: RunConfig
    cache: Path
    run: Run | None
    progress: Progress | None = None

    def default_folder(self) -> Path:
        """Where results are written: ``analysis`` in the run folder, or ``./runs/analyse-<preset>-<n>``."""
        return self.run.folder / FOLDER if self.run is not None else default_out(None, "analyse", self.name)

    def require_weights(self) -> None:
        """Raise RunError if it is a run without selected weights."""
        if self.run is not None:
            require_weights(self.run)

    def open_data(self, changes: Mapping[str, Any] | None = None) -> RunData:
        """Open the data of the configuration, optionally with other values of some fields, such as another T.

        Raises:
            RunError: If the data set was preprocessed from other files since the run was trained.
            CacheError: If the data set has no event store.
        """
        config = override(self.config, changes) if changes else self.config
        if self.run is None:
            return open_data(config, self.cache, self.progress, needs_test=False, needs_batch=False)
        return open_run_data(self.run, config, self.cache, self.progress)

    @contextlib.contextmanager
    def device(self) -> Iterator[torch.device]:
        """The device of the configuration, with its threads in the context."""
        remedy = "Give fewer time steps or samples; see spikeloom analyse RUN_DIR ANALYSIS --help"
        with compute_device(self.config, remedy) as device:
            yield device

    def load_network(self, data: RunData, device: torch.device) -> tuple[nn.Module, int | None]:
        """Load the network in evaluation mode, and the epoch of its weights, which is None for a preset.

        In evaluation mode, the network clears its state at the beginning of each forward pass if it is a run's;
        `pipeline.networks.reset_network` clears it in any case.

        Raises:
            RunError: If the run has no selected weights, they are damaged or do not fit, or its custom code changed.
            ConfigError: If the network cannot be built.
        """
        if self.run is not None:
            return load_selected(self.run, data, device)
        network = make_run_network(
            self.config, classes=len(data.classes), size=data.size, timesteps=data.frames.timesteps, device=device
        )
        return network.eval(), None

    def choose_samples(self, data: RunData, options: SampledOptions) -> NDArray[np.int64]:
        """Draw the samples of an analysis, without replacement; int64 (samples,), sorted.

        Raises:
            RunError: If the split has no samples.
        """
        split = indices_of(data, options.part)
        if not len(split):
            raise RunError(f"--part: expected a split with samples, found none in {options.part}. Use --part train.")
        count = min(options.samples, len(split))
        return np.sort(np.random.default_rng(options.seed).choice(split, count, replace=False))

    def load_samples(self, data: RunData, indices: NDArray[np.int64], device: torch.device) -> FrameLoader:
        """A loader of samples in order and without augmentation.

        Batches are as large as in training, or a little smaller, so that the last one is as large as the others: batch
        norm needs more than one sample in training mode.
        """
        most = self.config.micro_batch or self.config.batch_size
        size = math.ceil(len(indices) / math.ceil(len(indices) / most))
        return FrameLoader(data.frames, indices, size, self.config.input, device, seed=self.config.seed)

    def subject(
        self, *, data: RunData | None = None, part: str = "", samples: int = 0, epoch: int | None = None
    ) -> Subject:
        """The part of a result that says what was analysed.

        Args:
            data: The data, if samples of it were used.
            part: The split of the samples.
            samples: Their number.
            epoch: The epoch of the weights.
        """
        neuron = self.config.neuron
        return Subject(
            name=self.name,
            trained=self.run is not None,
            dataset="" if data is None else self.config.dataset.name,
            emulated=data is not None and data.emulated,
            part=part,
            samples=samples,
            network=self.config.network.name,
            neuron=neuron.name,
            tau=neuron.tau if traits_of(neuron.name).has_tau else None,
            timesteps=self.config.binning.timesteps if data is None else data.frames.timesteps,
            epoch=epoch,
            weights=None if self.run is None else weights_digest(self.run.folder),
        )


def open_analysed(
    target: Path | str | Analysed,
    *,
    cache: Path | str | None = None,
    device: str | None = None,
    accept_changed_code: bool = False,
    progress: Progress | None = None,
) -> Analysed:
    """Open a run folder or a preset for analysis.

    Args:
        target: A run folder, the name of a preset, or what this function returned.
        cache: The folder of all caches; that of the run, or else the default, if None.
        device: Device to compute on; that of the configuration if None.
        accept_changed_code: Whether a run is analysed although its custom neuron or network file changed.
        progress: Reports the progress of building a missing frame cache.

    Raises:
        RunError: If the folder is not a run folder, or a file of it is damaged.
        ConfigError: If there is neither a folder nor a preset of the name, or there is no such device.
    """
    if isinstance(target, Analysed):
        return target
    folder = Path(target).expanduser().absolute()
    where = None if cache is None else Path(cache)
    changes = {} if device is None else {"device": device}
    if device is not None:
        # Some analyses compute nothing on it, and would ignore a wrong one.
        choose_device(device)
    # A preset's name has no separator, so that ./NAME is always a folder.
    if str(target) in PRESETS or not (folder.exists() or len(Path(target).parts) > 1):
        try:
            preset = find_preset(str(target))
        except ConfigError as error:
            hint = str(error).partition("'. ")[2]
            raise ConfigError(f"expected a run folder or a preset, found neither under '{target}'. {hint}") from None
        return Analysed(preset.name, override(preset.config, changes), default_cache(where), None, progress)
    run = open_run(folder, accept_changed_code=accept_changed_code)
    return Analysed(folder.name, override(run.config, changes), run_cache(run, where), run, progress)


def indices_of(data: RunData, part: Part) -> NDArray[np.int64]:
    """The sample numbers of a split; those of validation belong to the training split."""
    splits = data.splits
    return splits.test if part == "test" else splits.train
