"""A dry run: memory by part against what is counted by hand, nothing written, and what is said of made-up frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from messages import refuses
from tiny_run import TINY, tiny_cache

from pipeline.cli import COMMANDS
from pipeline.commands.config_arguments import ConfiguredArguments, parse_configured
from pipeline.config.run_config import RunConfig, override, to_dict
from pipeline.dry_run.dry_run import dry_run
from pipeline.dry_run.kept_memory import Kept, keeping
from pipeline.dry_run.sample_frames import tiny_frames
from pipeline.networks import SpikeCounter, build_network
from pipeline.training.learner import Group, Learner
from preprocess.binning.binning_config import Binning
from preprocess.errors import CacheError, ConfigError, RunError
from preprocess.files import read_json
from preprocess.terminal.command_line import run_main

CPU = torch.device("cpu")
SMALL_GESTURES = replace(
    TINY, dataset=replace(TINY.dataset, name="emulated-gestures-hard"), binning=Binning(timesteps=3, downsample=8)
)


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("dry"))


def kept_bytes(config: RunConfig, cache: Path, samples: int) -> int:
    """What a forward pass of that many samples keeps, measured."""
    torch.manual_seed(1)
    tiny = tiny_frames(config, cache, samples, CPU)
    network = build_network(
        config.network,
        config.neuron,
        channels=2,
        classes=tiny.classes,
        size=tiny.size,
        timesteps=tiny.timesteps,
        seed=1,
    )
    learner = Learner(config, network, CPU, Group())
    with keeping(network, tiny.batch) as kept:
        learner.loss(tiny.batch, SpikeCounter(network))
    return kept.bytes


def test_memory_by_part_is_what_is_counted_by_hand(cache: Path):
    memory = dry_run(replace(TINY, batch_size=6), cache)["memory_bytes"]
    # Convolutions of 2, 3, 6, 12 channels with batch norm, and a linear layer of 3 classes.
    parameters = (3 * 18 + 3 + 6) + (6 * 27 + 6 + 12) + (12 * 54 + 12 + 24) + (12 * 3 + 3)
    assert memory["parameters"] == memory["gradients"] == memory["optimiser"] == 4 * parameters
    assert memory["average"] == 0
    assert memory["frames"] == 3 * 6 * 2 * 16 * 16 * 4
    # Of each block, for every step: the batch norm's input, from which the neuron's is made again; for one: the state
    # that it ends with.
    neurons = 3 * 256 + 6 * 64 + 12 * 16
    # What the second and third convolution and the linear layer see, and the loss about as much as a few logits.
    seen = 3 * 64 + 6 * 16 + 12
    # The first convolution keeps the frames with the channel fastest in memory.
    by_hand = 6 * 4 * (3 * neurons + neurons + 3 * seen) + memory["frames"]
    assert 1.0 <= memory["activations"] / by_hand < 1.02
    assert memory["all"] == sum(size for part, size in memory.items() if part != "all")


@pytest.mark.parametrize(
    ("changes", "copies"),
    [({}, 1), ({"optimiser.momentum": 0.0}, 0), ({"optimiser.name": "adamw"}, 2)],
)
def test_the_optimisers_share_is_what_it_keeps_after_a_step(cache: Path, changes: dict[str, object], copies: int):
    config = override(TINY, changes | {"optimiser.ema_decay": 0.9})
    memory = dry_run(config, cache)["memory_bytes"]
    assert memory["optimiser"] == copies * memory["parameters"]
    tiny = tiny_frames(config, cache, 2, CPU)
    network = build_network(
        config.network, config.neuron, channels=2, classes=3, size=tiny.size, timesteps=tiny.timesteps, seed=1
    )
    learner = Learner(config, network, CPU, Group())
    learner.update(learner.loss(tiny.batch, SpikeCounter(network))[0])
    states = learner.state()["optimiser"]["state"].values()
    kept = [x for state in states for x in state.values() if isinstance(x, torch.Tensor) and x.dim()]
    assert memory["optimiser"] == sum(x.nbytes for x in kept)
    averaged = dict(learner.evaluated.named_parameters()).values()
    assert memory["average"] == sum(x.nbytes for x in averaged)


@pytest.mark.parametrize(
    "changes",
    [
        # At this width the weights' copies in half precision, which do not grow, are a good part.
        {"precision": "bf16", "network.dropout": 0.5, "network.width": 1.0, "device": "cpu"},
        {"neuron.name": "clif", "network.batch_norm": "joint"},
        {"neuron.name": "plif", "grad_steps": 2},
        {"neuron.name": "psn", "network.width": 0.5},
    ],
)
def test_what_two_tiny_batches_say_of_a_larger_one_is_what_it_keeps(cache: Path, changes: dict[str, object]):
    config = override(TINY, changes | {"batch_size": 6})
    report = dry_run(config, cache)
    assert report["step"]["samples"] == 2
    assert report["memory_bytes"]["activations"] == pytest.approx(kept_bytes(config, cache, 6), rel=0.05)


def test_samples_that_keep_very_much_are_trained_one_at_a_time(cache: Path, monkeypatch):
    two = dry_run(TINY, cache)
    monkeypatch.setattr("pipeline.dry_run.dry_run._LARGE_SAMPLE_BYTES", 1000)
    one = dry_run(TINY, cache)
    assert (two["step"]["samples"], one["step"]["samples"]) == (2, 1)
    assert one["memory_bytes"]["activations"] == pytest.approx(two["memory_bytes"]["activations"], rel=0.05)


def test_where_batch_norm_needs_two_samples_memory_comes_from_two_and_three(tmp_path: Path):
    # Frames of 16x16, which four halvings make one pixel.
    config = override(SMALL_GESTURES, {"network.name": "vggsnn", "batch_size": 6, "network.batch_norm": "per-step"})
    report = dry_run(config, tmp_path)
    assert report["step"]["samples"] == 2
    assert report["memory_bytes"]["activations"] == pytest.approx(kept_bytes(config, tmp_path, 6), rel=0.05)


def test_what_is_kept_counts_memory_once_and_leaves_parameters_and_frames_apart():
    from pipeline.data.loader import Batch

    layer = torch.nn.Linear(4, 5, bias=False)
    batch = Batch(torch.ones(2, 3, 4), torch.zeros(3, dtype=torch.int64))
    kept = Kept(layer, batch)
    other = torch.ones(10)
    for tensor in (other, other[2:], layer.weight, batch.frames[1], batch.frames.flatten(0, 1)):
        kept.add(tensor)
    kept.close(layer)
    assert kept.bytes == 40


def test_flops_are_counted_by_hand(cache: Path):
    report = dry_run(replace(TINY, batch_size=6), cache)
    macs = 256 * 3 * 18 + 64 * 6 * 27 + 16 * 12 * 54 + 36
    assert report["macs"] == macs
    assert report["flops_per_step"] == 3 * 2 * macs * 3 * 6
    # A quarter of the 36 training samples validates.
    assert (report["train_samples"], report["train_samples_from"], report["steps_per_epoch"]) == (27, "event store", 4)
    assert report["flops_of_run"] == report["flops_per_step"] * 4 * 3
    # Backward through the first step alone.
    assert dry_run(replace(TINY, batch_size=6, grad_steps=1), cache)["flops_per_step"] == 2 * macs * 6 * (3 + 2)


def test_nothing_is_written(cache: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = cache.parent / "tiny.json"
    path.write_text(json.dumps(to_dict(TINY)))
    before = listing(cache.parent)
    assert run("train", "--config", path, "--cache", cache, "--dry-run") == 0
    assert run("train", "--config", path, "--cache", cache, "--out", tmp_path / "run", "--json", "--dry-run") == 0
    assert listing(cache.parent) == before and listing(tmp_path) == []
    assert not (cache / "tiny" / "frames").exists()
    out = capsys.readouterr().out
    assert "training samples" in out and f"{cache}/tiny/events.h5" in out


def test_the_dry_run_of_a_preset_says_that_frames_are_made_up(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("train", "n-mnist-small", "--dry-run", "--network.width", "0.25") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "lif on n-mnist" in out and "random, because there is no event store" in out
    assert "54,000 training samples, the official number minus the validation samples" in out
    assert "It does not include the cuDNN workspace" in out
    assert listing(tmp_path) == []


def test_json_is_one_object(tmp_path: Path, capsys):
    words = ("train", "n-mnist-small", "--cache", tmp_path, "--no-compile", "--network.width", "0.25")
    assert run(*words, "--dry-run", "--json", "--selection", "last") == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert (report["frames"], report["event_store"], report["input_size"]) == ("made up", None, [34, 34])
    assert (report["train_samples"], report["train_samples_from"]) == (60_000, "official number")
    assert report["neurons"] == sum(layer["outputs"] for layer in report["layers"] if layer["kind"] == "neuron")
    assert report["step"]["loss"] > 0 and report["step"]["seconds"] > 0 and report["notes"] == []


def test_train_prints_its_result_as_json(cache: Path, tmp_path: Path, capsys):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(to_dict(replace(TINY, schedule=replace(TINY.schedule, epochs=1)))))
    assert run("train", "--json", "--config", path, "--cache", cache, "--out", tmp_path / "run") == 0
    result = read_json(tmp_path / "run" / "result.json")
    assert result is not None and json.loads(capsys.readouterr().out) == result | {"reused": False}
    assert run("train", "--resume", tmp_path / "run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == result | {"reused": True}
    assert run("train", "--resume", tmp_path / "run", "--dry-run") == 2


def test_frames_are_made_up_in_the_form_of_the_data_set_alone(tmp_path: Path):
    report = dry_run(SMALL_GESTURES, tmp_path)
    assert (report["frames"], report["input_size"], report["classes"]) == ("made up", [16, 16], 11)
    # Nobody has said how many recordings will be emulated.
    assert report["train_samples"] is None and report["flops_of_run"] is None
    with pytest.raises(CacheError, match="Make it: spikeloom preprocess"):
        dry_run(TINY, tmp_path)
    varies = replace(SMALL_GESTURES, binning=Binning(split_by="duration", duration_us=1000, downsample=8))
    with pytest.raises(CacheError, match="expected an event store"):
        dry_run(varies, tmp_path)


def test_t_that_varies_is_the_longest_samples(cache: Path):
    report = dry_run(replace(TINY, binning=Binning(split_by="event_count", event_count=150)), cache)
    assert report["timesteps"] == 2


def test_fp16_on_a_cpu_runs_in_bf16_and_says_so(tmp_path: Path):
    report = dry_run(replace(SMALL_GESTURES, precision="fp16"), tmp_path)
    assert report["step"]["precision"] == "bf16" and "the step ran in bf16" in report["notes"][0]
    # Pooled spikes are 2 bytes on CUDA; CLIF keeps there what it keeps on the CPU.
    pooled = 4 * (3 * 64 + 6 * 16 + 12 * 4)
    assert report["cuda_besides_bytes"] == 2 * pooled * 3 * 8
    clif = override(SMALL_GESTURES, {"precision": "fp16", "neuron.name": "clif"})
    assert dry_run(clif, tmp_path)["cuda_besides_bytes"] == 2 * pooled * 3 * 8


def test_memory_on_cuda_is_not_that_of_the_cpus_fused_layers(tmp_path: Path):
    half = override(SMALL_GESTURES, {"precision": "bf16", "batch_size": 8})
    on_cuda, on_cpu = (dry_run(config, tmp_path)["memory_bytes"] for config in (half, replace(half, device="cpu")))
    # On CUDA, neurons behind batch norms keep v before each run of steps, here one of three, and convolutions their
    # inputs, where the CPU may keep a bit of each.
    neurons = dry_run(half, tmp_path)["neurons"]
    states = 4 * 8 * neurons
    assert states <= on_cuda["activations"] - on_cpu["activations"] <= states + 2 * 3 * 8 * neurons


def test_a_precision_that_the_cpu_lacks_gives_way_to_fp32(tmp_path: Path, monkeypatch):
    import pipeline.dry_run.dry_run as module

    measure = module._measure

    def fails(config: RunConfig, *words: object) -> object:
        if config.precision != "fp32":
            raise RuntimeError("no kernel")
        return measure(config, *words)

    monkeypatch.setattr(module, "_measure", fails)
    report = dry_run(replace(SMALL_GESTURES, precision="bf16"), tmp_path)
    assert report["step"]["precision"] == "fp32" and "on the CPU bf16 failed (no kernel)" in report["notes"][0]


def test_what_training_refuses_is_refused(cache: Path, tmp_path: Path, monkeypatch):
    with pytest.raises(ConfigError, match="batch_size: expected at most the 27 training samples"):
        dry_run(replace(TINY, batch_size=100), cache)
    with pytest.raises(ConfigError, match="expected at least 2 if feature maps shrink to one pixel"):
        dry_run(override(SMALL_GESTURES, {"binning.downsample": 32, "network.name": "snn4", "batch_size": 1}), tmp_path)
    monkeypatch.setattr(Learner, "loss", lambda *_: (torch.tensor(float("nan")), None))
    with refuses(RunError, where="--dry-run", expected="a finite loss", found="nan", remedy="initial ones"):
        dry_run(TINY, cache)
    with refuses(RunError, where="--dry-run", expected="a finite loss", found="nan", remedy="precision fp32"):
        dry_run(override(TINY, {"precision": "bf16"}), cache)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="without torchrun"):
        dry_run(TINY, cache)


@pytest.mark.parametrize(
    "flags",
    [
        ("--compile",),
        ("--no-deterministic", "--neuron.decay-input"),
        ("--binning.include-incomplete", "--neuron.no-detach-reset"),
        ("--neuron.detach_reset", "--neuron.tau", "1.5"),
    ],
)
def test_boolean_options_need_no_value(flags: tuple[str, ...]):
    arguments = parse_configured(ConfiguredArguments, ["gestures-small", *flags], prog="spikeloom train")
    assert (arguments.preset, arguments.fields.dataset.name) == ("gestures-small", "emulated-gestures")
