"""The bootstrap over seeds and test samples written down as loops, after its definition: the law for the fast one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resampled_differences(
    right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], clusters: NDArray[np.int64] | None, repeats: int, seed: int
) -> list[float]:
    """Accuracy A minus accuracy B in each resample: draw runs, draw samples or whole clusters, and count."""
    seeds, samples = right_a.shape
    of_sample = list(range(samples)) if clusters is None else clusters.tolist()
    members = [[i for i in range(samples) if of_sample[i] == c] for c in sorted(set(of_sample))]
    for_seeds, for_clusters = np.random.default_rng(seed).spawn(2)
    values = []
    for _ in range(repeats):
        runs = np.repeat(np.arange(seeds), for_seeds.multinomial(seeds, [1 / seeds] * seeds))
        picked = for_clusters.integers(len(members), size=len(members))
        a = [bool(right_a[run, i]) for run in runs for c in picked for i in members[c]]
        b = [bool(right_b[run, i]) for run in runs for c in picked for i in members[c]]
        values.append(sum(a) / len(a) - sum(b) / len(b))
    return values
