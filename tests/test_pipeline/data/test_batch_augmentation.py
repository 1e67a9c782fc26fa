"""Random erasing, Mixup and CutMix of batches: torchvision's equations, and the same for the same seed and epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import write_cifar10

from pipeline import find_preset, override
from pipeline.config.augmentation_names import BATCH_AUGMENTATIONS
from pipeline.config.run_config import InputConfig
from pipeline.data.batch_augmentation import augment_batch
from pipeline.data.loader import Batch, FrameLoader
from pipeline.kernels.tensors import is_repeated
from pipeline.runs.checkpoint import load_checkpoint
from pipeline.training.train_run import train_run
from preprocess import RepeatedImages, open_images, preprocess_images
from preprocess.files import read_lines

CLASSES = 5
SAMPLES = np.arange(40, 56)


def augmented(
    names: list[str], images: torch.Tensor, samples: np.ndarray = SAMPLES, seed: int = 5, epoch: int = 2
) -> tuple[torch.Tensor, torch.Tensor | None]:
    labels = torch.arange(len(images)) % CLASSES
    return augment_batch(names, CLASSES, seed, epoch)(images.clone(), labels, samples)


def batch_of(size: int = 16) -> torch.Tensor:
    return torch.randn(size, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def test_mixup_averages_images_and_labels_of_neighbours_with_one_share():
    images, shares_seen = batch_of(), set()
    one_hot = torch.nn.functional.one_hot(torch.arange(16) % CLASSES, CLASSES).float()
    for epoch in range(8):
        found, shares = augmented(["mixup"], images, epoch=epoch)
        assert shares is not None
        share = float(shares[1, 1])
        torch.testing.assert_close(found, share * images + (1 - share) * images.roll(1, 0))
        torch.testing.assert_close(shares, share * one_hot + (1 - share) * one_hot.roll(1, 0))
        shares_seen.add(share)
    assert len(shares_seen) == 8 and all(0 <= share <= 1 for share in shares_seen)


def test_cutmix_has_a_rectangle_of_the_neighbour_and_the_share_of_its_pixels():
    images = batch_of()
    sizes = []
    for epoch in range(12):
        found, shares = augmented(["cutmix"], images, epoch=epoch)
        assert shares is not None
        changed = (found != images).any(1)
        assert torch.equal(changed, changed[:1].expand_as(changed))
        mask = changed[0]
        assert torch.equal(found[:, :, mask], images.roll(1, 0)[:, :, mask])
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        if len(rows):
            assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert float(shares[1, 1]) == pytest.approx(1 - float(mask.float().mean()), abs=1e-6)
        sizes.append(int(mask.sum()))
    assert len(set(sizes)) > 6


def test_one_of_both_is_drawn_for_each_batch():
    images, kinds = batch_of(), []
    for epoch in range(40):
        found, shares = augmented(["mixup", "cutmix"], images, epoch=epoch)
        assert shares is not None
        same = (found == images).float().mean()
        # CutMix leaves pixels as they are, or all of them are the neighbour's.
        kinds.append(bool(same > 0) or torch.equal(found, images.roll(1, 0)))
    assert 10 < sum(kinds) < 30


def test_erasing_sets_a_rectangle_of_a_tenth_of_the_images_to_the_mean():
    images = torch.ones(1000, 3, 16, 16)
    found, shares = augmented(["random-erasing"], images, samples=np.arange(1000))
    assert shares is None
    erased = (found == 0).all(1)
    areas = []
    for mask in erased[erased.any(2).any(1)]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert int(mask.sum()) == height * width and 0.2 < height / width < 5
        areas.append(height * width / 256)
    assert 70 < len(areas) < 130
    assert 0 < min(areas) < 0.05 and 0.25 < max(areas) < 0.36
    assert torch.equal(found[~erased.any(2).any(1)], images[~erased.any(2).any(1)])


@pytest.mark.parametrize("name", BATCH_AUGMENTATIONS)
def test_another_seed_epoch_or_sample_draws_anew_and_torch_draws_nothing(name: str):
    images = batch_of(64)
    samples = np.arange(64)
    state = torch.random.get_rng_state()
    (first, _), (again, _) = augmented([name], images, samples), augmented([name], images, samples)
    assert torch.equal(first, again) and not torch.equal(first, images)
    assert torch.equal(torch.random.get_rng_state(), state)
    for seed, epoch, start in ((6, 2, 0), (5, 3, 0), (5, 2, 64)):
        assert not torch.equal(augmented([name], images, samples + start, seed, epoch)[0], first)


def test_a_name_of_another_kind_is_an_error():
    with pytest.raises(ValueError, match="expected names of random-erasing, mixup, cutmix, found flip"):
        augment_batch(["flip"], CLASSES, 0, 0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("images")
    write_cifar10(folder / "src")
    preprocess_images(folder / "src", "cifar10", folder / "cache")
    return folder / "cache"


@pytest.fixture(scope="module")
def images(cache: Path) -> RepeatedImages:
    return RepeatedImages(open_images(cache / "cifar10" / "images.h5"), 4)


def batches(images: RepeatedImages, augmentation: str, epoch: int, **more: Any) -> list[Batch]:
    loader = FrameLoader(
        images,
        np.arange(24),
        8,
        InputConfig(encoding="direct"),
        torch.device("cpu"),
        seed=5,
        training=True,
        augmentation=augmentation,
        **more,
    )
    return list(loader.batches(epoch))


def test_batches_have_the_mixed_images_at_every_step_and_the_class_of_the_larger_share(images: RepeatedImages):
    neighbours = 0
    for epoch in range(4):
        for before, after in zip(batches(images, "none", epoch), batches(images, "mixup", epoch), strict=True):
            assert before.shares is None and before.targets is before.labels
            assert is_repeated(after.frames) and after.shares is not None and after.targets is after.shares
            assert torch.equal(after.labels, after.shares.argmax(1))
            apart = before.labels != before.labels.roll(1)
            share = after.shares[apart].gather(1, before.labels[apart, None])[0]
            expected = share * before.frames + (1 - share) * before.frames.roll(1, 1)
            torch.testing.assert_close(after.frames, expected, rtol=1e-5, atol=1e-5)
            neighbours += int((after.labels != before.labels).sum())
    assert neighbours > 10


def test_images_are_mixed_in_the_first_epochs_only(images: RepeatedImages):
    names = "random-erasing+mixup"
    for epoch, mixed in ((1, True), (2, True), (3, False)):
        plain, found = (batches(images, name, epoch, mixing_epochs=2) for name in ("random-erasing", names))
        assert all((batch.shares is not None) == mixed for batch in found)
        same = (torch.equal(a.frames, b.frames) for a, b in zip(plain, found, strict=True))
        assert all(same) == (not mixed)


def test_a_larger_alpha_draws_shares_nearer_to_a_half():
    def spread(alpha: float) -> float:
        images, labels = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
        shares = [augment_batch(["mixup"], 2, 0, e, alpha)(images, labels, SAMPLES[:2])[1] for e in range(60)]
        return float(torch.stack([share[0, 0] for share in shares if share is not None]).std())

    # Beta(a, a) has the variance 1 / (8 a + 4).
    assert spread(0.2) == pytest.approx(0.42, abs=0.06) and spread(5.0) == pytest.approx(0.15, abs=0.04)


def test_a_run_with_every_part_of_the_recipe_resumes_bit_for_bit(cache: Path, tmp_path: Path):
    changes = {
        "dataset.augmentation": "flip+trivialaugment+random-erasing+mixup+cutmix",
        "optimiser.name": "lamb",
        "optimiser.weight_decay_of": "weights",
        "optimiser.learning_rate": 0.02,
        "loss.readout": "mean",
        "loss.label_smoothing": 0.1,
        "schedule.epochs": 3,
        "schedule.warmup_epochs": 1,
        "schedule.cooldown_epochs": 1,
        "schedule.min_learning_rate": 0.001,
        "batch_size": 12,
        "network.width": 0.25,
        "network.head": "gap",
        "binning.timesteps": 2,
        "selection": "last",
        "threads": 1,
    }
    config = override(find_preset("images-small").config, changes)

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    train_run(config, tmp_path / "alone", cache)
    with pytest.raises(Stop):
        train_run(config, tmp_path / "broken", cache, on_epoch=stop)
    train_run(config, tmp_path / "broken", cache)
    rows = read_lines(tmp_path / "alone/metrics.jsonl")
    assert rows == read_lines(tmp_path / "broken/metrics.jsonl")
    assert all(0 <= row["train_accuracy"] <= 1 for row in rows)
    assert [row["learning_rate"] for row in rows] == [0.01, 0.02, 0.001]
    alone, broken = (load_checkpoint(tmp_path / name / "checkpoint.pt").network for name in ("alone", "broken"))
    assert all(torch.equal(value, broken[name]) for name, value in alone.items())
