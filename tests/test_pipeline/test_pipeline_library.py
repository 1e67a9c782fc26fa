"""What `import pipeline` exports: training with a network object, inference with a trained run, batches time first."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from messages import refuses
from spikingjelly.activation_based import layer, neuron
from tiny_layout import random_events
from tiny_run import TINY, tiny_cache
from torch import nn
from torch.utils.data import DataLoader

import pipeline
from pipeline import FrameDataset, evaluate, load_run, override, time_first_collate, train
from pipeline.commands.runs import _row
from pipeline.commands.tables import print_result
from pipeline.config.run_config import RunConfig
from pipeline.runs.run_folder import open_run
from pipeline.runs.trained_neuron import neuron_title, unused_fields
from pipeline.training.given_network import describe_network
from preprocess import Binning, bin_events, open_events, open_frames
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.errors import ConfigError, RecordingError, RunError
from preprocess.store.cache_file_names import events_path

SHORT = override(TINY, {"schedule.epochs": 2})


class OwnNetwork(nn.Module):
    """A network whose constructor takes what no configuration gives."""

    def __init__(self, hidden: int, classes: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            layer.Conv2d(2, hidden, 3, step_mode="m"),
            neuron.LIFNode(step_mode="m"),
            layer.Flatten(step_mode="m"),
            layer.Linear(hidden * 14 * 14, classes, step_mode="m"),
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(frames)
        return logits


class IgnoresNeuron(OwnNetwork):
    def __init__(self) -> None:
        super().__init__(hidden=4)


class UsesNeuron(OwnNetwork):
    def __init__(self, make_neuron: Callable[[], nn.Module]) -> None:
        super().__init__(hidden=4)
        self.layers[1] = make_neuron()


class MeanNetwork(OwnNetwork):
    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return super().forward(frames).mean(0)


def own_network(hidden: int = 4) -> OwnNetwork:
    torch.manual_seed(1)
    return OwnNetwork(hidden)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(SHORT, out=folder, cache=cache)
    return folder


def test_import_loads_no_torch() -> None:
    code = "import sys, pipeline; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'spikingjelly')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_exported_name_is_there() -> None:
    assert all(hasattr(pipeline, name) and name in dir(pipeline) for name in pipeline.__all__)


def test_train_returns_the_content_of_its_result(run: Path, cache: Path) -> None:
    result = train(SHORT, out=run, cache=cache)
    written = json.loads((run / "result.json").read_text())
    assert result.folder == run and result.classes == ("class0", "class1", "class2")
    assert {name: getattr(result, name) for name in written if name != "classes"} == {
        name: value for name, value in written.items() if name != "classes"
    }
    assert evaluate(run).test_accuracy == result.test_accuracy
    assert set(evaluate(run, timesteps=[2]).accuracy_by_timesteps) == {2, 3}


def test_an_object_is_trained_recorded_and_resumed(cache: Path, tmp_path: Path) -> None:
    network, seen = own_network(), []
    before = {name: value.clone() for name, value in network.state_dict().items()}

    class Stop(Exception):
        pass

    def stop(row: object, timing: object) -> None:
        seen.append(row)
        raise Stop

    with pytest.raises(Stop):
        train(SHORT, network, out=tmp_path / "run", cache=cache, on_epoch=stop)
    assert len(seen) == 1 and any(not torch.equal(before[name], v) for name, v in network.state_dict().items())
    result = train(SHORT, own_network(), out=tmp_path / "run", cache=cache)
    at_once = train(SHORT, own_network(), out=tmp_path / "other", cache=cache)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("run", "other")]
    assert lines[0] == lines[1] and result.test_accuracy == at_once.test_accuracy
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["network"]["name"] == f"{Path(__file__).absolute()}:OwnNetwork"
    outside = json.loads((tmp_path / "run" / "environment.json").read_text())["outside"]
    assert outside["network.name"]["file"] == str(Path(__file__)) and len(outside["network.name"]["sha256"]) == 64
    loaded = load_run(tmp_path / "run", network=OwnNetwork(4))
    assert loaded.predict(np.ones((3, 2, 16, 16), int))[0].name in result.classes
    weights = "layers.0.weight of shape"
    with refuses(RunError, where="best.pt", expected=f"{weights} (4,", found=f"{weights} (5,", remedy="network="):
        load_run(tmp_path / "run", network=OwnNetwork(5))
    with refuses(ConfigError, where="network.name", expected="OwnNetwork", found="hidden", remedy="network="):
        load_run(tmp_path / "run")
    with refuses(ConfigError, where="network.name", found="hidden"):
        evaluate(tmp_path / "run")
    assert evaluate(tmp_path / "run", network=OwnNetwork(4)).test_accuracy == result.test_accuracy


def test_a_finished_run_is_reused_only_for_the_same_network(cache: Path, tmp_path: Path, capsys) -> None:
    first, again = own_network(), own_network()
    result = train(SHORT, first, out=tmp_path / "run", cache=cache)
    assert "reused" not in capsys.readouterr().err
    assert train(SHORT, again, out=tmp_path / "run", cache=cache) == result
    assert "already finished; its result is reused" in capsys.readouterr().err
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
    with refuses(RunError, where="run", expected="Conv2d(2, 4,", found="Conv2d(2, 6,", remedy="another out"):
        train(SHORT, own_network(6), out=tmp_path / "run", cache=cache)
    slower = own_network()
    slower.layers[1] = neuron.LIFNode(tau=3.0, step_mode="m")
    with refuses(RunError, where="run", expected="tau=2.0", found="tau=3.0", remedy="another out"):
        train(SHORT, slower, out=tmp_path / "run", cache=cache)
    # Runs of earlier versions only have the shapes of their weights.
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    del environment["network"]
    (tmp_path / "run" / "environment.json").write_text(json.dumps(environment))
    with refuses(RunError, where="best.pt", expected="layers.0.weight of shape (4,", found="(6,"):
        train(SHORT, own_network(6), out=tmp_path / "run", cache=cache)


def test_tables_name_the_neurons_that_a_custom_network_has(cache: Path, tmp_path: Path, capsys) -> None:
    """The configuration's neuron is shown where the network uses it: not of an object, of a class as it is made."""
    own = f"{Path(__file__).absolute()}:"
    names = {"object": None, "ignores": f"{own}IgnoresNeuron", "uses": f"{own}UsesNeuron"}
    for folder, name in names.items():
        changes = {"schedule.epochs": 1, "neuron.name": "clif"} | ({"network.name": name} if name else {})
        train(override(TINY, changes), None if name else own_network(), out=tmp_path / folder, cache=cache)
    rows = {name: _row(open_run(tmp_path / name), tmp_path) for name in names}
    found = {name: (row["network_label"], row["neuron"], row["neuron_title"]) for name, row in rows.items()}
    assert found == {
        "object": ("OwnNetwork", None, "LIFNode"),
        "ignores": ("IgnoresNeuron", None, "LIFNode"),
        "uses": ("UsesNeuron", "clif", "clif, tau 2"),
    }
    energies = {}
    for name in names:
        run = open_run(tmp_path / name)
        assert run.result is not None
        print_result(run.result, run)
        table = capsys.readouterr().out
        assert (("clif" in table) == (name == "uses")) and ("tau" in table) == (name == "uses") and "width" not in table
        energies[name] = run.result["energy"]["macs_per_step"]
    # Six MACs of a CLIF neuron in place of two.
    assert energies["uses"] - energies["ignores"] == 4 * OwnNetwork(4).layers[3].in_features
    assert {path.partition(".")[0] for path in unused_fields(run.config, {"network": ""})} == {"network", "neuron"}
    # Earlier versions did not record it, and only knew the classes.
    old = {key: value for key, value in run.environment.items() if key != "configured_neuron"}
    assert neuron_title(run.config, old) == "CLIFNode"


def test_a_network_with_learned_settings_is_the_same_after_training() -> None:
    network = nn.Sequential(neuron.ParametricLIFNode(init_tau=3.0, step_mode="m"))
    before = describe_network(network)
    with torch.no_grad():
        network[0].w.add_(1.0)
    assert describe_network(network) == before and network[0].w.item() > 0


@pytest.mark.slow
@pytest.mark.preloaded
def test_an_object_typed_into_an_interpreter_is_trained(cache: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent.parent)]!r}
from tiny_run import TINY
from torch import nn
from pipeline import load_run, override, train
from spikingjelly.activation_based import layer
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(layer.Flatten(step_mode="m"), layer.Linear(512, 3, step_mode="m"))
config = override(TINY, {{"schedule.epochs": 1}})
train(config, Net(), out={str(tmp_path / "run")!r}, cache={str(cache)!r})
print(load_run({str(tmp_path / "run")!r}).config.network.name)
"""
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "__main__:Net"


def test_an_object_that_returns_something_else_is_refused(cache: Path, tmp_path: Path) -> None:
    with refuses(ConfigError, where="network.name", found="(2, 3)"):
        train(SHORT, MeanNetwork(2), out=tmp_path / "run", cache=cache)
    assert not (tmp_path / "run").exists()
    with refuses(ConfigError, where="network", expected="torch.nn.Module", found="str"):
        train(SHORT, "vgg", out=tmp_path / "run", cache=cache)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"binning.split_by": "duration", "binning.duration_us": 30_000},
        {"loss.last_steps": 2, "input.encoding": "binary", "input.size": 12, "binning.downsample": 2},
    ],
    ids=["plain", "varying T", "encoded"],
)
def test_a_loaded_run_predicts_what_evaluate_measures(cache: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    config = override(TINY, {"schedule.epochs": 1} | changes)
    train(config, out=tmp_path / "run", cache=cache)
    store = open_events(events_path(cache, "tiny"))
    numbers = [int(i) for i in np.flatnonzero(store.samples.split == 1)]
    trained = load_run(tmp_path / "run")
    assert trained.sensor == (16, 16) and trained.classes == store.classes and not trained.network.training
    with np.load(tmp_path / "run" / "predictions.npz") as written:
        expected, names = written["logits"].argmax(1), written["name"]
    found = trained.predict(store.read(i) for i in numbers)
    assert names.tolist() == store.samples.name[numbers].tolist()
    assert [prediction.label for prediction in found] == expected.tolist()
    assert found[0].name == store.classes[found[0].label] and 1 / 3 <= found[0].confidence <= 1
    one = trained.predict(store.read(numbers[0]))[0]
    np.testing.assert_allclose(one.logits, found[0].logits, atol=1e-5)
    counts = bin_events(store.read(numbers[0]), config.binning)
    np.testing.assert_allclose(trained.predict(counts)[0].logits, one.logits, atol=1e-5)
    assert trained.transform(store.read(numbers[0])).shape[:2] == (len(counts), 2)


def test_a_run_of_an_earlier_version_takes_its_form_from_the_cache(run: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    del environment["input"]
    (tmp_path / "run" / "environment.json").write_text(json.dumps(environment))
    assert load_run(tmp_path / "run").sensor == (16, 16)
    (tmp_path / "run" / "environment.json").write_text(json.dumps(environment | {"input": {"sensor_height": 3}}))
    with refuses(RunError, where="environment.json", remedy="Restore"):
        load_run(tmp_path / "run")


def test_input_of_another_form_is_refused(run: Path) -> None:
    trained = load_run(run)
    with refuses(RecordingError, where="events", expected="16x16", found="8x10"):
        trained.predict(random_events(1))
    with refuses(RecordingError, where="frames", expected="(2, 16, 16)", found="(3, 2, 8, 8)"):
        trained.predict(torch.zeros(3, 2, 8, 8))
    frames = np.ones((3, 2, 16, 16))
    assert len(trained.predict(frames)) == 1
    for wrong in (frames[:2], np.ones((3, 5, 2, 16, 16))):
        with refuses(RecordingError, where="frames", expected="(3, 2, H, W)", found=str(wrong.shape)):
            trained.predict(wrong)
    for values in (frames / 255, -frames, np.full_like(frames, np.nan), np.full_like(frames, np.inf)):
        with refuses(RecordingError, where="frames", expected="whole", remedy="without scaling"):
            trained.predict(values)


@pytest.mark.parametrize("wrong", [[np.ones((3, 2, 16, 16), int)], "file.aedat", None, Path("file.aedat")])
def test_what_is_not_events_is_refused(run: Path, wrong: object) -> None:
    with refuses(RecordingError, where="samples", expected="Events", remedy="read_events"):
        load_run(run).predict(wrong)  # type: ignore[arg-type]


def test_an_event_store_is_not_a_sample(run: Path, cache: Path) -> None:
    with refuses(RecordingError, where="samples", expected="Events", remedy="read(number)"):
        load_run(run).predict(open_events(events_path(cache, "tiny")))  # type: ignore[arg-type]


def test_batches_have_time_first(cache: Path) -> None:
    frames = open_frames(ensure_frames(cache, "tiny", Binning(timesteps=3)))
    x, y = next(iter(DataLoader(FrameDataset(frames), batch_size=5, collate_fn=time_first_collate)))
    assert x.shape == (3, 5, 2, 16, 16) and y.dtype == torch.int64 and y.tolist() == [0, 1, 2, 0, 1]


def test_a_preset_is_named(cache: Path, tmp_path: Path) -> None:
    assert isinstance(pipeline.find_preset("n-mnist-small").config, RunConfig)
    with refuses(ConfigError, where="preset", expected="lists", found="'n-mnist-smal'", remedy="n-mnist-small"):
        train("n-mnist-smal", out=tmp_path / "run", cache=cache)
    with refuses(ConfigError, where="config", expected="RunConfig", found="dict", remedy="override"):
        train({"schedule.epochs": 1}, out=tmp_path / "run", cache=cache)  # type: ignore[arg-type]
