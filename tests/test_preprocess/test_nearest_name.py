"""Wrong names suggest what was meant."""

from __future__ import annotations

import pytest

from pipeline.config.networks import NETWORKS
from pipeline.config.neurons import NEURONS
from pipeline.presets.registry import PRESETS
from preprocess.datasets.registry import DATASETS, IMAGE_DATASETS
from preprocess.nearest_name import nearest_name


@pytest.mark.parametrize(
    ("known", "found", "meant"),
    [
        # The paper's network goes before others with its number of layers.
        (NETWORKS, "resnet18", "spiking-resnet18"),
        (NETWORKS, "ResNet34", "spiking-resnet34"),
        (NETWORKS, "transformer", "spike-driven-transformer"),
        (NETWORKS, "mc-resnet18", "ms-resnet18"),
        (PRESETS, "resnet18", "cifar10-resnet18"),
        (PRESETS, "vgg11", "gesture-vgg11"),
        (NEURONS, "cliff", "clif"),
        ([*DATASETS, *IMAGE_DATASETS], "cifar", "cifar10"),
        (["lif", "clif"], "if", "lif"),
        (["lif", "clif"], "zzz", None),
        ([], "lif", None),
    ],
)
def test_a_part_means_the_first_name_that_contains_it_and_others_the_most_similar(known, found: str, meant: str | None):
    assert nearest_name(found, known) == meant
