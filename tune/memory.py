"""What one trial takes: a dry run in a process of its own, on a machine of the cluster, before the first trial.

Run are a training step and a validation batch at the configuration's own batch size, because what PyTorch, its
allocator and the kernels keep besides the network's tensors is known only afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.config import RunConfig, from_dict, override, to_dict
from preprocess.copied_cache import CopiedCache
from preprocess.errors import FullMemoryError, SpikeloomError
from tune.node_caches import NodeCaches
from tune.shares import Need

# Later epochs keep rows, read-ahead batches and freed blocks besides.
_MARGIN = 1.2


def costliest(configs: Iterable[RunConfig], stores: Mapping[str, CopiedCache]) -> RunConfig:
    """The trial that takes the most memory: activations grow with T, batch size, width and pixels.

    Args:
        configs: To choose from.
        stores: Of each data set, for the size of frames that are not resized.
    """

    def cost(config: RunConfig) -> float:
        piece = config.micro_batch or config.batch_size
        store = stores[config.dataset.name]
        height, width = config.binning.size(store.height, store.width)
        pixels = height * width if config.input.size is None else config.input.size**2
        return config.binning.timesteps * piece * config.network.width * pixels

    return max(configs, key=cost)


def measure_need(config: RunConfig, caches: NodeCaches, *, gpu: bool) -> Need:
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
        found: tuple[float, float] | None = ray.get(task.remote(to_dict(config), caches, gpu))
    except (ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError):
        found = None
    except (SpikeloomError, ray.exceptions.RayError):
        return Need()
    return Need(fits=False) if found is None else Need(found[0] * _MARGIN, found[1] * _MARGIN)


def _measure(plain: dict[str, Any], caches: NodeCaches, gpu: bool) -> tuple[float, float] | None:
    """Peak bytes of main memory and of the GPU, for one step; None where memory was full."""
    from pipeline.one_step import peak_of_one_step

    config = override(from_dict(plain), {"device": "cuda" if gpu else "cpu", "threads": 1})
    try:
        return peak_of_one_step(config, caches.here(config))
    except FullMemoryError:
        return None
