"""What a GPU has to show: every threshold of the acceptance, in this place only.

Speed and memory are ratios to a peer in the same run, so that they hold on any GPU. Where they come from:
docs/internals/gpu.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """A bound on a measurement.

    Attributes:
        part: The part of the acceptance that measures it.
        name: Name of the measurement (`benchmarks.measurements`).
        sentence: What is promised.
        least: Smallest value that keeps it; None for no bound.
        most: Largest value that keeps it; None for no bound.
    """

    part: str
    name: str
    sentence: str
    least: float | None = None
    most: float | None = None

    @property
    def bound(self) -> str:
        ends = ((">=", self.least), ("<=", self.most))
        return " and ".join(f"{sign} {end:g}" for sign, end in ends if end is not None)

    def is_kept(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def failure(self, values: Mapping[str, float]) -> str | None:
        """One line if the promise is not kept, by the values of the measurements; None if it is."""
        value = values.get(self.name)
        if value is not None and self.is_kept(value):
            return None
        found = "not measured" if value is None else f"found {value:.4g}"
        return f"{self.part}: {self.sentence}: expected {self.bound}, {found}"


def _neurons() -> list[Promise]:
    # One launch for all T moves half the bytes of a launch per step; SpikingJelly's LIF is one launch, too.
    spikingjelly = {"clif": 1.5, "lif": 0.9}
    promises = []
    for kind, least in spikingjelly.items():
        name = kind.upper()
        for steps in (4, 10, 20):
            at = f"at T = {steps}"
            promises += [
                Promise(
                    "neurons", f"{kind}-T{steps}-spikingjelly-triton", f"{name} / SpikingJelly's speed {at}", least
                ),
                Promise("neurons", f"{kind}-T{steps}-compile", f"{name} / torch.compile's speed {at}", 1.0),
            ]
        # Of the bandwidth of a copy on the same device, by the bytes of docs/internals/neurons.md.
        promises.append(
            Promise("neurons", f"{kind}-T10-bandwidth", f"{name}'s share of a copy's bandwidth, T = 10", 0.8)
        )
        # A third to a half fewer bytes, but more arithmetic for each of them.
        promises += [
            Promise("neurons", f"{kind}-with-norm-{mode}-{precision}", f"{title} as one / apart, {precision}", 1.1)
            for mode in ("per-step", "joint")
            for precision in ("fp32", "bf16")
            for title in (f"batch norm {mode} and {name}",)
        ]
    return promises


def _steps() -> list[Promise]:
    promises = []
    for part, title in (("gesture-step", "Gesture VGG11"), ("vggsnn-step", "VGGSNN")):
        for precision in ("fp16", "bf16"):
            name = f"{title} step in {precision}"
            promises += [
                Promise(part, f"{precision}-speed", f"{name} / SpikingJelly's speed", 1.0),
                Promise(part, f"{precision}-memory", f"{name}, peak memory / SpikingJelly's", None, 1.0),
                # The calculation leaves out workspaces, temporary tensors and fragmentation.
                Promise(part, f"{precision}-computed", f"{name}, peak memory / the dry run's figure", 0.9, 1.5),
            ]
    return promises


PROMISES: tuple[Promise, ...] = (
    *_neurons(),
    *_steps(),
    # docs/benchmarks.md: 100 % of emulated digits and 98 % of N-MNIST's subset on the CPU.
    Promise("training", "accuracy", "test accuracy after raw recordings, preprocessing and training", 0.9),
    Promise("training", "waiting", "share of the training time that the GPU waits for data", None, 0.2),
    Promise("search", "done", "trials that ended, with half of the GPU each", 2.0, 2.0),
    Promise("search", "overlap", "share of the shorter trial during which both ran", 0.5),
)
