"""Folders become labelled samples with their official splits, or are refused with a line for everything missing."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from raw_files import Packet, aedat2, aedat31, atis, polarity_payload

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.datasets import DATASETS, Layout, find_layout
from preprocess.datasets.dvs_gesture import read_labels
from preprocess.datasets.registry import DOWNLOADS
from preprocess.errors import LayoutError, RecordingError
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN

HEADER = "class,startTime_usec,endTime_usec\n"
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def gesture_recording(path: Path, labels: str, times: list[int]) -> None:
    path.write_bytes(aedat31([Packet(polarity_payload([(t, t % 128, 5, t % 2) for t in times]))]))
    path.with_name(f"{path.stem}_labels.csv").write_text(HEADER + labels)


@pytest.fixture
def gestures(tmp_path: Path) -> Path:
    """Two training recordings and a test recording; classes repeat, intervals overlap and touch."""
    folder = tmp_path / "DvsGesture"
    folder.mkdir()
    gesture_recording(folder / "user01_led.aedat", "2,10,20\n8,20,40\n8,30,60\n", list(range(70)))
    gesture_recording(folder / "user02_lab.aedat", "8,5,15\n", list(range(70)))
    gesture_recording(folder / "user24_natural.aedat", "11,0,30\n\n8,30,31\n", list(range(70)))
    (folder / "trials_to_train.txt").write_text("user02_lab.aedat\r\nuser01_led.aedat\r\n\r\n")
    (folder / "trials_to_test.txt").write_text("user24_natural.aedat\n")
    return folder


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """A recording of each class of CIFAR10-DVS, and three of deer whose names do not sort as their numbers do."""
    folder = tmp_path / "cifar10-dvs"
    for c, name in enumerate(OBJECTS):
        (folder / name).mkdir(parents=True)
        for i in (2, 10, 900) if name == "deer" else (c,):
            (folder / name / f"cifar10_{name}_{i}.aedat").write_bytes(aedat2([(3 << 8 | 100 << 1, 5), (7 << 8 | 1, i)]))
    return folder


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    folder = tmp_path / "n-mnist"
    for part, names in (("Train", ("00002", "00011")), ("Test", ("00002",))):
        for digit in "0123456789":
            (folder / part / digit).mkdir(parents=True)
            for name in names:
                (folder / part / digit / f"{name}.bin").write_bytes(atis([(5, int(digit), 33, 1)]))
    return folder


def refusals(dataset: str, source: Path, **options: str) -> list[str]:
    with pytest.raises(LayoutError) as refused:
        find_layout(dataset, source, **options)
    assert all("\n" not in message for message in refused.value.errors)
    return list(refused.value.errors)


def samples_of(layout: Layout) -> list[tuple[str, int, int, int, str]]:
    return [(s.name, s.label, s.split, s.index, s.group) for r in layout.recordings for s in r.samples]


def test_gestures_are_labelled_split_and_numbered(gestures: Path):
    layout = find_layout("dvs-gesture", gestures)
    assert (layout.name, layout.height, layout.width, len(layout.classes)) == ("dvs-gesture", 128, 128, 11)
    assert [r.relative for r in layout.recordings] == ["user02_lab.aedat", "user01_led.aedat", "user24_natural.aedat"]
    assert samples_of(layout) == [
        ("user02_lab/arm_roll_0", 7, TRAIN, 0, "user02"),
        ("user01_led/right_hand_wave_0", 1, TRAIN, 0, "user01"),
        ("user01_led/arm_roll_0", 7, TRAIN, 1, "user01"),
        ("user01_led/arm_roll_1", 7, TRAIN, 2, "user01"),
        ("user24_natural/other_gestures_0", 10, TEST, 0, "user24"),
        ("user24_natural/arm_roll_0", 7, TEST, 0, "user24"),
    ]


def test_a_gesture_is_every_event_from_its_start_to_before_its_end(gestures: Path, tmp_path: Path):
    store = open_events(build_event_store(find_layout("dvs-gesture", gestures), tmp_path / "cache"))
    spans = [(5, 15), (10, 20), (20, 40), (30, 60), (0, 30), (30, 31)]
    assert [store.read(i).t.tolist() for i in range(6)] == [list(range(*span)) for span in spans]


@pytest.mark.parametrize("above", ["", "extract"])
def test_the_folder_above_will_do_and_makes_no_other_data_set(gestures: Path, tmp_path: Path, above: str):
    source = tmp_path / "download"
    shutil.copytree(gestures, source / above / "DvsGesture")
    found, direct = find_layout("dvs-gesture", source), find_layout("dvs-gesture", gestures)
    assert found.folder == source / above / "DvsGesture"
    assert [r.relative for r in found.recordings] == [r.relative for r in direct.recordings]
    shutil.copytree(gestures, source / "other")
    (line,) = refusals("dvs-gesture", source)
    assert "found 2 folders with them" in line and line.endswith("Give one of them.")


def test_everything_wrong_with_a_gesture_folder_is_told_at_once(gestures: Path):
    (gestures / "user01_led_labels.csv").write_text(HEADER + "12,1,2\n1,5,5\n1;2;3\n-1,-3,5\n")
    (gestures / "user24_natural_labels.csv").unlink()
    with (gestures / "trials_to_test.txt").open("a") as file:
        file.write("user25_led.aedat\nuser02_lab.aedat\nreadme\n")
    test = gestures / "trials_to_test.txt"
    led = gestures / "user01_led_labels.csv"
    again = "Copy the file again, or correct the line."
    assert refusals("dvs-gesture", gestures) == [
        f"{test}: line 3: expected every recording in one list once, found user02_lab.aedat again. Remove the line.",
        f"{test}: line 4: expected the name of a recording, such as user01_led.aedat, found 'readme'. "
        "Copy the file again.",
        f"{led}: line 2: expected a class from 1 to 11, found 12. {again}",
        f"{led}: line 3: expected an interval that starts at 0 µs or later and ends after its start, found [5, 5). "
        f"{again}",
        f"{led}: line 4: expected three whole numbers (class,startTime_usec,endTime_usec), found '1;2;3'. {again}",
        f"{led}: line 5: expected a class from 1 to 11, found -1. {again}",
        f"{gestures / 'user24_natural_labels.csv'}: expected the labels of a recording, found a file that cannot "
        "be read (No such file or directory). Copy it again.",
        f"{gestures / 'user25_led.aedat'}: expected the recording that trials_to_test.txt lists, found no such file. "
        "Copy it again, or remove it from the list.",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: expected class,startTime_usec,endTime_usec, found an empty file."),
        (b"1,2,3\n", "line 1: expected class,startTime_usec,endTime_usec, found '1,2,3'."),
        (HEADER.encode(), "expected at least one labelled interval, found none."),
        (b"\xff\xfe\x00", "expected text, found other bytes."),
        (HEADER.encode() + b"1,0,99999999999999999999\n", "found [0, 99999999999999999999)"),
    ],
)
def test_damaged_label_files(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "user01_led_labels.csv"
    path.write_bytes(content)
    with pytest.raises(LayoutError) as refused:
        read_labels(path)
    assert str(refused.value).startswith(f"{path}: ") and message in str(refused.value)


def test_label_files_in_any_line_end_and_order(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfclass, startTime_usec, endTime_usec\r\n3, 5, 9\r\n1,2,8")
    assert read_labels(path) == [(3, 5, 9), (1, 2, 8)]


@pytest.mark.real
def test_real_label_files(real_data: Path):
    natural = read_labels(real_data / "readers" / "real_user01_natural_labels.csv")
    assert [label for label, _, _ in natural] == [1, 2, 3, 5, 4, 6, 7, 8, 8, 9, 10, 11]
    assert natural[3] == (5, 87200306, 97835393)
    clips = real_data / "dvs-gesture-clips" / "DvsGesture" / "user01_natural_labels.csv"
    assert [label for label, _, _ in read_labels(clips)] == [1, 2, 3, 5, 4]


@pytest.mark.slow
@pytest.mark.real
def test_real_gesture_clips_equal_what_spikingjelly_cuts(real_data: Path, tmp_path: Path):
    from spikingjelly.datasets.dvs128_gesture import _split_aedat_files_to_np
    from spikingjelly.datasets.utils import integrate_events_by_fixed_frames_number

    source = real_data / "dvs-gesture-clips"
    layout = find_layout("dvs-gesture", source)
    store = open_events(build_event_store(layout, tmp_path))
    frames = open_frames(ensure_frames(tmp_path, "dvs-gesture", Binning(10, "time")))
    folder = source / "DvsGesture"
    for label in range(11):
        (tmp_path / "npz" / str(label)).mkdir(parents=True)
    csv = folder / "user01_natural_labels.csv"
    _split_aedat_files_to_np("user01_natural", folder / "user01_natural.aedat", csv, tmp_path / "npz")
    assert store.samples.label.tolist() == [0, 1, 2, 4, 3]
    for i in range(5):
        events, cut = store.read(i), np.load(tmp_path / "npz" / str(store.samples.label[i]) / "user01_natural_0.npz")
        for name in "txyp":
            np.testing.assert_array_equal(getattr(events, name), cut[name])
        expected = integrate_events_by_fixed_frames_number(cut, "time", 10, 128, 128)
        np.testing.assert_array_equal(frames.read(i), expected)


def test_cifar10_dvs_is_numbered_by_its_file_names(objects: Path):
    layout = find_layout("cifar10-dvs", objects)
    assert layout.classes == OBJECTS and len(layout.recordings) == 12
    assert samples_of(layout)[4:8] == [
        ("cifar10_deer_2", 4, NO_SPLIT, 2, "deer_2"),
        ("cifar10_deer_10", 4, NO_SPLIT, 10, "deer_10"),
        ("cifar10_deer_900", 4, NO_SPLIT, 900, "deer_900"),
        ("cifar10_dog_5", 5, NO_SPLIT, 5, "dog_5"),
    ]
    assert layout.recordings[0].relative == "airplane/cifar10_airplane_0.aedat"


def test_orientations_of_cifar10_dvs_have_caches_of_their_own(objects: Path, tmp_path: Path):
    for orientation, name, x, y in (("spikingjelly", "cifar10-dvs", 124, 27), ("clif", "cifar10-dvs-clif", 27, 3)):
        layout = find_layout("cifar10-dvs", objects, orientation=orientation)
        assert (layout.name, layout.orientation) == (name, orientation)
        store = open_events(build_event_store(layout, tmp_path / "cache"))
        assert store.path.parent.name == name
        first = store.read(0)
        assert (first.x[0], first.y[0], first.p.tolist()) == (x, y, [1, 0])


def test_faults_of_a_cifar10_dvs_folder(objects: Path):
    shutil.rmtree(objects / "bird")
    (objects / "cat" / "cifar10_dog_7.aedat").write_bytes(b"")
    (objects / "ship" / "cifar10_ship_08.aedat").write_bytes(b"")
    (objects / "cat" / ".hidden.aedat").write_bytes(b"")
    bird, cat, ship = refusals("cifar10-dvs", objects)
    assert bird.startswith(f"{objects / 'bird'}: expected the folder of class 'bird', found none. Unpack all 10")
    assert cat.startswith(f"{objects / 'cat' / 'cifar10_dog_7.aedat'}: expected cifar10_cat_NUMBER.aedat")
    assert ship.startswith(f"{objects / 'ship' / 'cifar10_ship_8.aedat'}: expected every number once, found cifar10")


def test_n_mnist_has_mnists_split(digits: Path):
    layout = find_layout("n-mnist", digits)
    assert (layout.height, layout.width, layout.classes) == (34, 34, tuple("0123456789"))
    assert samples_of(layout)[:2] + samples_of(layout)[20:21] == [
        ("train/0/00002", 0, TRAIN, 0, "train/0/00002"),
        ("train/0/00011", 0, TRAIN, 1, "train/0/00011"),
        ("test/0/00002", 0, TEST, 0, "test/0/00002"),
    ]
    assert layout.recordings[20].relative == "Test/0/00002.bin"


def test_faults_of_an_n_mnist_folder(digits: Path):
    (digits / "Train" / "ten").mkdir()
    assert refusals("n-mnist", digits) == [
        f"{digits / 'Train' / 'ten'}: expected folders named 0 to 9, found 'ten'. Move it elsewhere."
    ]
    (digits / "Train" / "ten").rmdir()
    shutil.rmtree(digits / "Test")
    (digits / "Test").mkdir()
    assert refusals("n-mnist", digits) == [
        f"{digits / 'Test'}: expected folders 0 to 9 of .bin recordings, found none. Unpack it again."
    ]


@pytest.mark.parametrize("dataset", DATASETS)
def test_missing_and_wrong_sources(tmp_path: Path, dataset: str):
    (line,) = refusals(dataset, tmp_path / "none", name="mine")
    assert line.startswith(f"{tmp_path / 'none'}: expected ") and "found no such folder. Check --source" in line
    assert ("spikeloom download" in line) == (dataset in DOWNLOADS)
    (tmp_path / "empty").mkdir()
    (line,) = refusals(dataset, tmp_path / "empty", name="mine")
    assert line.endswith("found an empty folder. Give the folder that contains them.")
    (tmp_path / "empty" / "notes.txt").write_bytes(b"")
    (line,) = refusals(dataset, tmp_path / "empty", name="mine")
    assert line.endswith("found notes.txt. Give the folder that contains them.")
    (line,) = refusals(dataset, tmp_path / "empty" / "notes.txt", name="mine")
    assert line.endswith("found a file. Give the folder.")


def test_a_gesture_folder_without_recordings_in_its_lists(gestures: Path):
    for name in ("trials_to_train.txt", "trials_to_test.txt"):
        (gestures / name).write_text("\n")
    names = "trials_to_train.txt or trials_to_test.txt"
    assert refusals("dvs-gesture", gestures) == [
        f"{gestures}: expected at least one recording in {names}, found none. Copy them again."
    ]
    (gestures / "trials_to_test.txt").unlink()
    (line,) = refusals("dvs-gesture", gestures)
    assert line.startswith(f"{gestures / 'trials_to_test.txt'}: cannot be read (No such file or directory)")


def test_names_and_orientations_that_do_not_fit(gestures: Path):
    assert find_layout("dvs-gesture", gestures, name="mine").name == "mine"
    (line,) = refusals("dvs-gesture", gestures, orientation="clif")
    assert line.startswith("dvs-gesture: expected no --orientation, found clif.")
    (line,) = refusals("dvs-gestures", gestures)
    assert line.startswith("expected a data set (dvs-gesture, cifar10-dvs, ") and "found 'dvs-gestures'" in line


def test_emulated_recordings_are_called_emulated(gestures: Path, objects: Path, tmp_path: Path):
    (gestures / "emulated.json").write_text(json.dumps({"emulated": "gestures"}))
    layout = find_layout("emulated-gestures", gestures)
    assert (layout.name, layout.dataset, len(layout.classes)) == ("emulated-gestures", "emulated-gestures", 11)
    assert "swipe_left" in layout.classes and layout.recordings[1].samples[0].name == "user01_led/swipe_left_0"
    (line,) = refusals("dvs-gesture", gestures.parent)
    assert line == (
        f"{gestures}: expected recordings of a camera, found emulated recordings (emulated.json). "
        "Preprocess it as emulated-gestures."
    )
    for digit, name in enumerate(OBJECTS):
        for path in (objects / name).iterdir():
            (tmp_path / "digits" / str(digit)).mkdir(parents=True, exist_ok=True)
            number = path.stem.split("_")[-1]
            shutil.copy(path, tmp_path / "digits" / str(digit) / f"emulated_{digit}_{number}.aedat")
    layout = find_layout("emulated-digits", tmp_path / "digits")
    assert layout.classes == tuple("0123456789") and layout.orientation == "spikingjelly"
    assert samples_of(layout)[4] == ("emulated_4_2", 4, NO_SPLIT, 2, "4_2")


def test_a_recording_of_another_format_is_refused(digits: Path, tmp_path: Path):
    path = digits / "Train" / "3" / "00011.bin"
    path.write_bytes(aedat31([]))
    with pytest.raises(RecordingError, match=r"00011.bin: expected ATIS .bin, found AEDAT 3.1. Leave the file out."):
        build_event_store(find_layout("n-mnist", digits), tmp_path / "cache")


def test_a_layout_without_its_recordings_still_opens_one_in_another_process(objects: Path):
    layout = find_layout("cifar10-dvs", objects, orientation="clif")
    slim = pickle.loads(pickle.dumps(dataclasses.replace(layout, recordings=())))
    (chunk,) = slim.open(layout.recordings[0]).chunks()
    assert chunk.y[0] == 3 and slim.decoder == "aedat2 2"
