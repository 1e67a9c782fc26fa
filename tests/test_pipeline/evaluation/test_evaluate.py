"""spikeloom evaluate: intervals, accuracy of the first t steps, accuracy at other T, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from tiny_run import TINY, tiny_cache

from pipeline.cli import COMMANDS
from pipeline.commands.plots import draw_latency
from pipeline.config.run_config import NeuronConfig, RunConfig, override, to_dict
from pipeline.data.dataset import FrameDataset
from pipeline.data.padding import step_mask
from pipeline.data.run_data import RunData, open_data
from pipeline.evaluation.accuracy_over_time import correct_by_step, looks_ahead
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.evaluation.finished_run import evaluate_test, load_selected
from pipeline.evaluation.losses import predict
from pipeline.evaluation.wilson_interval import accuracy_interval
from pipeline.networks import build_network, reset_network
from pipeline.neurons import make_neuron
from pipeline.neurons.make_neuron import NEURONS
from pipeline.runs.checkpoint import load_weights
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.binning.binning_config import Binning
from preprocess.terminal.command_line import run_main

# Reaches about 22 of 36 test samples, more with each step.
CHANGES = {"binning.timesteps": 5, "network.width": 0.25, "schedule.epochs": 8, "seed": 8}
CONFIG = override(TINY, CHANGES)


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def trained(cache: Path) -> Path:
    folder = cache.parent / "trained"
    train_run(CONFIG, folder, cache)
    return folder


@pytest.fixture(scope="module")
def bound(cache: Path) -> Path:
    """A run of the parallel spiking neuron."""
    folder = cache.parent / "bound"
    train_run(override(CONFIG, {"neuron.name": "psn", "schedule.epochs": 1}), folder, cache)
    return folder


def network_of(folder: Path, data: RunData) -> torch.nn.Module:
    network = build_network(
        CONFIG.network, CONFIG.neuron, channels=2, classes=3, size=(16, 16), timesteps=data.frames.timesteps, seed=1
    )
    load_weights(folder / "best.pt", network)
    return network.eval()


def plain_accuracy(network: torch.nn.Module, data: RunData, steps: int) -> float:
    """Sample by sample, and no step behind `steps` is ever computed."""
    right = 0
    for frames, label in FrameDataset(data.frames, data.splits.test):
        with torch.no_grad():
            logits = network(frames[:steps, None])
        reset_network(network)
        right += int(sum(logits).argmax()) == label
    return right / len(data.splits.test)


@pytest.mark.parametrize(("correct", "samples"), [(98, 100), (0, 7), (7, 7), (1, 2), (281, 288)])
def test_the_interval_is_wilsons_as_in_scipy(correct: int, samples: int):
    theirs = scipy.stats.binomtest(correct, samples).proportion_ci(confidence_level=0.95, method="wilson")
    assert accuracy_interval(correct, samples) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_rows_of_the_confusion_matrix_are_true_classes():
    labels = np.array([0, 0, 0, 1, 2])
    logits = np.eye(4, dtype=np.float32)[[0, 1, 1, 1, 0]]
    found = Evaluation(1.0, labels, logits, {}, 0.1, None, {})
    assert found.confusion().tolist() == [[1, 2, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert found.per_class_accuracy() == [1 / 3, 1.0, 0.0, None]


@pytest.mark.parametrize("lengths", [None, [6, 1, 3, 5, 2, 6, 4, 3] * 5], ids=["fixed", "varying"])
def test_correct_by_step_is_what_a_plain_loop_counts(lengths: list[int] | None):
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(6, 40, 4, generator=generator)
    labels = torch.randint(4, (40,), generator=generator)
    mask = None if lengths is None else step_mask(torch.tensor(lengths), 6)
    expected = []
    for t in range(1, 7):
        right = 0
        for b in range(40):
            end = t if lengths is None else min(t, lengths[b])
            right += int(logits[:end, b].sum(0).argmax()) == int(labels[b])
        expected.append(right)
    found = correct_by_step(logits, labels, mask)
    assert found.dtype == torch.int64 and found.tolist() == expected and len(set(expected)) > 2
    assert found[-1] == (predict(logits, mask) == labels).sum()


def test_padding_that_is_not_finite_never_counts():
    logits = torch.zeros(3, 1, 2)
    logits[0, 0, 1], logits[1:] = 1.0, float("nan")
    assert correct_by_step(logits, torch.tensor([1]), step_mask(torch.tensor([1]), 3)).tolist() == [1, 1, 1]


def test_the_latency_curve_is_what_networks_reach_that_see_the_first_steps_alone(trained: Path, cache: Path):
    data = open_data(CONFIG, cache)
    network = network_of(trained, data)
    result = open_run(trained).result
    assert result is not None
    curve = result["latency_curve"]
    assert curve == [plain_accuracy(network, data, t) for t in range(1, 6)]
    assert curve[-1] == result["test_accuracy"] and len(set(curve)) > 1
    assert result["test_accuracy_low"] < result["test_accuracy"] < result["test_accuracy_high"]


def test_where_t_varies_samples_keep_their_own_last_prediction(trained: Path, cache: Path):
    config = replace(CONFIG, binning=Binning(split_by="event_count", event_count=90, include_incomplete=True))
    data = open_data(config, cache)
    # Lengths that differ, of samples that are equally long.
    lengths = np.arange(len(data.frames)) % 3 + 2
    data.frames.lengths = lengths
    there = replace(open_run(trained), config=config)
    device = torch.device("cpu")
    network, _ = load_selected(there, data, device)
    found = evaluate_test(there, network.eval(), data, device)
    expected = []
    for t in range(1, data.frames.timesteps + 1):
        right = 0
        for i in data.splits.test:
            frames, label = FrameDataset(data.frames)[int(i)]
            with torch.no_grad():
                logits = network(frames[: min(t, lengths[i]), None])
            reset_network(network)
            right += int(logits.sum(0).argmax()) == label
        expected.append(right)
    assert found.correct_by_step is not None
    assert found.correct_by_step.tolist() == expected and len(set(expected)) > 1
    assert found.correct_by_step[-1] == found.correct


def test_other_timesteps_evaluate_the_same_weights_on_samples_binned_anew(trained: Path, cache: Path, capsys):
    built = cache / "tiny" / "frames" / "number-T2-16x16.h5"
    built.unlink(missing_ok=True)
    assert run("evaluate", trained, "--timesteps", 12, 2, 12, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    reached = result["accuracy_by_timesteps"]
    assert list(reached) == ["2", "5", "12"] and built.is_file()
    for steps in (2, 12):
        data = open_data(override(CONFIG, {"binning.timesteps": steps}), cache)
        assert reached[str(steps)] == plain_accuracy(network_of(trained, data), data, steps)
    assert reached["5"] == result["test_accuracy"]
    # Cutting samples of the trained T would be another figure, which the curve has.
    assert reached["2"] != result["latency_curve"][1]
    assert json.loads((trained / "evaluation.json").read_text()) == result


def test_evaluate_prints_interval_curve_and_a_row_for_the_trained_t(trained: Path, capsys):
    result = open_run(trained).result
    assert result is not None
    assert run("evaluate", trained, "--timesteps", 2) == 0
    out = capsys.readouterr().out
    low, high = 100 * result["test_accuracy_low"], 100 * result["test_accuracy_high"]
    assert f"({result['correct']} of 36; 95 % interval {low:.1f} to {high:.1f})" in out
    assert "5 (trained)" in out and "2 (trained)" not in out and "latency.png" in out
    assert (trained / "latency.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object_and_nothing_else_on_stdout(trained: Path, cache: Path, capsys):
    (cache / "tiny" / "frames" / "number-T7-16x16.h5").unlink(missing_ok=True)
    assert run("evaluate", trained, "--timesteps", 7, "--json") == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    keys = {"test_accuracy_low", "test_accuracy_high", "per_class_accuracy", "confusion", "firing_rates"}
    assert keys | {"latency_curve", "accuracy_by_timesteps"} <= set(json.loads(out))


def test_gradient_steps_do_not_keep_a_run_from_fewer_timesteps(cache: Path, tmp_path: Path, capsys):
    train_run(override(CONFIG, {"grad_steps": 4, "schedule.epochs": 1}), tmp_path / "run", cache)
    assert run("evaluate", tmp_path / "run", "--timesteps", 2, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["accuracy_by_timesteps"]) == {"2", "5"}


def test_weights_of_single_steps_are_told_and_no_other_t_is_evaluated(bound: Path, capsys):
    words = "'psn' has weights for each of its 5 steps, so only T = 5 can be evaluated"
    assert run("evaluate", bound, "--timesteps", 5, 8) == 2
    printed = capsys.readouterr()
    assert printed.err == f"spikeloom: --timesteps: {words}\n" and printed.out == ""
    assert run("evaluate", bound) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert words in out and "'psn' computes each time step from all of them" in out
    assert run("evaluate", bound, "--timesteps", 5, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy_by_timesteps"] == {"5": result["test_accuracy"]} and result["latency_curve"] is None


def test_early_spikes_of_the_parallel_neuron_alone_depend_on_later_input():
    """Why it has no latency curve."""
    torch.manual_seed(1)
    x = torch.randn(5, 400)
    changed = torch.cat([x[:4], -3 * x[4:]])
    moved = set()
    for name in NEURONS:
        neuron = make_neuron(NeuronConfig(name=name, timesteps=5))
        with torch.no_grad():
            first = neuron(x)
            reset_network(neuron)
            second = neuron(changed)
        assert not torch.equal(first[4], second[4])
        if not torch.equal(first[:4], second[:4]):
            moved.add(name)
            assert looks_ahead(torch.nn.Sequential(neuron))
        else:
            assert not looks_ahead(torch.nn.Sequential(neuron))
    assert moved == {"psn"}


def test_a_run_whose_t_varies_has_no_other_t(trained: Path, tmp_path: Path, capsys):
    (tmp_path / "run").mkdir()
    config = replace(CONFIG, binning=Binning(split_by="duration", duration_us=10_000))
    (tmp_path / "run" / "config.json").write_text(json.dumps(to_dict(config)))
    assert run("evaluate", tmp_path / "run", "--timesteps", 4) == 2
    expected = "--timesteps: expected a run with a fixed T, found one whose samples have T by duration-10000us"
    assert capsys.readouterr().err == f"spikeloom: {expected}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("0", "4"), "--timesteps: expected at least 1, found 0"),
        (("-3",), "--timesteps: expected at least 1, found -3"),
        (("x",), "--timesteps"),
        (("2.5",), "--timesteps"),
    ],
)
def test_faulty_timesteps_are_one_line_and_write_nothing(trained: Path, words: tuple[str, ...], message: str, capsys):
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    assert run("evaluate", trained, "--timesteps", *words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.splitlines()) == 1 and printed.out == ""
    assert {path: path.stat().st_mtime_ns for path in trained.iterdir()} == before


def test_a_network_of_ones_own_that_fits_one_t_is_one_line(cache: Path, tmp_path: Path, capsys):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Mine(torch.nn.Module):\n"
        "    def __init__(self, timesteps, classes, make_neuron):\n"
        "        super().__init__()\n"
        "        self.linear = torch.nn.Linear(512, classes)\n"
        "        self.neuron = make_neuron()\n"
        "        self.of_step = torch.nn.Parameter(torch.ones(timesteps))\n"
        "    def forward(self, x):\n"
        "        return self.neuron(self.linear(x.flatten(2))) * self.of_step[:, None, None]\n"
    )
    config = override(CONFIG, {"network.name": f"{tmp_path}/mine.py:Mine", "schedule.epochs": 1})
    train_run(config, tmp_path / "run", cache)
    assert run("evaluate", tmp_path / "run", "--timesteps", 2) == 2
    error = capsys.readouterr().err
    assert "--timesteps: the weights of this run do not fit T = 2" in error and len(error.splitlines()) == 1


def test_a_result_of_an_older_version_has_no_interval_and_is_printed(trained: Path, capsys):
    from pipeline.commands.tables import print_result

    there = open_run(trained)
    assert there.result is not None
    old = {name: value for name, value in there.result.items() if not name.startswith("test_accuracy_")}
    print_result(old, there)
    out = capsys.readouterr().out
    assert f"({old['correct']} of 36)" in out and "interval" not in out


def test_without_anything_to_draw_no_picture_of_an_earlier_evaluation_stays(tmp_path: Path):
    result: dict[str, Any] = {"latency_curve": [0.5, 0.75], "test_samples": 8, "timesteps": 2, "classes": ["a", "b"]}
    result |= {"dataset": "tiny", "emulated": False, "split": "official"}
    picture = tmp_path / "latency.png"
    assert draw_latency(picture, result) and picture.is_file()
    assert not draw_latency(picture, result | {"latency_curve": None}) and not picture.exists()
    assert draw_latency(picture, result | {"latency_curve": None, "accuracy_by_timesteps": {"4": 1.0}})


def test_the_pass_leaves_a_network_in_training_mode_as_it_was(trained: Path, cache: Path):
    from pipeline.data.loader import FrameLoader

    config: RunConfig = CONFIG
    data = open_data(config, cache)
    network = network_of(trained, data).train()
    loader = FrameLoader(data.frames, data.splits.test, 8, config.input, torch.device("cpu"))
    evaluate(network, loader, config.loss)
    assert network.training


def test_operations_are_counted_in_a_few_batches_of_all_samples(trained: Path, cache: Path):
    from pipeline.cost.operations import count_run_operations
    from pipeline.data.loader import FrameLoader

    data = open_data(CONFIG, cache)
    network = network_of(trained, data)
    cpu = torch.device("cpu")
    operations = count_run_operations(CONFIG, network, (16, 16), data.frames.timesteps, cpu)

    def found(indices: np.ndarray[Any, Any], counted_batches: int | None) -> Any:
        loader = FrameLoader(data.frames, indices, 8, CONFIG.input, cpu)
        return evaluate(network, loader, CONFIG.loss, operations, counted_batches)

    test = data.splits.test[:36]
    whole, two = found(test, None), found(test, 2)
    assert found(test, 5).synapses == whole.synapses
    # Five batches: the first and the fourth are two that lie evenly.
    assert two.synapses == found(test[[*range(8), *range(24, 32)]], None).synapses != whole.synapses
    assert two.accuracy == whole.accuracy and two.firing_rate == whole.firing_rate
