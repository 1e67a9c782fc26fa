"""What one trial takes: a dry run in a process of its own, on a machine of the cluster, before the first trial.

Run are a training step and a validation batch at the configuration's own batch size, because what PyTorch, its
allocator and the kernels keep besides the network's tensors is known only afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig, from_dict, override, to_dict
from preprocess.binning.binning import Binning
from preprocess.errors import FullMemoryError, SpikeloomError
from preprocess.store.event_store import events_path, open_events
from tune.cluster.node_caches import NodeCaches
from tune.cluster.registered_code import pack_registrations, unpack_registrations
from tune.resources.allocation import MemoryNeed

# Later epochs keep rows, read-ahead batches and freed blocks besides.
_MARGIN = 1.2


@dataclass(frozen=True)
class Extent:
    """The largest that a data set's samples are: bounds of what any of them takes.

    Attributes:
        height: Of the sensor, in pixels.
        width: Of the sensor, in pixels.
        duration_us: Of the longest sample, in us.
        events: Of the fullest sample.
    """

    height: int
    width: int
    duration_us: int
    events: int

    def timesteps(self, binning: Binning) -> float:
        """T; where samples differ in it about the most of them."""
        if not binning.varies:
            return binning.timesteps
        if binning.event_count is not None and binning.split_by == "event_count":
            return self.events / (binning.event_count - binning.overlap)
        overlap = binning.overlap if binning.split_by == "time_window" else 0
        return self.duration_us / ((binning.duration_us or 1) - overlap)


def measure_extents(names: Iterable[str], cache: Path) -> dict[str, Extent]:
    """The extents of data sets, by their event stores in the folder of all caches."""
    found = {}
    for name in dict.fromkeys(names):
        store = open_events(events_path(cache, name))
        begin, end = store.samples.interval_us.T
        found[name] = Extent(store.height, store.width, int((end - begin).max()), int(store.samples.events.max()))
    return found


def most_expensive(configs: Iterable[RunConfig], extents: Mapping[str, Extent]) -> RunConfig:
    """The trial that takes the most memory: activations grow with T, batch size, width and pixels.

    Args:
        configs: To choose from.
        extents: Of each data set.
    """

    def cost(config: RunConfig) -> float:
        piece = config.micro_batch or config.batch_size
        extent = extents[config.dataset.name]
        height, width = config.binning.size(extent.height, extent.width)
        pixels = height * width if config.input.size is None else config.input.size**2
        return extent.timesteps(config.binning) * piece * config.network.width * pixels

    return max(configs, key=cost)


def measure_need(config: RunConfig, caches: NodeCaches, *, gpu: bool) -> MemoryNeed:
    """Have one machine of the cluster train a step of a trial, and measure what it took.

    Nothing is measured where the dry run fails: the trial itself will say why. One whose process was killed did not
    fit: that is how a machine that runs out of memory ends it.

    Args:
        config: The costliest of the trials.
        caches: Where the machine that measures finds its frames.
        gpu: Whether trials compute on GPUs.
    """
    import ray

    # A process of its own, which ends with the call: the next trial must not find its memory taken.
    task = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0, max_calls=1, max_retries=0)(_measure)
    try:
        found: tuple[float, float] | None = ray.get(task.remote(to_dict(config), caches, gpu, pack_registrations()))
    except (ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError):
        found = None
    except (SpikeloomError, ray.exceptions.RayError):
        return MemoryNeed()
    return MemoryNeed(fits=False) if found is None else MemoryNeed(found[0] * _MARGIN, found[1] * _MARGIN)


def _measure(plain: dict[str, Any], caches: NodeCaches, gpu: bool, registered: bytes) -> tuple[float, float] | None:
    """Peak bytes of main memory and of the GPU, for one step; None where memory was full."""
    from pipeline.dry_run.peak_memory import peak_of_one_step

    unpack_registrations(registered)
    config = override(from_dict(plain), {"device": "cuda" if gpu else "cpu", "threads": 1})
    try:
        return peak_of_one_step(config, caches.here(config))
    except FullMemoryError:
        return None
