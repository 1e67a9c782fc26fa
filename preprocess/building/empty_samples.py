"""Samples without events are refused when a store is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from preprocess.errors import RecordingError

if TYPE_CHECKING:
    from preprocess.datasets.layout import Sample, SourceRecording


def refuse_empty(recording: SourceRecording, samples: Sequence[Sample], notes: Mapping[str, int]) -> None:
    """Refuse the samples of a recording that have no events.

    Args:
        recording: The recording.
        samples: Its samples without events.
        notes: How many events were left out of it, by reason.

    Raises:
        RecordingError: If there are any; one line for each.
    """
    errors = []
    counted = ", ".join(f"{note.replace('_', ' ')}: {count:,}" for note, count in notes.items() if count)
    found = f"none ({counted})" if counted else "none"
    for sample in samples:
        start, end = sample.start_us, sample.end_us
        within = "" if start is None and end is None else f" in [{start}, {end}) µs"
        within = f" with a number in {list(sample.numbers)}" if sample.numbers else within
        errors.append(
            f"{recording.path}: sample '{sample.name}': expected at least one event{within}, found {found}. "
            "Copy the recording again, or remove the sample from the source."
        )
    if errors:
        raise RecordingError(*errors)
