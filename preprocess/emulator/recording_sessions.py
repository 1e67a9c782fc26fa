"""Recording sessions, one per user and lighting condition, and their division into a training and a test split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preprocess.emulator.lighting import LIGHTS
from preprocess.emulator.output_folder import make_folder
from preprocess.errors import ConfigError
from preprocess.terminal.progress import Progress

Trial = tuple[int, str]
"""Number of a user, from 0, and name of a lighting condition."""


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
    """Create a folder of `samples_per_class` recordings, each with a sample of every class.

    Every user is recorded in up to five lighting conditions; the number of users follows from `samples_per_class`.

    Args:
        out: The folder to create.
        what: Name of what is emulated, for ``emulated.json`` and the progress.
        record: Called with the folder, a user and a lighting condition; writes the files of this recording and returns
            its number of events.
        classes: Number of samples per recording.
        samples_per_class: Number of recordings, training and test together.
        seed: Random seed; the same seed gives identical files.
        test_share: Fraction of the users whose recordings form the test split; at least one user is in each split.
        progress: Where to report progress.
        **about: Further arguments of the emulator, for ``emulated.json``; an existing folder is kept only if its
            arguments are the same.

    Returns:
        The folder.

    Raises:
        ConfigError: If there are too few samples for two users, or the test share is invalid.
        LayoutError: If the folder contains something else or cannot be written.
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
    """Raise a ConfigError if the training or the test split would have no user."""
    if samples_per_class < 2:
        raise ConfigError(
            f"samples per class: expected at least 2 (one user to train, one to test), found {samples_per_class}"
        )
    if not 0 < test_share < 1:
        raise ConfigError(f"test share: expected a share of the users between 0 and 1, found {test_share}")


def plan_trials(recordings: int) -> tuple[int, list[Trial]]:
    """Return the number of users, at least two, and the trials.

    Users alternate, so that their numbers of recordings differ by at most one.
    """
    users = max(2, -(-recordings // len(LIGHTS)))
    return users, [(i % users, list(LIGHTS)[i // users]) for i in range(recordings)]


def stem_of(user: int, light: str) -> str:
    """Return the file name of a trial without its suffix, such as ``user01_led``."""
    return f"user{user + 1:02d}_{light}"


def write_lists(folder: Path, trials: list[Trial], users: int, test_share: float) -> None:
    """Write the lists of training recordings (the first users) and test recordings; no user is in both."""
    train_users = users - min(users - 1, max(1, round(test_share * users)))
    for name, chosen in (
        ("trials_to_train.txt", [trial for trial in trials if trial[0] < train_users]),
        ("trials_to_test.txt", [trial for trial in trials if trial[0] >= train_users]),
    ):
        (folder / name).write_text("".join(f"{stem_of(*trial)}.aedat\n" for trial in chosen))


def write_labels(folder: Path, stem: str, labels: list[tuple[int, int, int]]) -> None:
    """Write the labels of a recording (class from 1, start and end in µs) as in DVS128-Gesture."""
    lines = ["class,startTime_usec,endTime_usec", *(",".join(map(str, label)) for label in labels)]
    (folder / f"{stem}_labels.csv").write_text("".join(f"{line}\n" for line in lines))
