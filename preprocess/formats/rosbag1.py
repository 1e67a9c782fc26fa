"""ROS 1 bags (``.bag``) of ``dvs_msgs/EventArray``, or Prophesee's messages of the same layout.

The package rosbags, of the extra ``rosbag``, finds and decompresses the messages, in the order in which they were
received; their bytes are read here. Times are those of the events, not of the messages. A message
is sequence number, stamp and frame (a text), then height, width and number of events as 32-bit numbers, and 13 bytes
for each event: x, y, seconds, nanoseconds, polarity.
Sources: https://github.com/uzh-rpg/rpg_dvs_ros/tree/master/dvs_msgs/msg and https://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import LARGEST_SIDE, Events
from preprocess.formats.read_options import NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Recording, Size, file_size, first_outside, outside_sensor

_TYPES = ("dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray")
_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("s", "<u4"), ("ns", "<u4"), ("p", "u1")])
_EVENTS_A_CHUNK = 1 << 17


@dataclass(frozen=True)
class RosbagRecording(Recording):
    """The events of the only topic with event messages, or of the given one.

    Attributes:
        options: The options with which the file is read.
    """

    NAME: ClassVar[str] = "rosbag"
    TITLE: ClassVar[str] = "ROS 1 bag"
    SUFFIX: ClassVar[str] = ".bag"
    MAGIC: ClassVar[bytes] = b"#ROSBAG V"
    VERSION: ClassVar[int] = 1
    STORES_SIZE = "sometimes"
    OPTIONS: ClassVar[tuple[str, ...]] = ("topic",)

    options: ReadOptions = NO_OPTIONS

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> RosbagRecording:
        """Read the size of the sensor from the first message.

        Raises:
            RecordingError: If rosbags is not installed, or the file is damaged, or has no topic of events, or several
                of which none is chosen, or neither its messages nor `size` gives the sensor's size.
        """
        opened = cls(path, *(size or (0, 0)), 0, file_size(path), options=options)
        first = next(opened._messages(), None)
        if first is None:
            raise opened._wrong("messages with events", "none", "Nothing was recorded; leave the file out")
        height, width, _ = first
        return dataclasses.replace(opened, height=height, width=width)

    def decode(self) -> Iterator[Events]:
        """All events, message by message; RecordingError at the first that is damaged or outside the sensor."""
        parts: list[NDArray[Any]] = []
        waiting = 0
        for number, (height, width, events) in enumerate(self._messages()):
            if (height, width) != (self.height, self.width):
                found = f"one of {height}x{width} in message {number}"
                raise self._wrong(f"a sensor of {self.height}x{self.width} pixels (rows x columns)", found)
            outside = first_outside(events["x"], events["y"], height, width)
            if outside >= 0:
                x, y = int(events["x"][outside]), int(events["y"][outside])
                raise outside_sensor(self, 0, x, y, f"event {outside} of message {number}")
            if len(events) and events["p"].max() > 1:
                raise self._wrong("polarities 0 and 1", f"{events['p'].max()} in message {number}")
            parts.append(events)
            waiting += len(events)
            if waiting >= _EVENTS_A_CHUNK:
                yield self._events(np.concatenate(parts))
                parts, waiting = [], 0
        if waiting:
            yield self._events(np.concatenate(parts))

    def _events(self, rows: NDArray[Any]) -> Events:
        t = rows["s"].astype(np.int64) * 1_000_000 + (rows["ns"].astype(np.int64) + 500) // 1000
        x, y, p = (np.ascontiguousarray(rows[name]) for name in "xyp")
        return Events(t, x, y, p, self.height, self.width)

    def _messages(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Rows, columns and events of each message."""
        try:
            from rosbags.rosbag1 import Reader
        except ImportError:
            raise self._wrong(
                "the package rosbags, which reads ROS bags", "none", "Install it: pip install 'spikeloom[rosbag]'"
            ) from None
        try:
            with Reader(self.path) as reader:
                topics = [c for c in reader.connections if c.msgtype in _TYPES]
                self._check_topics(sorted({c.topic for c in topics}), sorted({c.msgtype for c in reader.connections}))
                wanted = self.options.topic
                chosen = [c for c in topics if wanted is None or c.topic.strip("/") == wanted.strip("/")]
                others = sum(c.msgcount for c in reader.connections) - sum(c.msgcount for c in chosen)
                self.note("messages_of_other_topics_not_read", others)
                for _, _, content in reader.messages(chosen):
                    yield self._message(content)
        except RecordingError:
            raise
        except Exception as error:  # rosbags raises errors of many kinds for damaged files
            reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
            hint = "Copy it again, or repair it with rosbag reindex"
            raise self._wrong("a ROS bag", f"a damaged one ({reason})", hint) from None

    def _check_topics(self, topics: list[str], types: list[str]) -> None:
        wanted = self.options.topic
        if topics and wanted is not None and wanted.strip("/") not in [topic.strip("/") for topic in topics]:
            raise self._wrong(
                f"events in the topic {wanted[:80]}", f"them in {', '.join(topics[:8])}", "Give one of these"
            )
        if len(topics) > 1 and wanted is None:
            found = f"{len(topics)}: {', '.join(topics[:8])}"
            raise self._wrong("one topic of events", found, f"Choose one: --topic {topics[0]}")
        if not topics:
            hint = "Leave it out, or extract its events with the package that defines these messages"
            found = f"only {', '.join(types[:8])}" if types else "an empty bag"
            raise self._wrong(f"messages of {_TYPES[0]}", found, hint if types else "Leave it out")

    def _message(self, content: bytes) -> tuple[int, int, NDArray[Any]]:
        start = 16 + int.from_bytes(content[12:16], "little")
        height, width, count = (int.from_bytes(content[k : k + 4], "little") for k in (start, start + 4, start + 8))
        if len(content) != start + 12 + count * _EVENT.itemsize:
            found = f"{len(content)} bytes for {count} events"
            raise self._wrong("messages of 13 bytes per event", found)
        if 0 in (height, width) and min(self.height, self.width) > 0:
            # Some drivers do not fill it in.
            height, width = self.height, self.width
        if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
            found, hint = f"{height}x{width} pixels (rows x columns)", "Give it: --sensor-size ROWS COLUMNS"
            raise self._wrong("the size of the sensor in each message", found, hint)
        return height, width, np.frombuffer(content, _EVENT, count, start + 12)

    def _wrong(self, expected: str, found: str, hint: str = "The file is damaged; copy it again") -> RecordingError:
        return RecordingError(f"{self.path}: expected {expected}, found {found}. {hint}.")
