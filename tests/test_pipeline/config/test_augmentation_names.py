"""Names of augmentations: split at +, every fault told with what was meant, and nothing heavy loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.config.augmentation_names import (
    BATCH_AUGMENTATIONS,
    EVENT_AUGMENTATIONS,
    FRAME_AUGMENTATIONS,
    IMAGE_AUGMENTATIONS,
    augmentation_errors,
    kind_errors,
    parse_augmentation,
)

RULE = (
    "dataset.augmentation: expected none or any of flip, roll, crop, rotation, shear, cutout, event-drop, time-jitter, "
    "spatial-jitter, drop-events, autoaugment-cifar10, autoaugment-imagenet, trivialaugment, randaugment, "
    "random-erasing, "
    "mixup, cutmix joined by +"
)


def test_names_are_split_at_plus_and_none_has_none():
    assert parse_augmentation("none") == ()
    assert parse_augmentation("flip") == ("flip",)
    assert parse_augmentation("rotation+flip+drop-events") == ("rotation", "flip", "drop-events")


def test_images_and_events_have_augmentations_of_their_own():
    assert not list(kind_errors("+".join((*IMAGE_AUGMENTATIONS, *BATCH_AUGMENTATIONS)), images=True))
    assert not list(kind_errors("none", images=True)) and not list(kind_errors("flip+time-jitter", images=False))
    (line,) = kind_errors("crop+roll+drop-events", images=True)
    assert "for images (input.encoding direct), found roll and drop-events" in line
    (line,) = kind_errors("crop+autoaugment-cifar10+mixup", images=False)
    assert "for events, found autoaugment-cifar10 and mixup" in line


@pytest.mark.parametrize("text", ["none", *FRAME_AUGMENTATIONS, *EVENT_AUGMENTATIONS, "shear+flip", "roll+time-jitter"])
def test_names_that_go_together_have_no_fault(text: str):
    assert list(augmentation_errors(text)) == []


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("flop", [f"{RULE}, found 'flop'. Did you mean 'flip'?"]),
        ("flip+rotate+xyzzy", [f"{RULE}, found 'rotate'. Did you mean 'rotation'?", f"{RULE}, found 'xyzzy'"]),
        ("flip+ roll", [f"{RULE}, found ' roll'. Did you mean 'roll'?"]),
        ("", [f"{RULE}, found ''"]),
        ("flip+", [f"{RULE}, found ''"]),
        ("flop+flop", [f"{RULE}, found 'flop'. Did you mean 'flip'?"]),
        (
            "flip+roll+flip",
            ["dataset.augmentation: expected each name once, found 'flip' 2 times in 'flip+roll+flip'"],
        ),
        ("flip+none", ["dataset.augmentation: expected none by itself, found 'flip+none'"]),
        ("none+none", ["dataset.augmentation: expected none by itself, found 'none+none'"]),
        (
            "drop-events+flip+time-jitter",
            [
                "dataset.augmentation: expected at most one of time-jitter, spatial-jitter, drop-events, "
                "found time-jitter and drop-events"
            ],
        ),
    ],
)
def test_each_fault_is_a_line_that_says_what_was_expected(text: str, errors: list[str]):
    assert list(augmentation_errors(text)) == errors


def test_the_names_load_neither_torch_nor_numpy():
    # The package itself may load more than this module does.
    code = "import sys; import pipeline; before = set(sys.modules); import pipeline.config.augmentation_names; "
    code += "print({'torch', 'numpy', 'tonic'} & (set(sys.modules) - before), 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["set()", "False"]
