"""What the emulator makes, in the layouts of the data sets that it imitates, with classes of its own.

Gestures and cues lie as DVS128-Gesture does, digits as CIFAR10-DVS does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocess.datasets import cifar10_dvs, dvs_gesture
from preprocess.datasets.emulated_names import is_emulated
from preprocess.datasets.layout import Layout
from preprocess.emulator.cue_positions import PLACES
from preprocess.emulator.difficulty import DIFFICULTIES, PLAIN
from preprocess.emulator.gesture_motions import GESTURES
from preprocess.emulator.output_folder import ABOUT, read_about
from preprocess.errors import LayoutError

GESTURES_FORM = dvs_gesture.recordings_form(GESTURES)
CUE_FORM = dvs_gesture.recordings_form(PLACES)
DIGITS_FORM = cifar10_dvs.recordings_form("emulated digits (AEDAT 2.0)", tuple("0123456789"), "emulated")


def with_name(layout: Layout) -> Layout:
    """Emulated data is called emulated wherever it appears, hard where it is hard, and by its lag where it has one."""
    about = read_about(layout.folder)
    emulated = is_emulated(layout.dataset)
    if about and layout.dataset != f"emulated-{about['emulated']}":
        expected = f"what makes {layout.dataset}" if emulated else "what a camera recorded"
        found = f"emulated {about['emulated']}" if emulated else "what an emulator made"
        raise LayoutError(
            f"{layout.folder}: expected {expected}, found {found} ({ABOUT}). "
            f"Preprocess it as emulated-{about['emulated']}."
        )
    if layout.dataset == "emulated-cue":
        return dataclasses.replace(layout, name=f"{layout.name}-lag{_lag_of(layout.folder, about)}")
    difficulty = about.get("difficulty", PLAIN.name)
    if difficulty not in DIFFICULTIES:
        raise LayoutError(
            f"{layout.folder / ABOUT}: expected difficulty {' or '.join(DIFFICULTIES)}, found {difficulty!r}. "
            "Emulate the folder again."
        )
    return layout if difficulty == PLAIN.name else dataclasses.replace(layout, name=f"{layout.name}-{difficulty}")


def _lag_of(folder: Path, about: Mapping[str, Any]) -> int:
    lag = about.get("lag_ms")
    if not isinstance(lag, int) or isinstance(lag, bool) or lag < 0:
        raise LayoutError(
            f"{folder / ABOUT}: expected lag_ms, a whole number from 0, found {lag!r}. Emulate the folder again."
        )
    return lag
