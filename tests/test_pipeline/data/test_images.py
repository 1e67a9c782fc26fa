"""Images reach the network normalised and augmented, the same at each time step, and a network learns from them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import crops, write_cifar10
from PIL import Image

from pipeline import FrameDataset, evaluate, find_preset, load_run, override, time_first_collate, train
from pipeline.cli import COMMANDS
from pipeline.config.augmentation_names import IMAGE_AUGMENTATIONS
from pipeline.config.run_config import InputConfig, RunConfig, fingerprint
from pipeline.cost.energy import PJ_PER_MAC, count_energy
from pipeline.cost.inference_costs import CostCount
from pipeline.cost.operations import count_operations, count_run_operations
from pipeline.data.image_augmentation import CUTOUT_AREA, CUTOUT_RATIO, augment_images
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import open_data
from pipeline.dry_run.dry_run import dry_run
from pipeline.kernels.tensors import is_repeated
from pipeline.networks.run_network import make_run_network
from preprocess import RepeatedImages, open_images, preprocess_images
from preprocess.building.build_frame_cache import ensure_frames, find_frames
from preprocess.errors import CacheError, ConfigError, RecordingError
from preprocess.store.imported_frames import open_dataset
from preprocess.terminal.command_line import run_main

CPU = torch.device("cpu")
SMALL = {
    "schedule.epochs": 8,
    "batch_size": 12,
    "network.width": 0.5,
    "network.head": "gap",
    "optimiser.learning_rate": 0.01,
    "threads": 1,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_cifar10(folder / "src")
    preprocess_images(folder / "src", "cifar10", folder / "cache")
    return folder / "cache"


def config_of(**changes: object) -> RunConfig:
    return override(find_preset("images-small").config, SMALL | {k.replace("__", "."): v for k, v in changes.items()})


def images_of(cache: Path) -> RepeatedImages:
    return RepeatedImages(open_images(cache / "cifar10" / "images.h5"), 4)


def loader_of(cache: Path, augmentation: str = "none", **more: int) -> FrameLoader:
    training = {"training": True, "seed": 5, "augmentation": augmentation}
    return FrameLoader(
        images_of(cache), np.arange(24), 8, InputConfig(encoding="direct"), CPU, **(training if more else {"seed": 5})
    )


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[*map(str, words)])


def test_a_batch_is_normalised_as_torchvision_does_and_has_one_image_for_all_steps(cache: Path):
    from torchvision.transforms import v2

    store = images_of(cache).store
    batches = list(loader_of(cache).batches())
    assert [batch.frames.shape for batch in batches] == [(4, 8, 3, 32, 32)] * 3
    assert all(is_repeated(batch.frames) and batch.lengths is None for batch in batches)
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(store.mean, store.deviation)])
    expected = torch.stack([normalise(torch.from_numpy(store.read(i))) for i in range(24)])
    torch.testing.assert_close(torch.cat([batch.frames[2] for batch in batches]), expected, rtol=1e-6, atol=1e-6)
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 1, 2] * 8


def test_a_custom_training_loop_sees_the_same_images(cache: Path):
    frames, labels = time_first_collate([FrameDataset(images_of(cache))[k] for k in range(8)])
    (batch, *_) = loader_of(cache).batches()
    assert torch.equal(frames, batch.frames) and labels.tolist() == batch.labels.tolist()
    with pytest.raises(ConfigError, match="expected one for images, found counts"):
        FrameDataset(images_of(cache), config=InputConfig())


@pytest.mark.parametrize("name", IMAGE_AUGMENTATIONS)
def test_augmentation_depends_on_seed_epoch_and_sample_only(name: str):
    images, numbers = crops(12, 32, test=False)[0], np.arange(12)
    found = augment_images([name], 5, 2)(images, numbers)
    assert found.shape == images.shape and found.dtype == np.uint8 and not np.array_equal(found, images)
    # One at a time, in another thread, and whatever torch drew meanwhile.
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    alone: list[np.ndarray] = []

    def work() -> None:
        alone.extend(
            augment_images([name], 5, 2)(images[k : k + 1], numbers[k : k + 1])[0] for k in reversed(range(12))
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(np.stack(alone[::-1]), found)
    assert torch.equal(torch.random.get_rng_state(), state)
    for seed, epoch, first in ((6, 2, 0), (5, 3, 0), (5, 2, 12)):
        assert not np.array_equal(augment_images([name], seed, epoch)(images, numbers + first), found)


def test_crop_and_flip_equal_torchvisions_functions():
    from torchvision.transforms import v2

    images, numbers = crops(40, 32, test=False)[0], np.arange(40)
    flipped, cropped = (augment_images([name], 5, 2)(images, numbers) for name in ("flip", "crop"))
    both = augment_images(["flip", "crop"], 5, 2)(images, numbers)
    mirrored = 0
    for k in numbers:
        top, left = np.random.default_rng([5, 2, k, 5]).integers(0, 9, 2)
        window = v2.functional.crop(v2.functional.pad(torch.from_numpy(images[k]), 4), int(top), int(left), 32, 32)
        np.testing.assert_array_equal(cropped[k], window)
        mirrors = np.random.default_rng([5, 2, k, 1]).random() < 0.5
        mirrored += mirrors
        expected = v2.functional.horizontal_flip(torch.from_numpy(images[k])) if mirrors else images[k]
        np.testing.assert_array_equal(flipped[k], expected)
        np.testing.assert_array_equal(both[k], v2.functional.horizontal_flip(window) if mirrors else window)
    assert 10 < mirrored < 30


def test_policies_are_torchvisions_with_the_numbers_of_the_sample():
    from torchvision.transforms import v2

    images, numbers = crops(20, 32, test=False)[0], np.arange(20)
    for name, stream, transform in (
        ("autoaugment-cifar10", 8, v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
        ("autoaugment-imagenet", 9, v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)),
        ("trivialaugment", 10, v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)),
    ):
        found = augment_images([name], 5, 2)(images, numbers)
        for k in numbers:
            torch.manual_seed(int(np.random.default_rng([5, 2, k, stream]).integers(0, 1 << 62)))
            np.testing.assert_array_equal(found[k], transform(torch.from_numpy(images[k])))


def test_cutout_is_a_grey_rectangle_of_the_published_sizes_in_half_of_the_images():
    images, numbers = np.zeros((400, 3, 32, 32), np.uint8), np.arange(400)
    # Two values that are not grey, so that every pixel of a rectangle differs.
    images[:, 0], images[:, 1] = 1, 2
    found = augment_images(["cutout"], 5, 2)(images, numbers)
    changed = (found != images).any(1)
    areas, tops = [], []
    for image, mask in zip(found, changed, strict=True):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            inside = image[:, rows[0], columns[0]]
            assert (inside == inside[0]).all() and (image[:, mask] == inside[0]).all()
            height, width = len(rows), len(columns)
            assert CUTOUT_RATIO[0] - 0.2 < height / width < 1.3 * CUTOUT_RATIO[1]
            areas.append(height * width / 1024)
            tops.append(rows[0])
    assert 160 < len(areas) < 240
    assert min(areas) > 0 and max(areas) <= CUTOUT_AREA[1] and np.mean(areas) > 0.15
    assert min(tops) == 0


def test_batches_are_augmented_before_they_are_normalised(cache: Path):
    names = "cutout+crop"
    plain = augment_images(names.split("+"), 5, 1)
    store = images_of(cache).store
    order = np.random.default_rng([5, 1]).permutation(np.arange(24))
    (batch, *_) = loader_of(cache, names, training=1).batches(1)
    expected = plain(np.stack([store.read(int(i)) for i in order[:8]]), order[:8])
    mean, deviation = (np.array(values)[:, None, None] for values in (store.mean, store.deviation))
    np.testing.assert_allclose(batch.frames[0], (expected / 255 - mean) / deviation, rtol=1e-5, atol=1e-5)
    # Black outside of the image, not the mean.
    assert float(batch.frames.min()) < -1.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"binning.split_by": "duration", "binning.duration_us": 5}, "binning.split_by: expected number with"),
        ({"binning.split_by": "time"}, "binning.split_by: expected number with"),
        ({"binning.downsample": 2}, "Use input.size"),
        ({"input.polarity": "on"}, "input.polarity: expected split with input.encoding direct"),
        ({"input.time_order": "shuffled"}, "input.time_order: expected as-is with input.encoding direct"),
        ({"input.source": "events"}, "input.source: expected cache with input.encoding direct"),
        ({"dataset.augmentation": "rotation"}, "for images (input.encoding direct), found rotation"),
    ],
)
def test_settings_of_events_are_refused_for_images(changes: dict[str, object], message: str):
    with pytest.raises(ConfigError) as refused:
        override(find_preset("images-small").config, changes)
    assert message in str(refused.value)


def test_presets_of_events_and_of_images_need_their_data(cache: Path, tmp_path: Path):
    from tiny_run import TINY, tiny_cache

    events = tiny_cache(tmp_path)
    with pytest.raises(ConfigError, match="expected direct, because cifar10 has images, found counts"):
        open_data(override(TINY, {"dataset.name": "cifar10"}), cache)
    with pytest.raises(ConfigError, match="because tiny has events, found direct"):
        open_data(config_of(dataset__name="tiny"), events)
    with pytest.raises(CacheError, match="expected an image store, found no such file"):
        open_data(config_of(), tmp_path / "none")
    with pytest.raises(ConfigError, match="because cifar100 has images, found counts"):
        dry_run(override(TINY, {"dataset.name": "cifar100"}), tmp_path)
    store = open_dataset(cache, "cifar10")
    assert ensure_frames(cache, "cifar10", TINY.binning) == store.path
    assert find_frames(cache, "cifar10", TINY.binning, store) == store.path


def test_direct_encoding_changes_no_fingerprint_of_events():
    assert fingerprint(RunConfig()) == fingerprint(override(RunConfig(), {"input.encoding": "counts"}))
    assert fingerprint(config_of()) != fingerprint(config_of(binning__timesteps=6))


def test_operations_energy_and_dry_run_count_the_first_layer_once(cache: Path, tmp_path: Path):
    config = config_of(dataset__augmentation="none")
    network = make_run_network(config, classes=10, size=(32, 32), timesteps=4, device=CPU)
    operations = count_run_operations(config, network, (32, 32), 4, CPU)
    assert [layer.name for layer in operations.layers if layer.once] == ["features.conv1.conv", "features.conv1.norm"]
    first = 12 * 3 * 9 * 1024
    assert operations.once_macs == first and operations.layers[0].macs == first
    energy = CostCount(config, network, (32, 32), 4, CPU).energy({}, 4)
    assert energy.per_inference_uj == pytest.approx(4 * energy.per_step_uj - 3 * PJ_PER_MAC * first * 1e-6)
    assert energy.describe()["macs_once"] == first
    events = count_operations(network, torch.ones(1, 1, 3, 32, 32))
    assert events.once_macs == 0 and "macs_once" not in count_energy(events, "lif", {}, 4).describe()
    # Neurons with weights for each time step: the same.
    bound = count_run_operations(config_of(neuron__name="psn"), network, (32, 32), 4, CPU)
    assert bound.once_macs == first
    for place in (cache, tmp_path):
        report = dry_run(config, place)
        rest = operations.macs - first
        assert report["flops_per_step"] == 2 * 12 * 3 * (rest * 4 + first)
        assert report["memory_bytes"]["frames"] == 12 * 3 * 1024 * 4
    assert report["train_samples"] == 45_000
    assert dry_run(config_of(grad_steps=2), cache)["flops_per_step"] == 2 * 12 * (rest * 8 + first * 4)


@pytest.fixture(scope="module")
def trained(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a"
    train(config_of(), out=out, cache=cache)
    return out


def test_a_network_learns_from_images(trained: Path, cache: Path):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] < 0.6 * rows[0]["train_loss"]
    result = json.loads((trained / "result.json").read_text())
    # Three photographs: chance is a third.
    assert result["test_accuracy"] > 0.6 and result["energy"]["macs_once"] > 0


def test_a_run_is_evaluated_at_another_number_of_time_steps_from_the_same_store(trained: Path, cache: Path, capsys):
    assert run("evaluate", trained, "--cache", cache, "--timesteps", 2, 6, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["accuracy_by_timesteps"]) == {"2", "4", "6"}
    assert run("runs", trained.parent) == 0 and "cifar10" in capsys.readouterr().out


def test_a_trained_network_classifies_arrays_and_files(trained: Path, cache: Path, tmp_path: Path, capsys):
    store, network = open_images(cache / "cifar10" / "images.h5"), load_run(trained)
    images = np.stack([store.read(i) for i in range(60, 72)])
    found = network.predict(images)
    with np.load(trained / "predictions.npz") as file:
        # Sums over the four time steps.
        np.testing.assert_allclose([4 * one.logits for one in found], file["logits"][:12], rtol=1e-4, atol=1e-4)
    assert network.predict(torch.from_numpy(images[3]))[0].label == found[3].label
    for wrong in (images.astype(float), images[:, :2], images[0, 0], "a.png"):
        with pytest.raises(RecordingError, match="images: expected uint8 of shape"):
            network.predict(wrong)
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(path)
    assert run("predict", trained, *paths, "--json") == 0
    windows = json.loads(capsys.readouterr().out)["windows"]
    assert [window["class"] for window in windows] == [one.name for one in found[:3]]
    assert run("predict", trained, *paths) == 0 and "events" not in capsys.readouterr().out
    Image.new("RGB", (48, 32)).save(paths[1])
    paths[2].write_bytes(b"nothing")
    assert run("predict", trained, *paths) == 2
    printed = capsys.readouterr()
    assert paths[0].name in printed.out and found[0].name in printed.out and paths[1].name not in printed.out
    first, second = (line for line in printed.err.splitlines() if "expected" in line)
    assert "expected 32x32 pixels (rows x columns), found 32x48" in first and "other first bytes" in second
    assert run("predict", trained, *paths[1:]) == 2 and capsys.readouterr().out == ""
    assert run("predict", trained, tmp_path) == 2
    assert capsys.readouterr().err == (
        f"spikeloom: {tmp_path}: expected an image, found a folder. Give the files in it.\n"
    )
    assert run("predict", trained, paths[0], "--sort") == 2


def test_evaluation_from_python_repeats_the_result(trained: Path, cache: Path):
    result = json.loads((trained / "result.json").read_text())
    assert evaluate(trained, cache=cache).test_accuracy == result["test_accuracy"]


def test_the_spikes_of_every_time_step_are_shown_from_normalised_images(trained: Path, cache: Path):
    from pipeline.evaluation.spikes_over_time import SpikesOverTime
    from pipeline.runs.run_folder import open_run

    frames = images_of(cache)
    shares = SpikesOverTime(open_run(trained), frames).shares(60)
    assert shares.shape == (3, 4)
    network = load_run(trained)
    seen: list[torch.Tensor] = []
    network.network.features[0].neuron.register_forward_hook(lambda _m, _i, out: seen.append(out))
    network.predict(frames.store.read(60))
    np.testing.assert_allclose(shares[0], (seen[0] != 0).flatten(1).double().mean(1))


def test_the_report_shows_images(trained: Path):
    from pipeline.runs.run_folder import open_run
    from tune.report.frame_strips import read_strips

    strips, note = read_strips({"lif": open_run(trained)})
    assert len(strips) == 3 and "an image of 32 × 32 pixels, the same at each of 4 time steps" in note


@pytest.mark.parametrize("name", ["spiking-vgg11", "snn5", "vggsnn"])
def test_networks_of_the_paper_train_on_images(cache: Path, tmp_path: Path, name: str):
    changes = {"network__name": name, "network__width": 0.0625, "schedule__stop_epoch": 1, "binning__timesteps": 2}
    result = train(config_of(**changes), out=tmp_path / "run", cache=cache)
    assert result.epochs == 1 and 0 <= result.test_accuracy <= 1
