"""spikeloom emulate: record moving shapes, digits or cues with an emulated event camera."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from preprocess.terminal.command_line import UsageError, parse
from preprocess.terminal.plural import counted

_LONGEST_LAG_MS = 60_000

# The options that only some kinds of recordings have.
_SPECIFIC: dict[str, tuple[str, ...]] = {
    "gestures": ("difficulty", "test_share"),
    "digits": (),
    "cue": ("test_share", "lag_ms"),
}


@dataclass(frozen=True)
class Arguments:
    """Write synthetic event-camera recordings in the formats and folder layouts of published data sets.

    gestures: eleven classes of moving shapes that mostly differ in temporal order only, by several users in several
    lighting conditions (layout of DVS128-Gesture, AEDAT 3.1). Hard gestures are repeated up to three times, in a dim,
    noisy scene with distractor shapes, by users who differ more.

    digits: the ten digits, moving in a closed loop (layout of CIFAR10-DVS, AEDAT 2.0).

    cue: a working-memory task. A shape blinks at one of eight places, which is the class; unrelated shapes cross the
    scene during the lag; then all eight places blink and the network must answer from memory (layout of
    DVS128-Gesture, AEDAT 3.1).

    Output is deterministic: the same arguments produce identical files. Existing recordings with the same arguments
    are reused.

    Example: spikeloom emulate gestures --out emulated-gestures --samples-per-class 40
    """

    what: Annotated[Literal["gestures", "digits", "cue"], tyro.conf.Positional]
    """What to record."""
    out: Path
    """The folder to write."""
    samples_per_class: int = 40
    """Number of samples per class, training and test together."""
    seed: int = 0
    """Random seed of the users, the shapes and the camera noise."""
    difficulty: Literal["plain", "hard"] | None = None
    """Difficulty (gestures only; default: plain). Hard gestures form the data set emulated-gestures-hard."""
    test_share: float | None = None
    """Fraction of the users whose recordings form the test split (gestures and cue only; default: 0.2)."""
    lag_ms: int | None = None
    """Time from the end of the cue to the answer in ms (cue only; default: 200). It becomes part of the data set's
    name, such as emulated-cue-lag200."""

    def check(self) -> None:
        """Raise a UsageError with every error that can be found without reading files."""
        errors = []
        if self.samples_per_class < 1:
            errors.append(f"--samples-per-class: expected at least 1, found {self.samples_per_class}")
        if self.seed < 0:
            errors.append(f"--seed: expected 0 or more, found {self.seed}")
        if self.test_share is not None and not 0 < self.test_share < 1:
            errors.append(f"--test-share: expected a fraction between 0 and 1, found {self.test_share}")
        if self.lag_ms is not None and not 0 <= self.lag_ms <= _LONGEST_LAG_MS:
            errors.append(f"--lag-ms: expected 0 to {_LONGEST_LAG_MS} ms, found {self.lag_ms}")
        for name in self.specific():
            if name not in _SPECIFIC[self.what]:
                users = " and ".join(what for what, names in _SPECIFIC.items() if name in names)
                flag = "--" + name.replace("_", "-")
                errors.append(f"{flag}: expected with {users} only, found with {self.what}. Leave it out.")
        if errors:
            raise UsageError(*errors)

    def specific(self) -> dict[str, Any]:
        """The given options that apply to some kinds of recordings only; the emulator has defaults for the rest."""
        names = dict.fromkeys(name for names in _SPECIFIC.values() for name in names)
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def run(argv: list[str]) -> None:
    """Write the folder, then print its size and the next command."""
    arguments = parse(Arguments, argv, prog="spikeloom emulate")
    arguments.check()
    from preprocess.emulator.output_folder import read_about
    from preprocess.terminal.progress import progress_on_stderr

    out = arguments.out.expanduser().absolute()
    existed = bool(read_about(out))
    module = import_module(f"preprocess.emulator.{arguments.what}")
    getattr(module, f"emulate_{arguments.what}")(
        out,
        samples_per_class=arguments.samples_per_class,
        seed=arguments.seed,
        progress=progress_on_stderr(),
        **arguments.specific(),
    )
    about = read_about(out)
    hard = about.get("difficulty") == "hard"
    print(
        f"Emulated {'hard ' if hard else ''}{arguments.what} in {out}: "
        f"{counted(about['recordings'], 'recording')}, {counted(about['samples'], 'sample')}, "
        f"{counted(about['events'], 'event')}, {about['bytes'] / 1e6:,.1f} MB"
        f"{' (already there)' if existed else ''}."
    )
    print(f"Next: spikeloom preprocess emulated-{arguments.what} --source {out} {_binning(arguments.what, hard)}")


def _binning(what: str, hard: bool) -> str:
    """The binning options of the preset that trains on these recordings."""
    if what == "cue":
        return "--split-by duration --duration-us 50000 --downsample 4"
    return f"--timesteps {8 if hard else 10} --downsample 4"
