"""Targets for the files of a run: its configuration, records, predictions and checkpoints."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from tiny_run import TINY

from pipeline.commands.runs import collect_rows, print_table
from pipeline.config.run_config import RunConfig, fingerprint, from_dict, load_config, override, to_dict
from pipeline.runs.run_folder import open_run
from preprocess.files import write_json
from tests.test_tune.made_up import CONFIG, write_run
from tune.comparison.run_validation import check_run
from tune.comparison.sample_predictions import read_correct
from tune.report.page import read_report

from .mutators import edit_json, edit_zip, set_number
from .target import Target

_CONFIG = replace(CONFIG, selection="validation")
_RECORDS = ("config.json", "metrics.jsonl", "timings.jsonl", "result.json", "environment.json")


def run_targets() -> Iterator[Target]:
    """A target for each file of a run."""
    yield Target("configuration", "a.json", _configurations, _read_configuration, mutators=(edit_json,))
    for file in _RECORDS:
        yield Target(
            f"run-{Path(file).stem}",
            f"run/{file}",
            partial(_contents_of, file),
            _read_run,
            prepare=_write_run,
            mutators=(edit_json, edit_json, set_number),
        )
    # Drawing a page takes a hundred times as long as reading what it draws.
    yield Target(
        "report-of-result", "run/result.json", partial(_contents_of, "result.json"), _report, _write_run, (edit_json,)
    )
    yield Target(
        "report-of-metrics",
        "run/metrics.jsonl",
        partial(_contents_of, "metrics.jsonl"),
        _report,
        _write_run,
        (edit_json,),
    )
    yield Target(
        "predictions",
        "run/predictions.npz",
        partial(_contents_of, "predictions.npz"),
        _read_predictions,
        _write_run,
        (edit_zip,),
    )
    yield Target("checkpoint", "checkpoint.pt", _checkpoints, _read_checkpoint, mutators=(edit_zip, edit_state))
    yield Target("weights", "best.pt", _weights, _read_weights, mutators=(edit_zip, edit_state))


def _configurations(folder: Path) -> Iterator[bytes]:
    every = override(TINY, {"neuron.name": "clif", "binning.split_by": "duration", "binning.duration_us": 10_000})
    for config in (RunConfig(), TINY, every):
        yield json.dumps(to_dict(config)).encode()
    yield json.dumps({"config": to_dict(TINY), "search": {"name": "x"}}).encode()
    yield b'{"neuron": {"tau": 3}, "schedule.epochs": 2}'


def _read_configuration(path: Path) -> None:
    config = load_config(path)
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert fingerprint(again) == fingerprint(config) and to_dict(again) == to_dict(config)
    titles = (config.dataset.split_title, config.neuron.title, config.binning.steps_title, config.batches_per_epoch(99))
    assert all(str(title) for title in titles)


def _write_run(folder: Path) -> None:
    write_run(folder / "run", _CONFIG)
    environment = json.loads((folder / "run" / "environment.json").read_text())
    write_json(
        folder / "run" / "environment.json", environment | {"host": "a", "earlier": [{"threads": 2}], "outside": {}}
    )


def _contents_of(file: str, folder: Path) -> Iterator[bytes]:
    _write_run(folder)
    yield (folder / "run" / file).read_bytes()


def _read_run(path: Path) -> None:
    """What `runs` prints, and what `compare` checks."""
    rows, left_out = collect_rows(path.parent.parent)
    assert len(rows) + bool(left_out) == 1 or path.name == "environment.json"
    assert all(len(line.splitlines()) == 1 for line in left_out)
    json.dumps(rows)
    with printed():
        print_table(rows)
    check_run(open_run(path.parent), _CONFIG)


def _report(path: Path) -> None:
    read_report(path.parent)


def _read_predictions(path: Path) -> None:
    check_run(open_run(path.parent), _CONFIG)
    found = read_correct([path.parent])
    assert found.correct.shape == (1, len(found.names))


class printed:
    """Standard output as a terminal of UTF-8 accepts it, which is discarded."""

    def __enter__(self) -> None:
        self._before = sys.stdout
        sys.stdout = io.TextIOWrapper(io.BytesIO(), "utf-8")

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        sys.stdout = self._before


def _learner() -> Any:
    """A small network in training, whose optimiser has a state."""
    import torch
    from torch import nn

    from pipeline.runtime.distributed import Group
    from pipeline.training.learner import Learner

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    config = override(TINY, {"optimiser.ema_decay": 0.9, "optimiser.momentum": 0.9, "precision": "fp32"})
    learner = Learner(config, network, torch.device("cpu"), Group())
    _step(learner)
    return learner


def _step(learner: Any) -> None:
    import torch

    learner.update(learner.network(torch.ones(5, 3)).square().mean())


@cache
def _states() -> tuple[bytes, bytes]:
    """The contents of checkpoint.pt and best.pt."""
    import tempfile

    from pipeline.runs.checkpoint import Best, Checkpoint, random_states, save_checkpoint, save_weights

    learner = _learner()
    state = Checkpoint("0" * 12, "1" * 32, 2, 1, **learner.state(), best=Best(1, 0.5, 1.0), random=random_states())
    with tempfile.TemporaryDirectory() as name:
        save_checkpoint(Path(name) / "checkpoint.pt", state)
        save_weights(Path(name) / "best.pt", learner.network, 2)
        return (Path(name) / "checkpoint.pt").read_bytes(), (Path(name) / "best.pt").read_bytes()


def _checkpoints(folder: Path) -> Iterator[bytes]:
    yield _states()[0]


def _weights(folder: Path) -> Iterator[bytes]:
    yield _states()[1]


def _read_checkpoint(path: Path) -> None:
    """Resume: the state is restored, and the next step does not fail because of it."""
    from pipeline.runs.checkpoint import load_checkpoint
    from pipeline.training.resume import restore_learner

    state = load_checkpoint(path)
    assert state.best.is_beaten_by(2.0, 0.0)
    learner = _learner()
    restore_learner(learner, state, path.parent)
    _step(learner)


def _read_weights(path: Path) -> None:
    from torch import nn

    from pipeline.runs.checkpoint import load_weights

    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert isinstance(load_weights(path, network), int)


def edit_state(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Change a value in a file of torch.save, whose structure stays intact."""
    import torch

    try:
        state = torch.load(io.BytesIO(bytes(content)), weights_only=True)
    except Exception:  # whatever torch raises for damaged files
        return content
    places: list[tuple[Any, Any]] = []
    waiting = [state]
    while waiting:
        item = waiting.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        places += [(item, key) for key in keys]
        waiting += [item[key] for key in keys]
    if not places:
        return content
    above, key = places[rng.integers(len(places))]
    made = io.BytesIO()
    try:
        if rng.integers(6) == 0:
            del above[key]
        else:
            odd = _ODD + _odd_tensors(above[key])
            above[key] = odd[rng.integers(len(odd))]
        torch.save(state, made)
    except Exception:  # what torch cannot convert or save
        return content
    return bytearray(made.getvalue())


_ODD: list[Any] = [None, True, -1, 0, 2**63, 0.5, float("nan"), "x", [], {}, {"x": 1}]


def _odd_tensors(old: Any) -> list[Any]:
    """Tensors in place of a value, which have another shape, type or layout if it is a tensor."""
    import torch

    odd = [torch.zeros(0), torch.ones(2, 3)]
    if isinstance(old, torch.Tensor):
        odd += [old.double(), old[None], old.flatten()[:1], old.to(torch.complex64), old.to_sparse(), old.to("meta")]
        odd += [old.bool(), torch.full_like(old, 1).expand(old.shape), old.to(torch.float16)]
    return odd
