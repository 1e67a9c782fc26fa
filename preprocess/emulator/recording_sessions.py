"""Who is recorded in which light, and the lists that say who trains: one recording for a user in a light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from preprocess.emulator.output_folder import make_folder
from preprocess.errors import ConfigError
from preprocess.terminal.progress import Progress

Trial = tuple[int, str]
"""A user's number, from 0, and a light's name."""


@dataclass(frozen=True)
class Light:
    """What the shapes are filmed in.

    Attributes:
        contrast: Natural logarithm of the luminance of a bright shape over the background's, and of the background's
            over a dark shape's.
        shot_hz: Noise events a second and pixel.
    """

    contrast: float
    shot_hz: float


LIGHTS = {
    "fluorescent": Light(0.9, 0.3),
    "fluorescent_led": Light(1.1, 0.2),
    "lab": Light(0.8, 0.4),
    "led": Light(1.2, 0.15),
    "natural": Light(1.0, 0.25),
}


def emulate_trials(
    out: Path,
    what: str,
    record: Callable[[Path, int, str], int],
    *,
    classes: int,
    samples_per_class: int,
    seed: int,
    test_share: float,
    progress: Progress | None,
    **about: object,
) -> Path:
    """Make a folder of `samples_per_class` recordings of all classes, by as many users as that takes in five lights.

    Args:
        out: The folder.
        what: Is emulated, as `about.json` and the progress call it.
        record: Writes the files of a user in a light into the folder, and says how many events they hold.
        classes: Samples of a recording.
        samples_per_class: Recordings, for training and test together.
        seed: Random seed; equal seeds give equal bytes.
        test_share: Fraction of the users who test, between 0 and 1, rounded to users; at least one tests, one trains.
        progress: Where to report progress.
        **about: What else `about.json` tells, and another folder of the same has to equal.

    Returns:
        The folder.

    Raises:
        ConfigError: If there are too few samples for a training and a test user, or the share is none.
        LayoutError: If the folder holds something else or cannot be written.
    """
    check_request(samples_per_class, test_share)
    progress = progress or Progress()

    def fill(folder: Path) -> dict[str, int]:
        users, trials = plan_trials(samples_per_class)
        events = 0
        with progress.task(f"emulating {what}", samples_per_class, "recordings") as advance:
            for user, light in trials:
                events += record(folder, user, light)
                advance(1)
        write_lists(folder, sorted(trials), users, test_share)
        return {"recordings": len(trials), "samples": len(trials) * classes, "events": events}

    make_folder(out, what, samples_per_class, seed, fill, **about, test_share=test_share)
    return out


def check_request(samples_per_class: int, test_share: float) -> None:
    """Raise a ConfigError where no user would be left to train or to test."""
    if samples_per_class < 2:
        raise ConfigError(
            f"samples per class: expected at least 2 (one user to train, one to test), found {samples_per_class}"
        )
    if not 0 < test_share < 1:
        raise ConfigError(f"test share: expected a share of the users between 0 and 1, found {test_share}")


def plan_trials(recordings: int) -> tuple[int, list[Trial]]:
    """How many users that takes, at least two, and the trials.

    Users take turns, so that each has as many recordings as the next, or one more.
    """
    users = max(2, -(-recordings // len(LIGHTS)))
    return users, [(i % users, list(LIGHTS)[i // users]) for i in range(recordings)]


def stem_of(user: int, light: str) -> str:
    """What a trial's files are called, such as ``user01_led``."""
    return f"user{user + 1:02d}_{light}"


def write_lists(folder: Path, trials: list[Trial], users: int, test_share: float) -> None:
    """Write which recordings train, those of the first users, and which test: none of a user in both."""
    train_users = users - min(users - 1, max(1, round(test_share * users)))
    for name, chosen in (
        ("trials_to_train.txt", [trial for trial in trials if trial[0] < train_users]),
        ("trials_to_test.txt", [trial for trial in trials if trial[0] >= train_users]),
    ):
        (folder / name).write_text("".join(f"{stem_of(*trial)}.aedat\n" for trial in chosen))


def write_labels(folder: Path, stem: str, labels: list[tuple[int, int, int]]) -> None:
    """Write class from 1, start and end in µs of a recording's samples, as DVS128-Gesture has them."""
    lines = ["class,startTime_usec,endTime_usec", *(",".join(map(str, label)) for label in labels)]
    (folder / f"{stem}_labels.csv").write_text("".join(f"{line}\n" for line in lines))
