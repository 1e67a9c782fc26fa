"""Emulated data sets, in the layouts of the data sets that they imitate, with their own classes.

Gestures and cues have the layout of DVS128-Gesture, digits that of CIFAR10-DVS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocess.datasets import cifar10_dvs, dvs_gesture
from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.emulated_names import is_emulated
from preprocess.datasets.layout import Layout
from preprocess.emulator.cue_positions import PLACES
from preprocess.emulator.difficulty import DIFFICULTIES, PLAIN
from preprocess.emulator.gesture_motions import GESTURES
from preprocess.emulator.output_folder import ABOUT, read_about
from preprocess.errors import LayoutError

# Without a published number of samples, because the user chooses it.
GESTURES_DATASET = Dataset(
    "emulated-gestures",
    (dvs_gesture.recordings_form(GESTURES),),
    caches=(
        CacheKind("emulated-gestures", emulate="gestures"),
        CacheKind(
            "emulated-gestures-hard",
            emulate="gestures --difficulty hard --samples-per-class 200 --test-share 0.5",
        ),
    ),
    published={"emulated-gestures": Published(128, 128, len(GESTURES))},
)
DIGITS_DATASET = Dataset(
    "emulated-digits",
    (cifar10_dvs.recordings_form("emulated digits (AEDAT 2.0)", tuple("0123456789"), "emulated"),),
    caches=(CacheKind("emulated-digits", emulate="digits"),),
    published={"emulated-digits": Published(128, 128, 10)},
)
CUE_DATASET = Dataset(
    "emulated-cue",
    (dvs_gesture.recordings_form(PLACES),),
    caches=(CacheKind(r"emulated-cue-lag(\d+)", emulate="cue --lag-ms {0} --samples-per-class 150 --test-share 0.33"),),
    published={"emulated-cue": Published(128, 128, len(PLACES))},
)


def with_name(layout: Layout) -> Layout:
    """Return the layout with a name that contains the difficulty of hard gestures and the lag of cues."""
    about = read_about(layout.folder)
    emulated = is_emulated(layout.dataset)
    if about and layout.dataset != f"emulated-{about['emulated']}":
        expected = f"recordings of {layout.dataset}" if emulated else "recordings of a camera"
        found = f"emulated {about['emulated']}" if emulated else "emulated recordings"
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
            f"{folder / ABOUT}: expected a whole number from 0 as lag_ms, found {lag!r}. Emulate the folder again."
        )
    return lag
