"""Write ROS 1 bags of dvs_msgs, byte by byte of the message's definition."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rosbags.rosbag1 import Writer

DEFINITION = """std_msgs/Header header
uint32 height
uint32 width
dvs_msgs/Event[] events
================================================================================
MSG: std_msgs/Header
uint32 seq
time stamp
string frame_id
================================================================================
MSG: dvs_msgs/Event
uint16 x
uint16 y
time ts
bool polarity
"""


def message(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, height: int, width: int, ns: int = 0) -> bytes:
    """A message of events; `ns` is added to every time."""
    rows = np.zeros(len(t), [("x", "<u2"), ("y", "<u2"), ("s", "<u4"), ("ns", "<u4"), ("p", "u1")])
    rows["x"], rows["y"], rows["p"] = x, y, p
    rows["s"], rows["ns"] = t // 1_000_000, t % 1_000_000 * 1000 + ns
    head = struct.pack("<III", 7, 0, 0) + struct.pack("<I", 3) + b"dvs" + struct.pack("<III", height, width, len(t))
    return head + rows.tobytes()


def write_bag(
    path: Path,
    messages: Sequence[tuple[str, bytes]],
    kind: str = "dvs_msgs/msg/EventArray",
    compression: Writer.CompressionFormat | None = None,
) -> None:
    """Write messages, given with their topics."""
    path.unlink(missing_ok=True)
    writer = Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        connections = {
            topic: writer.add_connection(topic, kind, msgdef=DEFINITION, md5sum="5e8beee5a6c107e504c2e78903c224b8")
            for topic in dict.fromkeys(topic for topic, _ in messages)
        }
        for k, (topic, content) in enumerate(messages):
            writer.write(connections[topic], k, content)
