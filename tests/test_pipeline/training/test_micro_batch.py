"""A batch in pieces: the same gradient without batch norm, one step of the optimiser, and the same run all along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import RunConfig, fingerprint, override
from pipeline.data.loader import Batch
from pipeline.networks import SpikeCounter, build_network
from pipeline.runs.run_folder import open_run
from pipeline.runtime.distributed import Group
from pipeline.training.learner import Learner
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError

CPU = torch.device("cpu")


def gradients(
    micro_batch: int | None, config: RunConfig = TINY, lengths: bool = False, mixed: bool = False
) -> dict[str, torch.Tensor]:
    """Of one batch of seven samples, batch norm at its running statistics."""
    network = build_network(
        config.network, config.neuron, channels=2, classes=3, size=(16, 16), timesteps=3, seed=0
    ).eval()
    learner = Learner(config, network, CPU, Group(), micro_batch)
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 4, (3, 7, 2, 16, 16), generator=generator).float()
    labels = torch.arange(7) % 3
    with SpikeCounter(network) as counter:
        shares = torch.rand(7, 3, generator=generator).softmax(1) if mixed else None
        batch = Batch(frames, labels, torch.tensor([3, 2, 1, 3, 3, 2, 1]) if lengths else None, shares)
        loss, logits = learner.loss(batch, counter)
        loss.backward()
    assert logits.shape == (3, 7, 3)
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return found | {"loss": loss.detach(), "logits": logits, "rate": torch.tensor(counter.rate())}


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 6])
@pytest.mark.parametrize("lengths", [False, True])
def test_pieces_add_up_to_the_gradient_of_the_batch(micro_batch: int, lengths: bool):
    whole, pieces = gradients(None, lengths=lengths), gradients(micro_batch, lengths=lengths)
    assert whole.keys() == pieces.keys()
    for name, expected in whole.items():
        torch.testing.assert_close(pieces[name], expected, rtol=1e-4, atol=1e-6, msg=name)


def test_pieces_keep_the_labels_of_mixed_samples():
    whole, pieces = gradients(None, mixed=True), gradients(3, mixed=True)
    for name, expected in whole.items():
        torch.testing.assert_close(pieces[name], expected, rtol=1e-4, atol=1e-6, msg=name)
    labelled = gradients(None)
    assert any(not torch.allclose(whole[name], labelled[name]) for name in whole)


def test_pieces_add_up_where_few_steps_carry_gradient():
    config = override(TINY, {"grad_steps": 2})
    whole, pieces = gradients(None, config), gradients(3, config)
    for name, expected in whole.items():
        torch.testing.assert_close(pieces[name], expected, rtol=1e-4, atol=1e-6, msg=name)


def test_run_in_pieces_for_want_of_memory_is_the_same_run_and_says_so(tmp_path: Path):
    cache = tiny_cache(tmp_path)
    first = override(TINY, {"schedule.epochs": 2})

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        train_run(first, tmp_path / "run", cache, on_epoch=stop)
    result = train_run(first, tmp_path / "run", cache, micro_batch=3)
    run = open_run(tmp_path / "run")
    assert fingerprint(run.config) == fingerprint(first) == result["fingerprint"]
    assert result["micro_batch"] == run.environment["micro_batch"] == 3
    assert [row["micro_batch"] for row in run.environment["earlier"]] == [8]


def test_configured_pieces_are_another_run():
    assert fingerprint(override(TINY, {"micro_batch": 4})) != fingerprint(TINY)
    assert fingerprint(replace(TINY, micro_batch=8)) == fingerprint(TINY)
    with pytest.raises(ConfigError, match="micro_batch: expected 1 to batch_size = 8, found 9"):
        override(TINY, {"micro_batch": 9})


def test_records_are_json(tmp_path: Path):
    cache = tiny_cache(tmp_path)
    train_run(override(TINY, {"schedule.epochs": 1, "micro_batch": 5}), tmp_path / "run", cache)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["micro_batch"] == 5
