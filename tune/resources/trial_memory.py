"""The memory of one trial, by a dry run in a separate process on a machine of the cluster before the first trial.

The dry run is a training step and a validation batch at the configuration's own batch size, because the memory that
PyTorch, its allocator and the kernels use in addition to the network's tensors is known only after running.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig, from_dict, override, to_dict
from preprocess.binning.binning_config import Binning
from preprocess.errors import FullMemoryError, SpikeloomError
from preprocess.store.frame_cache import FrameCache
from preprocess.store.imported_frames import open_dataset
from tune.cluster.node_caches import NodeCaches
from tune.cluster.registered_code import pack_registrations, unpack_registrations
from tune.resources.allocation import MemoryNeed

# How much more memory, main or a GPU's, a trial needs than its measured first step: later epochs also keep metrics,
# prefetched batches and freed blocks.
_MARGIN = 1.2


@dataclass(frozen=True)
class Extent:
    """The largest extents of a data set's samples, which bound the memory of any of them.

    Attributes:
        height: Height of the sensor in pixels.
        width: Width of the sensor in pixels.
        duration_us: Duration of the longest sample in us.
        events: The largest number of events in a sample.
        frames: The largest number of imported frames of a sample; 0 if the data set has events.
    """

    height: int
    width: int
    duration_us: int
    events: int
    frames: int = 0

    def timesteps(self, binning: Binning) -> float:
        """T; if samples differ in T, approximately the largest."""
        if not binning.varies:
            return binning.timesteps
        if binning.imported:
            return self.frames
        if binning.event_count is not None and binning.split_by == "event_count":
            return self.events / (binning.event_count - binning.overlap)
        overlap = binning.overlap if binning.split_by == "time_window" else 0
        return self.duration_us / ((binning.duration_us or 1) - overlap)


def measure_extents(names: Iterable[str], cache: Path) -> dict[str, Extent]:
    """The extents of data sets, from their event stores in the folder of all caches."""
    found = {}
    for name in dict.fromkeys(names):
        store = open_dataset(cache, name)
        begin, end = store.samples.interval_us.T
        frames = store.timesteps if isinstance(store, FrameCache) else 0
        most = int(store.samples.events.max())
        found[name] = Extent(store.height, store.width, int((end - begin).max()), most, frames)
    return found


def most_expensive(configs: Iterable[RunConfig], extents: Mapping[str, Extent]) -> RunConfig:
    """The trial that needs the most memory: activations grow with T, batch size, width and pixels.

    Args:
        configs: The trials to choose from.
        extents: The extents of each data set.
    """

    def cost(config: RunConfig) -> float:
        batch = config.micro_batch or config.batch_size
        extent = extents[config.dataset.name]
        height, width = config.binning.size(extent.height, extent.width)
        pixels = height * width if config.input.size is None else config.input.size**2
        return extent.timesteps(config.binning) * batch * config.network.width * pixels

    return max(configs, key=cost)


def measure_need(config: RunConfig, caches: NodeCaches, *, gpu: bool) -> MemoryNeed:
    """Train one step of a trial on a machine of the cluster, and measure its memory.

    If the dry run fails, nothing is measured: the trial itself will report the cause. If its process was killed, the
    trial did not fit: a machine that runs out of memory kills processes.

    Args:
        config: The most expensive trial.
        caches: Where the measuring machine finds the frames.
        gpu: Whether trials compute on GPUs.
    """
    import ray

    # A separate process that ends with the call, so that its memory is free for the first trial.
    task = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0, max_calls=1, max_retries=0)(_measure)
    try:
        found: tuple[float, float] | None = ray.get(task.remote(to_dict(config), caches, gpu, pack_registrations()))
    except (ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError):
        found = None
    except (SpikeloomError, ray.exceptions.RayError):
        return MemoryNeed()
    if found is None:
        return MemoryNeed(fits=False)
    return MemoryNeed(found[0] * _MARGIN, found[1] * _MARGIN)


def _measure(plain: dict[str, Any], caches: NodeCaches, gpu: bool, registered: bytes) -> tuple[float, float] | None:
    """Peak main memory and GPU memory of one step, in bytes; None if memory was full."""
    from pipeline.dry_run.measured_peak import peak_of_one_step

    unpack_registrations(registered)
    config = override(from_dict(plain), {"device": "cuda" if gpu else "cpu", "threads": 1})
    try:
        return peak_of_one_step(config, caches.here(config))
    except FullMemoryError:
        return None
