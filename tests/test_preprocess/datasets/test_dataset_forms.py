"""The forms in which others leave data sets on a disk give the samples that the original recordings give."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from test_datasets import OBJECTS, refusals, samples_of

from preprocess.building.build_event_store import build_event_store
from preprocess.datasets import find_layout
from preprocess.errors import RecordingError
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN


def save_npz(path: Path, t=(5, 6), x=(1, 127), y=(2, 3), p=(0, 1)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, t=np.array(t), x=np.array(x), y=np.array(y), p=np.array(p))


def save_tonic(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(rows, np.float64))


def build(layout, cache: Path) -> EventStore:
    return open_events(build_event_store(layout, cache))


@pytest.fixture
def gestures_np(tmp_path: Path) -> Path:
    folder = tmp_path / "DVS128Gesture" / "events_np"
    for name in ("train/10/user02_lab_0", "train/0/user01_led_1", "train/0/user01_led_0", "test/0/user24_natural_0"):
        save_npz(folder / f"{name}.npz")
    # SpikingJelly's frames lie beside its events, in folders that look the same.
    frames = tmp_path / "DVS128Gesture" / "frames_number_10_split_by_number" / "train" / "0"
    frames.mkdir(parents=True)
    (frames.parents[1] / "test").mkdir()
    np.savez(frames / "user01_led_0.npz", frames=np.zeros((1, 2, 4, 4)))
    return folder


def test_spikingjellys_gestures_have_user_and_light_from_their_names(gestures_np: Path):
    said: list[str] = []
    layout = find_layout("dvs-gesture", gestures_np.parent, notify=said.append)
    assert said == [f"{gestures_np}: SpikingJelly's events_np (.npz)"]
    assert (layout.name, layout.format, layout.form) == ("dvs-gesture", "npz", "SpikingJelly's events_np (.npz)")
    assert samples_of(layout) == [
        ("user01_led/hand_clapping_0", 0, TRAIN, 0, "user01"),
        ("user01_led/hand_clapping_1", 0, TRAIN, 1, "user01"),
        ("user02_lab/other_gestures_0", 10, TRAIN, 0, "user02"),
        ("user24_natural/hand_clapping_0", 0, TEST, 0, "user24"),
    ]


def test_faults_of_spikingjellys_gestures(gestures_np: Path):
    save_npz(gestures_np / "train" / "0" / "mine.npz")
    (gestures_np / "train" / "11").mkdir()
    mine, eleven = refusals("dvs-gesture", gestures_np)
    assert mine.endswith("mine.npz: expected userNN_LIGHT_NUMBER.npz, found another name. Move the file elsewhere.")
    assert eleven.endswith("11: expected folders named 0 to 10, found '11'. Move it elsewhere.")


@pytest.mark.slow
@pytest.mark.real
def test_spikingjellys_own_cut_of_real_gestures_gives_the_events_of_the_recording(real_data: Path, tmp_path: Path):
    from spikingjelly.datasets.dvs128_gesture import _split_aedat_files_to_np

    raw = find_layout("dvs-gesture", real_data / "dvs-gesture-clips")
    store = build(raw, tmp_path / "raw")
    for label in range(11):
        for part in ("train", "test"):
            (tmp_path / "events_np" / part / str(label)).mkdir(parents=True)
    recording = raw.recordings[0]
    labels = recording.path.with_name("user01_natural_labels.csv")
    _split_aedat_files_to_np("user01_natural", recording.path, labels, tmp_path / "events_np" / "train")
    save_npz(tmp_path / "events_np" / "test" / "0" / "user24_led_0.npz")
    cut = build(find_layout("dvs-gesture", tmp_path), tmp_path / "cut")
    assert len(cut) == len(store) + 1
    by_name = {str(name): i for i, name in enumerate(cut.samples.name)}
    for i, name in enumerate(store.samples.name):
        ours, theirs = store.read(i), cut.read(by_name[str(name)])
        for column in "txyp":
            np.testing.assert_array_equal(getattr(ours, column), getattr(theirs, column))


def test_tonics_gestures_equal_tonics_reader(tmp_path: Path):
    from numpy.lib.recfunctions import unstructured_to_structured
    from tonic.datasets import DVSGesture

    rng = np.random.default_rng(3)
    names = ("Train/user01_led/0", "Train/user01_led/10", "Train/user02_fluorescent_led/3", "Test/user24_lab/0")
    for name in names:
        rows = np.stack([*rng.integers(0, 128, (2, 99)), rng.integers(0, 2, 99), np.sort(rng.random(99) * 4e3)], axis=1)
        save_tonic(tmp_path / "DVSGesture" / f"ibmGesture{name}.npy", rows)
    layout = find_layout("dvs-gesture", tmp_path)
    assert (layout.name, layout.dataset) == ("dvs-gesture-tonic", "dvs-gesture")
    assert samples_of(layout) == [
        ("user01_led/hand_clapping_0", 0, TRAIN, 0, "user01"),
        ("user01_led/other_gestures_0", 10, TRAIN, 0, "user01"),
        ("user02_fluorescent_led/right_arm_clockwise_0", 3, TRAIN, 0, "user02"),
        ("user24_lab/hand_clapping_0", 0, TEST, 0, "user24"),
    ]
    store = build(layout, tmp_path / "cache")
    for i, recording in enumerate(layout.recordings):
        # What DVSGesture.__getitem__ does; its constructor wants all of its 1,077 files.
        rows = np.load(recording.path)
        rows[:, 3] *= 1000
        reference = unstructured_to_structured(rows, DVSGesture.dtype)
        for column in "txyp":
            np.testing.assert_array_equal(getattr(store.read(i), column), reference[column])


def test_faults_of_tonics_gestures(tmp_path: Path):
    save_tonic(tmp_path / "ibmGestureTrain" / "user01_led" / "11.npy", [[0, 0, 0, 0]])
    save_tonic(tmp_path / "ibmGestureTrain" / "else" / "0.npy", [[0, 0, 0, 0]])
    (tmp_path / "ibmGestureTest").mkdir()
    odd, eleven = refusals("dvs-gesture", tmp_path)
    assert odd.endswith("else: expected folders named userNN_LIGHT, found another name. Move it elsewhere.")
    assert eleven.endswith("11.npy: expected a class, 0.npy to 10.npy, found another name. Move the file elsewhere.")


@pytest.mark.real
def test_spikingjellys_cifar10_dvs_equals_the_recordings(real_data: Path, tmp_path: Path):
    from spikingjelly.datasets.cifar10_dvs import CIFAR10DVS

    source = real_data / "readers" / "mnist-dvs_0_scale04_0001.aedat"
    for name in OBJECTS:
        (tmp_path / "extract" / name).mkdir(parents=True)
        (tmp_path / "extract" / name / f"cifar10_{name}_7.aedat").write_bytes(source.read_bytes())
    (tmp_path / "events_np").mkdir()
    CIFAR10DVS.create_raw_from_extracted(tmp_path / "extract", tmp_path / "events_np")
    raw = build(find_layout("cifar10-dvs", tmp_path), tmp_path / "cache")
    layout = find_layout("cifar10-dvs", tmp_path / "events_np")
    assert (layout.name, layout.format, layout.orientation) == ("cifar10-dvs", "npz", None)
    assert samples_of(layout)[0] == ("cifar10_airplane_7", 0, NO_SPLIT, 7, "airplane_7")
    store = build(layout, tmp_path / "other")
    assert store.samples.crc32.tolist() == raw.samples.crc32.tolist()
    (line,) = refusals("cifar10-dvs", tmp_path / "events_np", orientation="clif")
    assert "expected no --orientation, found clif" in line


@pytest.mark.real
def test_tonics_cifar10_dvs_is_a_data_set_of_its_own(real_data: Path, tmp_path: Path):
    from tonic.io import read_aedat4

    source = real_data / "readers" / "hand-wave-128x128.aedat4"
    for name in OBJECTS:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"cifar10_{name}_0.aedat4").symlink_to(source)
    layout = find_layout("cifar10-dvs", tmp_path)
    assert (layout.name, layout.format) == ("cifar10-dvs-tonic", "aedat4")
    layout = layout.__class__(**{**vars(layout), "recordings": layout.recordings[:1]})
    events, reference = build(layout, tmp_path / "cache").read(0), read_aedat4(source)
    for column, name in zip("txyp", ("t", "x", "y", "on"), strict=True):
        np.testing.assert_array_equal(getattr(events, column), reference[name])


def test_an_event_outside_of_the_sensor_names_file_and_event(gestures_np: Path, tmp_path: Path):
    save_npz(gestures_np / "test" / "0" / "user24_natural_0.npz", x=(3, 128))
    message = "user24_natural_0.npz: expected a pixel within 128x128 (rows x columns), found row 3, column 128 in event"
    with pytest.raises(RecordingError, match=re.escape(message)):
        build(find_layout("dvs-gesture", gestures_np), tmp_path / "cache")
