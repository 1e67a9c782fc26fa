"""ROS 1 bags of dvs_msgs: the events are those that rosbags reads by the definition of the messages."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mutated_files import decoded_or_refused
from rosbags.rosbag1 import Reader, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from benchmarks.event_bags import DEFINITION, message, write_bag
from preprocess.commands import inspect_recording
from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, ReadOptions, open_recording, rosbag1

N = 500
SIZE = (180, 240)
START_US = 1_500_000_000_000_000
_rng = np.random.default_rng(13)
TRUE = {
    "t": START_US + np.sort(_rng.integers(0, 400_000, N)),
    "x": _rng.integers(0, SIZE[1], N),
    "y": _rng.integers(0, SIZE[0], N),
    "p": _rng.integers(0, 2, N),
}


def messages(topic: str = "/dvs/events", ns: int = 0) -> list[tuple[str, bytes]]:
    """The events in messages of different lengths, one of them empty."""
    cuts = [0, 10, 10, 200, 201, N]
    pieces = [[column[a:b] for column in TRUE.values()] for a, b in itertools.pairwise(cuts)]
    return [(topic, message(*piece, *SIZE, ns)) for piece in pieces]


def decode(path: Path) -> Events:
    opened = open_recording(path)
    assert (opened.format, opened.height, opened.width) == ("ROS 1 bag", *SIZE)
    return Events.concatenate(opened.chunks(), *SIZE)


@pytest.mark.parametrize("compression", [None, Writer.CompressionFormat.BZ2, Writer.CompressionFormat.LZ4])
@pytest.mark.parametrize("chunk", [1, 1 << 17])
def test_events_are_those_of_the_definition_of_the_messages(
    tmp_path: Path, compression: Writer.CompressionFormat | None, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rosbag1, "_EVENTS_A_CHUNK", chunk)
    path = tmp_path / "a.bag"
    write_bag(path, messages(), compression=compression)
    events = decode(path)
    for letter, values in TRUE.items():
        np.testing.assert_array_equal(getattr(events, letter), values)
    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg(DEFINITION, "dvs_msgs/msg/EventArray"))
    with Reader(path) as reader:
        read = (types.deserialize_ros1(content, connection.msgtype) for connection, _, content in reader.messages())
        theirs = [(e.ts.sec, e.ts.nanosec // 1000, e.x, e.y, e.polarity) for found in read for e in found.events]
    ours = zip(events.t // 1_000_000, events.t % 1_000_000, events.x, events.y, events.p == 1, strict=True)
    assert list(ours) == theirs


def test_one_of_several_cameras_is_chosen_and_other_messages_are_counted(tmp_path: Path, capsys):
    path = tmp_path / "a.bag"
    write_bag(path, messages("/dvs/left/events") + [("/dvs/right/events", message(*ONE, *SIZE))] * 3)
    events = {}
    for topic, others in (("/dvs/left/events", 3), ("dvs/right/events/", 5)):
        opened = open_recording(path, options=ReadOptions(topic=topic))
        events[topic] = Events.concatenate(opened.chunks(), *SIZE)
        assert opened.notes == {"messages_of_other_topics_not_read": others}
    np.testing.assert_array_equal(events["/dvs/left/events"].t, TRUE["t"])
    assert events["dvs/right/events/"].t.tolist() == [5, 5, 5]
    inspect_recording.run([str(path), "--topic", "/dvs/right/events"])
    assert "messages of other topics not read: 5" in capsys.readouterr().out.replace("_", " ")
    with pytest.raises(RecordingError, match=r"in the topic /imu, found them in /dvs/left/events, /dvs/right/events\."):
        open_recording(path, options=ReadOptions(topic="/imu"))


def test_messages_are_read_in_the_order_of_their_arrival_with_the_times_of_their_events(tmp_path: Path):
    late = [("/e", message(np.array([t]), *ONE[1:], *SIZE)) for t in (9, 3, 7)]
    write_bag(tmp_path / "a.bag", late)
    assert decode(tmp_path / "a.bag").t.tolist() == [9, 3, 7]


def test_a_driver_that_does_not_fill_in_the_size_needs_it(tmp_path: Path):
    write_bag(tmp_path / "a.bag", [("/e", message(*ONE, 0, 0))] * 2)
    opened = open_recording(tmp_path / "a.bag", size=(48, 64))
    assert (opened.height, opened.width) == (48, 64) and sum(len(chunk) for chunk in opened.chunks()) == 2


ONE = [np.array([5]), np.array([1]), np.array([2]), np.array([1])]


def test_nanoseconds_are_rounded_and_prophesees_messages_are_read(tmp_path: Path):
    write_bag(tmp_path / "a.bag", messages(ns=500), "prophesee_event_msgs/msg/EventArray")
    np.testing.assert_array_equal(decode(tmp_path / "a.bag").t, TRUE["t"] + 1)


@pytest.mark.parametrize(
    ("content", "kind", "error"),
    [
        (
            messages("/left") + messages("/right"),
            "",
            "expected one topic of events, found 2: /left, /right. Choose one: --topic /left.",
        ),
        (
            messages(),
            "sensor_msgs/msg/Imu",
            "messages of dvs_msgs/msg/EventArray, found only sensor_msgs/msg/Imu.",
        ),
        (
            [("/e", messages()[0][1][:-3])],
            "",
            "messages of 13 bytes per event, found 158 bytes for 10 events.",
        ),
        (
            [("/e", message(*ONE, 0, 9))],
            "",
            "expected the size of the sensor in each message, found 0x9 pixels (rows x columns). Give it: --",
        ),
        (
            [*messages("/e"), ("/e", message(*ONE, 9, 9))],
            "",
            "180x240 pixels (rows x columns), found one of 9x9 in message 5.",
        ),
        ([("/e", message(*ONE, 9, 1))], "", "found row 2, column 1 in event 0 of message 0."),
        ([("/e", message(*ONE[:3], np.array([3]), 9, 9))], "", "expected polarities 0 and 1, found 3 in message 0."),
        ([], "", "expected messages of dvs_msgs/msg/EventArray, found an empty bag. Leave it out."),
    ],
)
def test_other_bags_are_refused_in_one_line(tmp_path: Path, content: list[tuple[str, bytes]], kind: str, error: str):
    path = tmp_path / "a.bag"
    write_bag(path, content, kind or "dvs_msgs/msg/EventArray")
    with pytest.raises(RecordingError) as refused:
        list(open_recording(path).chunks())
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: expected ") and error in line and "\n" not in line


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_bag(tmp_path / "a.bag", messages())
    monkeypatch.setitem(sys.modules, "rosbags.rosbag1", None)
    with pytest.raises(RecordingError, match=r"ROS bags, found none\. Install it: pip install 'spikeloom\[ros"):
        inspect_recording.run([str(tmp_path / "a.bag")])


def test_mutated_bags_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    contents = []
    for compression in (None, Writer.CompressionFormat.LZ4):
        write_bag(tmp_path / "base.bag", messages(), compression=compression)
        contents.append(("a.bag", (tmp_path / "base.bag").read_bytes(), NO_OPTIONS))
    decoded_or_refused(tmp_path, contents, SIZE, share_of(5000))


@pytest.mark.parametrize(
    ("content", "title", "reader"),
    [
        (b"#!AER-DAT1.0\r\n", "AEDAT 1.0", "jAER"),
        (b"SQLite format 3\0", "a ROS 2 bag (SQLite)", "rosbags-convert"),
        (b"% evt 4.0\n", "Prophesee EVT 4.0", "metavision_file_to_hdf5"),
        (b"\x28\xb5\x2f\xfd", "a file compressed with Zstandard", "zstd -d"),
    ],
)
def test_formats_that_are_not_read_are_named_with_what_reads_them(
    tmp_path: Path, content: bytes, title: str, reader: str
):
    path = tmp_path / "a.rec"
    path.write_bytes(content)
    with pytest.raises(RecordingError) as refused:
        open_recording(path)
    assert f"found {title}. Convert it with " in str(refused.value) and reader in str(refused.value)
