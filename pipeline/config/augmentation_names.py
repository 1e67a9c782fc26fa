"""Names of augmentations, and checks of `dataset.augmentation`; does not load torch."""

from __future__ import annotations

from collections.abc import Iterator

from preprocess.nearest_name import nearest_name

FRAME_AUGMENTATIONS = ("flip", "roll", "crop", "rotation", "shear", "cutout", "event-drop")
"""Augmentations of frames in `pipeline.data.frame_augmentation`, in the order in which they are applied."""

EVENT_AUGMENTATIONS = ("time-jitter", "spatial-jitter", "drop-events")
"""Augmentations of events before binning in `pipeline.data.event_augmentation`; only one can be used at a time."""

IMAGE_AUGMENTATIONS = (
    "crop", "flip", "autoaugment-cifar10", "autoaugment-imagenet", "trivialaugment", "randaugment", "cutout",
)  # fmt: skip
"""Augmentations of static images in `pipeline.data.image_augmentation`, in the order in which they are applied."""

BATCH_AUGMENTATIONS = ("random-erasing", "mixup", "cutmix")
"""Augmentations of batches of normalised images in `pipeline.data.batch_augmentation`, after those of images."""

_ALL_OF_IMAGES = (*IMAGE_AUGMENTATIONS, *BATCH_AUGMENTATIONS)
_NAMES = tuple(dict.fromkeys((*FRAME_AUGMENTATIONS, *EVENT_AUGMENTATIONS, *_ALL_OF_IMAGES)))
_RULE = f"dataset.augmentation: expected none or any of {', '.join(_NAMES)} joined by +"


def parse_augmentation(text: str) -> tuple[str, ...]:
    """Split `dataset.augmentation` into names: "flip+rotation" has two, "none" has none."""
    return () if text == "none" else tuple(text.split("+"))


def augmentation_errors(text: str) -> Iterator[str]:
    """Iterate over the errors of `dataset.augmentation`, a line each."""
    names = text.split("+")
    # Without duplicates, so that an error is not reported twice.
    for name in dict.fromkeys(names):
        if name not in (*_NAMES, "none"):
            near = nearest_name(name, (*_NAMES, "none"))
            yield f"{_RULE}, found '{name}'" + (f". Did you mean '{near}'?" if near else "")
        elif name != "none" and names.count(name) > 1:
            yield f"dataset.augmentation: expected each name once, found '{name}' {names.count(name)} times in '{text}'"
    if "none" in names and len(names) > 1:
        yield f"dataset.augmentation: expected none by itself, found '{text}'"
    of_events = [name for name in EVENT_AUGMENTATIONS if name in names]
    if len(of_events) > 1:
        accepted = ", ".join(EVENT_AUGMENTATIONS)
        yield f"dataset.augmentation: expected at most one of {accepted}, found {' and '.join(of_events)}"


def kind_errors(text: str, *, images: bool) -> Iterator[str]:
    """Iterate over the augmentations that the input does not have, a line each.

    Args:
        text: `dataset.augmentation`, without other errors.
        images: Whether the input is static images, not frames of events.
    """
    accepted = _ALL_OF_IMAGES if images else (*FRAME_AUGMENTATIONS, *EVENT_AUGMENTATIONS)
    wrong = [name for name in parse_augmentation(text) if name not in accepted]
    if wrong:
        kind = "images (input.encoding direct)" if images else "events"
        yield f"dataset.augmentation: expected any of {', '.join(accepted)} for {kind}, found {' and '.join(wrong)}"
