"""Read all events of a raw file in one call."""

from __future__ import annotations

from pathlib import Path

from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.formats.read_options import ReadOptions, TimeUnit
from preprocess.formats.recording import Size
from preprocess.formats.registry import open_recording


def read_events(
    path: Path | str,
    *,
    sensor_size: Size | None = None,
    columns: str | None = None,
    time_unit: TimeUnit | None = None,
    hdf5_path: str | None = None,
    topic: str | None = None,
) -> Events:
    """Read all events of a raw recording of any readable format.

    For files that do not fit in memory, iterate over ``preprocess.formats.open_recording(path).chunks()`` instead.

    Args:
        path: The file, of any format in `FORMATS`.
        sensor_size: Rows and columns of the sensor, used only if the file does not store them.
        columns: Order of the columns of an array or a text file without column names, such as ``txyp``.
        time_unit: Unit of the timestamps; if None, the one that the file states, else integer µs.
        hdf5_path: Group or data set of an HDF5 file with the events.
        topic: Topic of a ROS bag with the events, if it has several.

    Returns:
        The events in recording order.

    Raises:
        RecordingError: If the file cannot be read, is damaged or of an unknown format.
        ConfigError: If the columns or the unit are invalid.
    """
    options = ReadOptions(columns, time_unit, hdf5_path, topic)
    if errors := list(options.errors()):
        raise ConfigError(*errors)
    recording = open_recording(path, size=sensor_size, options=options)
    return Events.concatenate(recording.chunks(), recording.height, recording.width)
