"""Read all events of a raw file in one call."""

from __future__ import annotations

from pathlib import Path

from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.formats.array_columns import ArrayOptions, TimeUnit
from preprocess.formats.recording import Size
from preprocess.formats.registry import open_recording


def read_events(
    path: Path | str,
    *,
    sensor_size: Size | None = None,
    columns: str | None = None,
    time_unit: TimeUnit | None = None,
) -> Events:
    """Read all events of a raw recording of any readable format.

    For files that do not fit in memory, iterate over ``preprocess.formats.open_recording(path).chunks()`` instead.

    Args:
        path: The file: AEDAT 2, 3.1 or 4, Prophesee EVT2, EVT3 or DAT, NumPy, ATIS .bin, or a registered format.
        sensor_size: Rows and columns of the sensor, used only if the file does not store them.
        columns: Order of the columns of a .npy or .npz file without column names, such as ``txyp``.
        time_unit: Unit of the timestamps of a .npy or .npz file; integer µs if None.

    Returns:
        The events in recording order.

    Raises:
        RecordingError: If the file cannot be read, is damaged or of an unknown format.
        ConfigError: If the columns or the unit are invalid.
    """
    arrays = ArrayOptions(columns, time_unit)
    if errors := list(arrays.errors()):
        raise ConfigError(*errors)
    recording = open_recording(path, size=sensor_size, arrays=arrays)
    return Events.concatenate(recording.chunks(), recording.height, recording.width)
