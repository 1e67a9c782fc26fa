"""Event stores of earlier versions that read some recordings otherwise: rebuilt with a reason, and all others kept."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from raw_files import Packet, aedat31, polarity_payload
from tiny_builds import Notes

from preprocess.binning.binning_config import Binning
from preprocess.building import build_event_store as building
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.building.source_fingerprint import fingerprint
from preprocess.datasets import find_layout
from preprocess.datasets.layout import Layout
from preprocess.formats import ReadOptions
from preprocess.formats.aedat import aedat31 as reader
from preprocess.inspection.verify import verify_cache
from preprocess.store.event_store import open_events

GOOD = [(t, 3, 4, 1) for t in range(0, 100, 10)]


def recorded(folder: Path, *packets: Packet) -> Layout:
    for name in ("box", "mug"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "a.aedat").write_bytes(aedat31(packets))
    return find_layout("folder", folder, name="mine")


def test_a_store_with_events_marked_invalid_is_built_again_with_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    packets = Packet(polarity_payload(GOOD)), Packet(polarity_payload([(200, 5, 6, 1)], valid=0))
    layout = recorded(tmp_path / "source", *packets)
    with monkeypatch.context() as earlier:
        # The note by which stores of earlier versions, which kept these events, are recognised.
        earlier.setattr(reader, "INVALID_LEFT_OUT", reader.INVALID_KEPT)
        path = building.build_event_store(layout, tmp_path / "cache")
        before = open_events(path).fingerprint
        frames = ensure_frames(tmp_path / "cache", "mine", Binning(2))
    notes = Notes()
    building.build_event_store(layout, tmp_path / "cache", progress=notes)
    assert "events that their recordings mark as invalid, which are left out now; rebuilding it" in str(notes.lines)
    store = open_events(path)
    assert len(store.read(0)) == len(GOOD) and store.fingerprint != before
    assert json.loads(store.attributes["notes"]) == {reader.INVALID_LEFT_OUT: 2}
    made = frames.stat().st_mtime_ns
    assert ensure_frames(tmp_path / "cache", "mine", Binning(2)).stat().st_mtime_ns != made, "frames of other events"
    assert [error for found in verify_cache(tmp_path / "cache") for error in found.errors] == []


def test_a_store_without_such_events_keeps_its_fingerprint(tmp_path: Path):
    layout = recorded(tmp_path / "source", Packet(polarity_payload(GOOD)))
    path = building.build_event_store(layout, tmp_path / "cache")
    with h5py.File(path) as file:
        sources = building.source_fingerprint.read_sources(file["sources"])
    store = open_events(path)
    assert store.fingerprint == fingerprint(store.attributes["layout_digest"], sources)


@pytest.mark.parametrize(("place", "changed"), [("/events/", True), ("davis/left", True), ("recording", False)])
def test_stores_read_by_a_path_before_its_layout_counted_are_not_up_to_date(place: str, changed: bool):
    earlier = f"hdf5 path {place}"
    assert (str(ReadOptions(hdf5_path=place)) != earlier) == changed


def test_a_dsec_store_by_path_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("box", "mug"):
        (tmp_path / "source" / name).mkdir(parents=True)
        with h5py.File(tmp_path / "source" / name / "events.h5", "w") as file:
            for letter in "txyp":
                file[f"events/{letter}"] = np.arange(2)
            file["t_offset"] = np.int64(5_000_000)
    layout = find_layout("folder", tmp_path / "source", name="mine", options=ReadOptions(hdf5_path="events"))
    with monkeypatch.context() as earlier:
        earlier.setattr("preprocess.formats.read_options.LAYOUT_PLACES", ())
        path = building.build_event_store(layout, tmp_path / "cache")
    assert building.find_stale(path, layout) == "the options, the labels, the splits or the decoder changed"
    building.build_event_store(layout, tmp_path / "cache")
    assert building.find_stale(path, layout) is None and open_events(path).read(0).t[0] == 5_000_000
