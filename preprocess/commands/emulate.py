"""spikeloom emulate: film moving shapes, digits or cues with an emulated event camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from preprocess.terminal.command_line import UsageError, parse

_LONGEST_LAG_MS = 60_000


@dataclass(frozen=True)
class Arguments:
    """Write raw recordings that no camera made: gestures and cues as DVS128-Gesture, digits as CIFAR10-DVS.

    Eleven gestures of moving shapes, which mostly differ in the order of time alone, by several users in several lights
    (AEDAT 3.1), or the ten digits moving in a closed loop (AEDAT 2.0). Hard gestures are made up to three times in a
    row, in a dim and noisy scene that smaller shapes cross, by users who differ more. A cue is a shape that blinks at
    one of eight places, the class; shapes that have nothing to do with it cross the picture for the lag; then all eight
    places blink, and the answer is due: only what is remembered tells it (AEDAT 3.1).

    The same words give the same bytes. Recordings that the same words made before are kept.

    Example: spikeloom emulate gestures --out emulated-gestures --samples-per-class 40
    """

    what: Annotated[Literal["gestures", "digits", "cue"], tyro.conf.Positional]
    """gestures, digits or cue."""
    out: Path
    """The folder to make."""
    samples_per_class: int = 40
    """Recordings of each class, for training and test together."""
    seed: int = 0
    """Of users, shapes and the camera's noise."""
    difficulty: Literal["plain", "hard"] = "plain"
    """Of gestures: hard ones make the data set emulated-gestures-hard."""
    test_share: float = 0.2
    """Of gestures and cues: the share of the users who test; the others train."""
    lag_ms: int = 200
    """Of cues: ms from the end of the cue to the time when the answer is due; makes emulated-cue-lag200."""

    def check(self) -> None:
        """Raise a UsageError with every fault that can be seen without the files."""
        errors = []
        what = "cues" if self.what == "cue" else self.what
        if self.samples_per_class < 1:
            errors.append(f"--samples-per-class: expected at least 1, found {self.samples_per_class}")
        if self.seed < 0:
            errors.append(f"--seed: expected 0 or more, found {self.seed}")
        if not 0 < self.test_share < 1:
            errors.append(f"--test-share: expected a share between 0 and 1, found {self.test_share}")
        elif self.what == "digits" and self.test_share != Arguments.test_share:
            errors.append(f"--test-share: {what} have no users. Leave it out.")
        if self.what != "gestures" and self.difficulty != Arguments.difficulty:
            errors.append(f"--difficulty: {what} are plain only. Leave it out.")
        if not 0 <= self.lag_ms <= _LONGEST_LAG_MS:
            errors.append(f"--lag-ms: expected 0 to {_LONGEST_LAG_MS} ms, found {self.lag_ms}")
        elif self.what != "cue" and self.lag_ms != Arguments.lag_ms:
            errors.append(f"--lag-ms: {what} have no lag. Leave it out.")
        if errors:
            raise UsageError(*errors)


def run(words: list[str]) -> None:
    """Make the folder, then say what it holds and what to do with it."""
    arguments = parse(Arguments, words, prog="spikeloom emulate")
    arguments.check()
    from preprocess.emulator.output_folder import read_about
    from preprocess.terminal.progress import progress_on_stderr

    out = arguments.out.expanduser().absolute()
    was_there = bool(read_about(out))
    count, seed, progress = arguments.samples_per_class, arguments.seed, progress_on_stderr()
    if arguments.what == "gestures":
        from preprocess.emulator.gestures import emulate_gestures

        emulate_gestures(
            out,
            samples_per_class=count,
            seed=seed,
            difficulty=arguments.difficulty,
            test_share=arguments.test_share,
            progress=progress,
        )
    elif arguments.what == "cue":
        from preprocess.emulator.cue import emulate_cue

        emulate_cue(
            out,
            samples_per_class=count,
            seed=seed,
            lag_ms=arguments.lag_ms,
            test_share=arguments.test_share,
            progress=progress,
        )
    else:
        from preprocess.emulator.digits import emulate_digits

        emulate_digits(out, samples_per_class=count, seed=seed, progress=progress)
    about = read_about(out)
    hard = about.get("difficulty") == "hard"
    print(
        f"Emulated {'hard ' if hard else ''}{arguments.what} in {out}: {about['recordings']:,} recordings, "
        f"{about['samples']:,} samples, {about['events']:,} events, {about['bytes'] / 1e6:,.1f} MB"
        f"{' (was there)' if was_there else ''}."
    )
    print(f"Next: spikeloom preprocess emulated-{arguments.what} --source {out} {_binning(arguments.what, hard)}")


def _binning(what: str, hard: bool) -> str:
    """As the preset that trains on them bins."""
    if what == "cue":
        return "--split-by duration --duration-us 50000 --downsample 4"
    return f"--timesteps {8 if hard else 10} --downsample 4"
