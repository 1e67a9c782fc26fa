"""Events out of order are counted in every cache; sorted by time, each event lies in one frame."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from reference import binning as reference
from test_binning import SPLITS, TONIC, binnings, events, span_of
from tiny_layout import TinyLayout, random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_events, bin_ranges, measure_sample
from preprocess.binning.frame_ranges import count_coverage
from preprocess.building.build_event_store import build_event_store, ensure_every_frames
from preprocess.building.event_order import count_backwards, sort_chunks
from preprocess.cli import COMMANDS
from preprocess.events import Events
from preprocess.inspection.verify import verify_cache
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames
from preprocess.store.frame_lengths import Steps
from preprocess.store.sealed_cache_file import seal
from preprocess.terminal.command_line import run_main

RULES = (*SPLITS, "duration", *TONIC)
ONE_OF_EACH_RULE = [
    Binning(4),
    Binning(4, "time"),
    Binning(split_by="duration", duration_us=9000),
    Binning(split_by="time_window", duration_us=9000, overlap=1000),
    Binning(split_by="event_count", event_count=70),
    Binning(7, "n_time_bins"),
    Binning(7, "n_event_bins"),
    Binning(3, "fixed_window", duration_us=5000, start_us=70),
]


def strays(count: int = 9) -> list[Events]:
    """Samples of which every third has some events far from their place, and one an event before its first."""
    samples = [random_events(i, 200) for i in range(count)]
    for sample in samples[::3]:
        sample.t[[20, 60, 150]] = sample.t[[150, 199, 0]]
    # Between two frames by time, and in neither.
    t = samples[1].t
    t[np.searchsorted(t, t[0] + (t[-1] - t[0]) // 4)] = t[0] - 1
    return samples


def build(folder: Path, samples: list[Events], **options: object) -> tuple[Path, TinyLayout]:
    layout = tiny_layout(folder / "src", samples, **options)
    return build_event_store(layout, folder / "cache"), layout


def backwards_of(samples: list[Events]) -> list[int]:
    return [sum(int(b) < int(a) for a, b in zip(s.t[:-1], s.t[1:], strict=True)) for s in samples]


@hypothesis.given(st.data(), events(ordered=False))
def test_events_in_no_frame_and_in_several_equal_the_plain_twin(data: st.DataObject, sample: Events):
    binning = data.draw(binnings(RULES, span_of(sample)))
    l, r = bin_ranges(sample.t, binning)
    frames_of_event = [sum(a <= k < b for a, b in zip(l, r, strict=True)) for k in range(len(sample))]
    expected = (len(l), frames_of_event.count(0), sum(n > 1 for n in frames_of_event))
    assert measure_sample(len(sample), sample.t, binning) == expected
    assert bin_events(sample, binning).sum() == sum(frames_of_event)


def test_events_of_ranges_that_overlap_and_leave_a_gap_are_counted():
    l, r = np.array([0, 2, 2, 6]), np.array([4, 3, 1, 8])
    # Event 2 is in two ranges, events 4, 5 and 8 are in none; a range that ends before it begins is empty.
    assert count_coverage(9, l, r) == (3, 1)
    assert count_coverage(9, np.array([0, 4]), np.array([4, 8])) == (1, 0)


@hypothesis.given(st.data(), events(ordered=False), st.integers(1, 9))
def test_sorting_keeps_every_event_by_every_rule(data: st.DataObject, sample: Events, chunk: int):
    binning = replace(data.draw(binnings(RULES, span_of(sample))), overlap=0)
    chunks, moved = sort_chunks(sample[k : k + chunk] for k in range(0, len(sample), chunk))
    ordered = Events.concatenate(chunks, sample.height, sample.width)
    stable = sample[np.argsort(sample.t, kind="stable")]
    assert all(np.array_equal(getattr(ordered, name), getattr(stable, name)) for name in "txyp")
    assert moved == backwards_of([sample])[0]
    _, dropped, repeated = measure_sample(len(ordered), ordered.t, binning)
    assert repeated == 0 and (binning.drops or dropped == 0)
    assert bin_events(ordered, binning).sum() == len(sample) - dropped


@pytest.mark.parametrize("binning", ONE_OF_EACH_RULE, ids=lambda binning: binning.split_by)
def test_sorted_caches_hold_every_event_by_every_rule(tmp_path: Path, binning: Binning):
    samples = strays()
    path, _ = build(tmp_path, samples, sort=True)
    store = open_events(path)
    (frames,) = map(open_frames, ensure_every_frames(tmp_path / "cache", "tiny", [binning]))
    for i, sample in enumerate(samples):
        ordered = sample[np.argsort(sample.t, kind="stable")]
        np.testing.assert_array_equal(store.read(i).t, ordered.t)
        np.testing.assert_array_equal(store.read(i).x, ordered.x)
        np.testing.assert_array_equal(frames.read(i)[: frames.lengths[i]], reference.bin_events(ordered, binning))
        if not binning.overlap:
            assert frames.read(i).sum() + frames.dropped[i] == len(sample)
        if not binning.drops:
            assert frames.dropped[i] == frames.repeated[i] == 0
    assert not any(result.errors for result in verify_cache(tmp_path / "cache"))


def test_sorting_is_part_of_the_fingerprint_and_of_the_attributes(tmp_path: Path):
    path, layout = build(tmp_path, strays(), chunk=64)
    plain = open_events(path)
    assert not plain.is_sorted
    build_event_store(replace(layout, sort=True, decoder="npy 1, sorted by time"), tmp_path / "cache")
    ordered = open_events(path)
    assert ordered.is_sorted and ordered.fingerprint != plain.fingerprint
    with h5py.File(path) as file:
        assert file.attrs["sorted"]
    moved = sum(backwards_of(strays()))
    assert json.loads(ordered.attributes["notes"])["events_put_in_order"] == moved
    assert ordered.out_of_order == {"samples": 0, "events": 0}


def test_the_decoder_of_a_sorted_layout_is_another(tmp_path: Path):
    from preprocess.datasets.layout import Layout

    layout = Layout("mine", "folder", "aedat2", 8, 10, ("box",), ())
    assert replace(layout, sort=True).decoder == f"{layout.decoder}, sorted by time"


@pytest.mark.parametrize("chunk", [7, 128])
def test_a_store_counts_events_out_of_order(tmp_path: Path, chunk: int):
    samples = strays()
    store = open_events(build(tmp_path, samples, chunk=chunk)[0])
    assert store.backwards.tolist() == backwards_of(samples)
    assert [count_backwards(s.t) for s in samples] == backwards_of(samples)


def test_frames_by_time_count_what_they_lose_and_repeat_and_verify_says_it(tmp_path: Path, capsys):
    samples = strays()
    build(tmp_path, samples)
    binning = Binning(4, "time")
    (path,) = ensure_every_frames(tmp_path / "cache", "tiny", [binning])
    frames = open_frames(path)
    measured = [measure_sample(len(s), s.t, binning) for s in samples]
    assert frames.dropped.tolist() == [dropped for _, dropped, _ in measured]
    assert frames.repeated.tolist() == [repeated for _, _, repeated in measured]
    assert frames.repeated.sum() > 0 and frames.dropped.sum() == 1
    of_store, _, of_frames = verify_cache(tmp_path / "cache")
    assert of_store.out_of_order == (4, sum(backwards_of(samples)))
    assert (of_frames.dropped, of_frames.repeated) == (frames.dropped.sum(), frames.repeated.sum())
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=["verify", str(tmp_path / "cache")]) == 0
    out = capsys.readouterr().out
    assert "events of 4 samples are out of order" in out and "events are in several frames" in out
    assert "1 events are in no frame" in out
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=["verify", str(tmp_path / "cache"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files[0]["out_of_order"] == {"samples": 4, "events": sum(backwards_of(samples))}
    assert files[2]["repeated"] == frames.repeated.sum()


def test_a_count_that_was_tampered_with_is_refused(tmp_path: Path):
    from preprocess.errors import CacheError

    path, _ = build(tmp_path, strays())
    with h5py.File(path, "r+") as file:
        file["samples/backwards"][0] += 1
    with pytest.raises(CacheError, match=r"/samples/backwards does not match its seal"):
        open_events(path)


def forget_counts(path: Path) -> None:
    """Make a cache as versions wrote it that did not count the order."""
    from preprocess.store.event_store import EventStore
    from preprocess.store.frame_cache import FrameCache

    kind = EventStore if path.name == "events.h5" else FrameCache
    there = kind(path)
    later = {"backwards_sha256", "sorted", "read_with", "coverage_sha256", "table_sha256"}
    attributes = {name: value for name, value in there.attributes.items() if name not in later}
    if isinstance(there, FrameCache) and not there.binning.drops:
        zeros = np.zeros_like(there.dropped)
        attributes["steps_sha256"] = Steps(there.lengths, zeros, zeros).seals(there.binning)["steps_sha256"]
    with h5py.File(path, "r+") as file:
        for name in list(file.attrs):
            del file.attrs[name]
        for name in ("backwards", "repeated", *(["dropped"] if kind is FrameCache and not there.binning.drops else [])):
            if name in file["samples"]:
                del file["samples"][name]
        table = there.samples
        del file["samples"]
        seal(file, table, attributes)
        if kind is FrameCache and there.binning.drops:
            file["samples/dropped"] = there.dropped


def test_caches_of_versions_that_did_not_count_open_and_stay(tmp_path: Path, monkeypatch, capsys):
    import preprocess.datasets

    path, layout = build(tmp_path, strays(), name="n-mnist")
    binnings_ = [Binning(4, "time"), Binning(4, "n_event_bins")]
    caches = ensure_every_frames(tmp_path / "cache", "n-mnist", binnings_)
    expected = open_frames(caches[0]).read_batch(range(9))
    for cache in (path, *caches):
        forget_counts(cache)
    before = [cache.stat().st_mtime_ns for cache in (path, *caches)]
    monkeypatch.setattr(preprocess.datasets, "find_layout", lambda *_, **__: layout)
    words = ["preprocess", "n-mnist", "--source", str(tmp_path / "src"), "--cache", str(tmp_path / "cache")]
    words += ["--timesteps", "4", "--split-by", "time"]
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=words) == 0
    out = capsys.readouterr().out
    assert (
        "Events out of order were not counted when this event store was made; count them with spikeloom verify." in out
    )
    assert "events in several frames were not counted when it was made; count them with spikeloom verify." in out
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=[*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["out_of_order"] is None and answer["frames"][0]["events_in_several_frames"] is None
    assert before == [cache.stat().st_mtime_ns for cache in (path, *caches)]
    assert open_events(path).backwards is None and open_frames(caches[0]).repeated is None
    np.testing.assert_array_equal(open_frames(caches[0]).read_batch(range(9)), expected)
    assert open_frames(caches[1]).dropped.tolist() == [0] * 9
    results = verify_cache(tmp_path / "cache")
    assert not any(result.errors for result in results)
    assert results[0].out_of_order[0] == 4 and max(result.repeated for result in results) > 0
