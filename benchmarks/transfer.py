"""Speed of file transfers in a cluster: ``python -m benchmarks.transfer``.

A frame cache is sent to a machine, and a checkpoint to the driver, through the same actors as in a search, with sender
and receiver on this machine: the limit of Python, hashing, the object store and the disk, without a network.
"""

from __future__ import annotations

import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from preprocess.store.copied_cache import CopiedCache
from tune.cluster.node_caches import CacheSource, NodeCaches
from tune.cluster.nodes import actor_here
from tune.cluster.ray_session import ray_running
from tune.cluster.trial_storage import Receiver, TrialSite, TrialStorage


@dataclass(frozen=True)
class Arguments:
    """Measure transfers.

    Example: python -m benchmarks.transfer --megabytes 256
    """

    megabytes: int = 256
    """Size of the cache and of the checkpoint."""
    repeats: int = 5


def main(arguments: Arguments) -> None:
    """Print both speeds."""
    size = arguments.megabytes * 2**20
    with ray_running(), tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "cache").mkdir()
        (root / "cache" / "frames.h5").write_bytes(secrets.token_bytes(size))
        print("| what | MB | seconds, median | MB/s |\n|---|---|---|---|")
        for name, work in (("a cache to a machine", _fetch(root)), ("a checkpoint to the driver", _send(root))):
            seconds = statistics.median(_timed(work) for _ in range(arguments.repeats))
            print(f"| {name} | {size / 1e6:.0f} | {seconds:.2f} | {size / 1e6 / seconds:.0f} |")


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _fetch(root: Path) -> Callable[[], None]:
    source = actor_here(CacheSource, str(root / "cache"), str(root / "own-frames"))
    caches = NodeCaches(root / "cache", {"made-up": CopiedCache("0" * 16, 1, 1)}, source)

    def work() -> None:
        target = root / f"node-{secrets.token_hex(4)}"
        caches._fetch(Path("frames.h5"), target)
        os.unlink(target / "frames.h5")

    return work


def _send(root: Path) -> Callable[[], None]:
    receiver = actor_here(Receiver, str(root / "home"))
    storage = TrialStorage(root / "home", "token", receiver)

    def work() -> None:
        site = TrialSite("trial", root / "away", storage, away=True)
        site.folder.mkdir(parents=True, exist_ok=True)
        path = site.folder / "checkpoint.pt"
        if not path.exists():
            os.link(root / "cache" / "frames.h5", path)
        site.keep()

    return work


if __name__ == "__main__":
    main(tyro.cli(Arguments))
