"""Names of augmentations, and what is wrong with a choice of them; loads nothing, so that a configuration can ask."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

FRAME_AUGMENTATIONS = ("flip", "roll", "crop", "rotation", "shear", "cutout", "event-drop")
"""What `pipeline.data.frame_augmentation` does to frames, in the order in which it does it."""

EVENT_AUGMENTATIONS = ("time-jitter", "spatial-jitter", "drop-events")
"""What `pipeline.data.event_augmentation` does to events before they are binned; one of them at a time."""

_NAMES = (*FRAME_AUGMENTATIONS, *EVENT_AUGMENTATIONS)
_RULE = f"dataset.augmentation: expected none or any of {', '.join(_NAMES)} joined by +"


def parse_augmentation(text: str) -> tuple[str, ...]:
    """The names in `dataset.augmentation`, as given: "flip+rotation" has two, "none" has none."""
    return () if text == "none" else tuple(text.split("+"))


def augmentation_errors(text: str) -> Iterator[str]:
    """Every fault of `dataset.augmentation`, a line each."""
    words = text.split("+")
    # Each word once and in order, so that a fault is not told twice.
    for word in dict.fromkeys(words):
        if word not in (*_NAMES, "none"):
            near = difflib.get_close_matches(word, (*_NAMES, "none"), n=1, cutoff=0.4)
            yield f"{_RULE}, found '{word}'" + (f". Did you mean '{near[0]}'?" if near else "")
        elif word != "none" and words.count(word) > 1:
            yield f"dataset.augmentation: expected each name once, found '{word}' {words.count(word)} times in '{text}'"
    if "none" in words and len(words) > 1:
        yield f"dataset.augmentation: expected none by itself, found '{text}'"
    of_events = [name for name in EVENT_AUGMENTATIONS if name in words]
    if len(of_events) > 1:
        choice = ", ".join(EVENT_AUGMENTATIONS)
        yield f"dataset.augmentation: expected at most one of {choice}, found {' and '.join(of_events)}"
