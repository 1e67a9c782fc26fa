"""One's own recordings: class folders, split folders and manifests, whole, in intervals or cut into windows."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from raw_files import Packet, aedat2, aedat31, polarity_payload
from test_datasets import samples_of

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.building.windows import WindowCutter
from preprocess.commands.preprocess import run
from preprocess.datasets import Layout, Sample, find_layout
from preprocess.datasets.layout import Windows
from preprocess.datasets.splits import split_samples
from preprocess.errors import LayoutError, RecordingError
from preprocess.inspection.verify import verify_cache
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN


def save(path: Path, times, *, old: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if old:
        path.write_bytes(aedat2([(3, t) for t in times]))
    else:
        path.write_bytes(aedat31([Packet(polarity_payload([(t, 3, 4, 1) for t in times]))]))


def find(source: Path, **options) -> Layout:
    return find_layout("folder", source, name="mine", **options)


def build(layout: Layout, cache: Path) -> EventStore:
    return open_events(build_event_store(layout, cache))


def refusals(source: Path, **options) -> list[str]:
    with pytest.raises(LayoutError) as refused:
        find(source, **options)
    return list(refused.value.errors)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    save(folder / "mug" / "b.aedat", range(0, 100, 10))
    save(folder / "box" / "a.aedat", range(1000, 1100, 10), old=False)
    save(folder / "mug" / "a.aedat", range(0, 50, 10))
    (folder / "mug" / "notes.txt").write_text("left out")
    return folder


def test_class_folders_of_mixed_formats(source: Path, tmp_path: Path):
    layout = find(source)
    assert (layout.name, layout.dataset, layout.format, layout.classes) == ("mine", "folder", None, ("box", "mug"))
    assert (layout.height, layout.width) == (128, 128)
    assert samples_of(layout) == [
        ("box/a", 0, NO_SPLIT, 0, "box/a"),
        ("mug/a", 1, NO_SPLIT, 0, "mug/a"),
        ("mug/b", 1, NO_SPLIT, 1, "mug/b"),
    ]
    assert build(layout, tmp_path / "cache").samples.events.tolist() == [10, 5, 10]


def test_split_folders_have_an_official_split(source: Path, tmp_path: Path):
    (tmp_path / "split").mkdir()
    source.rename(tmp_path / "split" / "Train")
    save(tmp_path / "split" / "test" / "box" / "a.aedat", [5])
    layout = find(tmp_path / "split")
    assert [s[:3] for s in samples_of(layout)] == [
        ("Train/box/a", 0, TRAIN),
        ("Train/mug/a", 1, TRAIN),
        ("Train/mug/b", 1, TRAIN),
        ("test/box/a", 0, TEST),
    ]
    (tmp_path / "split" / "spare").mkdir()
    (line,) = refusals(tmp_path / "split")
    assert line.endswith("spare: expected the folders train and test only, found 'spare'. Move it elsewhere.")


def test_a_manifest_names_intervals_groups_and_splits(source: Path, tmp_path: Path):
    rows = "path,label,split,group,start_us,end_us\nmug/b.aedat,10,train,anna,20,60\n\nmug/b.aedat,9,train,anna,,20\n"
    (source / "manifest.csv").write_text(rows + "box/a.aedat,10,test,bert,1050,\n")
    layout = find(source)
    assert layout.classes == ("9", "10") and len(layout.recordings) == 2
    assert samples_of(layout) == [
        ("mug/b/20-60us", 1, TRAIN, 0, "anna"),
        ("mug/b/-20us", 0, TRAIN, 0, "anna"),
        ("box/a/1050-us", 1, TEST, 0, "bert"),
    ]
    store = build(layout, tmp_path / "cache")
    assert [store.read(i).t.tolist() for i in range(3)] == [[20, 30, 40, 50], [0, 10], [1050, 1060, 1070, 1080, 1090]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../a.aedat,x,,,,", "line 2: expected a path below the folder of the manifest, found '../a.aedat'. Correct"),
        ("none.aedat,x,,,,", "line 2: expected a recording, found no such file: none.aedat. Correct the line."),
        ("mug/a.aedat,,,,,", "line 2: expected a label, found none. Correct the line."),
        ("mug/a.aedat,x,half,,,", "line 2: expected train, test or nothing as split, found 'half'. Correct the line."),
        ("mug/a.aedat,x,,,1.5,", "line 2: expected a whole number of µs as start_us, found '1.5'. Correct the line."),
        (
            "mug/a.aedat,x,,,9,9",
            "line 2: expected an interval with its end after its start, found [9, 9). Correct the line.",
        ),
        ("mug/a.aedat,x", "line 2: expected 6 fields, found 2. Correct the line."),
        ("mug/a.aedat,x,,,,\nmug/a.aedat,x,,,,", "expected every sample once, found 'mug/a' 2 times. Keep one."),
        ("mug/a.aedat,x,test,,,\nmug/b.aedat,x,,,,", "expected a split in every line or in none, found both."),
        ("mug/a.aedat,x,test,g,,\nmug/b.aedat,x,train,g,,", "in one split, found 'g' in train and in test. Move one."),
        ("", "expected at least one recording, found none. Check --source."),
    ],
)
def test_faults_of_a_manifest(source: Path, row: str, message: str):
    (source / "manifest.csv").write_text(f"path,label,split,group,start_us,end_us\n{row}\n")
    (line,) = refusals(source)
    assert message in line
    (source / "manifest.csv").write_text("path,class\n")
    (line,) = refusals(source)
    assert "line 1: expected the columns path and label, and any of split, group, start_us, end_us, found" in line


def test_the_sensor_is_the_first_recordings_and_others_are_refused(tmp_path: Path):
    for name, size in (("a", "64x48"), ("b", "64x50")):
        (tmp_path / "mine" / "box").mkdir(parents=True, exist_ok=True)
        header = f"% evt 2.0\n% geometry {size}\n".encode()
        (tmp_path / "mine" / "box" / f"{name}.raw").write_bytes(header + (1 << 28).to_bytes(4, "little"))
    layout = find(tmp_path / "mine")
    assert (layout.height, layout.width) == (48, 64)
    with pytest.raises(RecordingError, match=r"b\.raw: expected a sensor of 48x64 .*, found 50x64"):
        build(layout, tmp_path / "cache")


def test_arrays_need_the_size_of_the_sensor(tmp_path: Path):
    (tmp_path / "mine" / "box").mkdir(parents=True)
    np.savez(tmp_path / "mine" / "box" / "a.npz", t=[1, 2], x=[3, 299], y=[4, 199], p=[0, 1])
    (line,) = refusals(tmp_path / "mine")
    assert line.endswith("found none. Give it: --sensor-size ROWS COLUMNS")
    store = build(find(tmp_path / "mine", size=(200, 300)), tmp_path / "cache")
    assert (store.height, store.width, store.read(0).x.tolist()) == (200, 300, [3, 299])


@pytest.mark.parametrize(("window_us", "stride_us"), [(100, 100), (100, 30), (30, 100)])
@pytest.mark.parametrize("ordered", [True, False])
def test_windows_hold_what_a_mask_over_the_recording_holds(
    tmp_path: Path, window_us: int, stride_us: int, ordered: bool, monkeypatch: pytest.MonkeyPatch
):
    from preprocess.formats import recording

    monkeypatch.setattr(recording, "BLOCK_BYTES", 512)
    rng = np.random.default_rng(2)
    times = rng.integers(5000, 6000, 400)
    times = np.sort(times) if ordered else np.concatenate([[5000], times])
    # A pause, in which no window has events enough, and a leap that no loop over windows would survive.
    times = np.concatenate([times, times + 3000, [4_000_000_000]])
    save(tmp_path / "mine" / "box" / "a.aedat", times.tolist())
    save(tmp_path / "mine" / "mug" / "b.aedat", [7])
    store = build(find(tmp_path / "mine", windows=Windows(window_us, stride_us, 8)), tmp_path / "cache")
    start = times[0]
    expected = []
    for k in range(5000 // stride_us):
        inside = times[(times >= start + k * stride_us) & (times < start + k * stride_us + window_us)]
        if len(inside) >= 8:
            expected.append((k, inside.tolist()))
    assert [str(name) for name in store.samples.name] == [f"box/a/window_{k}" for k, _ in expected]
    assert [store.read(i).t.tolist() for i in range(len(store))] == [inside for _, inside in expected]
    assert store.samples.index.tolist() == list(range(len(expected)))
    assert set(store.samples.group) == {"box/a"}
    bounds = [[start + k * stride_us, start + k * stride_us + window_us] for k, _ in expected]
    assert store.samples.interval_us.tolist() == bounds
    assert json.loads(store.attributes["notes"])["recordings_without_a_window"] == 1
    ensure_frames(tmp_path / "cache", "mine", Binning(2))
    assert not any(result.errors for result in verify_cache(tmp_path / "cache"))


@hypothesis.given(
    st.lists(st.integers(0, 200), min_size=1, max_size=40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sets(st.integers(0, 20)),
    st.sampled_from([(None, None), (10, 150), (None, 90)]),
    st.integers(1, 40),
)
def test_events_in_no_window_are_those_that_no_mask_holds(times, window_us, stride_us, taken, bounds, chunk: int):
    t, (start, end) = np.array(times, np.int64), bounds
    cutter = WindowCutter(Windows(window_us, stride_us), Sample(0, TRAIN, 0, "a", "a", start, end))
    for k in range(0, len(t), chunk):
        cutter.touched(t[k : k + chunk])
    first = times[0] if start is None else start
    inside = t[(t >= (-1 if start is None else start)) & (t < (201 if end is None else end))]
    held = np.zeros(len(inside), bool)
    for k in taken:
        held |= (inside >= first + k * stride_us) & (inside < first + k * stride_us + window_us)
    assert cutter.events_outside(taken) == np.count_nonzero(~held)


@pytest.mark.parametrize("bounds", [(20, 80), (None, None), (20, None)])
def test_a_window_that_ends_with_its_interval_or_with_the_last_event_is_complete(bounds: tuple[int | None, int | None]):
    cutter = WindowCutter(Windows(30, 30), Sample(0, TRAIN, 0, "a", "a", *bounds))
    cutter.touched(np.array([20, 79]))
    assert [cutter.is_complete(k) for k in range(3)] == [True, True, False]


def test_windows_begin_and_end_with_an_interval(source: Path, tmp_path: Path):
    (source / "manifest.csv").write_text("path,label,start_us,end_us\nmug/b.aedat,x,20,85\n")
    store = build(find(source, windows=Windows(30, 30)), tmp_path / "cache")
    assert [store.read(i).t.tolist() for i in range(len(store))] == [[20, 30, 40], [50, 60, 70]]


def test_a_class_without_a_recording_that_is_read_names_what_is_there(tmp_path: Path):
    save(tmp_path / "mug" / "a.aedat", range(0, 100, 10))
    for name in ("box/a.doc", "box/b.doc", "box/notes.txt", "pen/notes.txt", "cup/deeper/a.aedat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "vase").mkdir()
    (tmp_path / "vase" / "a.aedat").symlink_to(tmp_path / "gone.aedat")
    with pytest.raises(LayoutError) as refused:
        find(tmp_path)
    *_, lost = refused.value.errors
    assert lost.endswith("found only 1 links to missing files. Move the folder elsewhere.")
    box, cup, pen, _ = refused.value.errors
    assert "box: expected recordings (.aedat" in box and "found only 2 .doc, 1 .txt without events. Move" in box
    assert cup.endswith("found none. Move the folder elsewhere.")
    assert pen.endswith("found only 1 .txt without events. Move the folder elsewhere.")


def test_no_window_at_all_is_a_fault(source: Path, tmp_path: Path):
    with pytest.raises(RecordingError, match=r"expected windows of 5 µs with 9 or more events, found none in the rec"):
        build(find(source, windows=Windows(5, 5, 9)), tmp_path / "cache")


def test_salvage_keeps_what_is_good_and_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "mine"
    save(folder / "box" / "a.aedat", range(0, 100, 10))
    path = folder / "box" / "a.aedat"
    path.write_bytes(path.read_bytes()[:-36])
    rows = "path,label,start_us,end_us\nbox/a.aedat,x,0,30\nbox/a.aedat,y,30,60\nbox/a.aedat,z,60,90\n"
    (folder / "manifest.csv").write_text(rows)
    words = ["folder", "--source", str(folder), "--cache", str(tmp_path / "cache"), "--name", "mine"]
    with pytest.raises(RecordingError, match=r"found 4 bytes left at byte"):
        run(words)
    run([*words, "--salvage"])
    out = capsys.readouterr().out
    for line in ("samples lost to damage: 1", "recordings salvaged: 1", "bytes lost to damage: 4"):
        assert line in out
    store = open_events(tmp_path / "cache" / "mine" / "events.h5")
    assert [store.read(i).t.tolist() for i in range(len(store))] == [[0, 10, 20], [30, 40]]
    # Without --salvage the store does not pass for one of whole recordings.
    with pytest.raises(RecordingError, match=r"found 4 bytes left at byte"):
        run(words)


@pytest.mark.real
def test_windows_of_real_objects_stay_on_one_side(real_data: Path, tmp_path: Path):
    layout = find(real_data / "dvs128-objects", windows=Windows(100_000, 50_000, 500))
    store = build(layout, tmp_path / "cache")
    assert store.classes == ("box", "knife", "mouse", "mug", "pencil", "phone", "scissors")
    found = split_samples(store.samples, "mine", "split-in-time", 0.2, "last")
    assert set(store.samples.group[found.test]) == set(store.samples.group) and len(found.train) > 2 * len(found.test)
    two = np.isin(store.samples.label, [0, 2])
    samples = store.samples.__class__.of(
        {n: v[two] for n, v in vars(store.samples).items() if n != "offset"} | {"offset": np.arange(two.sum() + 1)}
    )
    found = split_samples(samples, "mine", "by-group", 0.2, "last")
    assert not set(samples.group[found.train]) & set(samples.group[found.test])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder"], "--name: expected a name for the caches of a folder"),
        (["n-mnist", "--window-us", "5"], "--window-us, --sensor-size: expected with folder only"),
        (["folder", "--name", "x", "--stride-us", "5"], "--stride-us, --min-events: expected with --window-us only"),
        (["folder", "--name", "x", "--window-us", "0"], "--window-us: expected at least 1, found 0"),
        (["folder", "--name", "x", "--window-us", "9", "--stride-us", "0"], "--stride-us: expected at least 1, found"),
        (["folder", "--name", "x", "--sensor-size", "0", "5"], "--sensor-size: expected 1 to 32768 rows and columns"),
    ],
)
def test_words_that_do_not_fit_are_told(tmp_path: Path, words: list[str], message: str):
    from preprocess.terminal.command_line import UsageError

    with pytest.raises(UsageError) as refused:
        run([*words, "--source", str(tmp_path)])
    assert any(message in message for message in refused.value.errors)
