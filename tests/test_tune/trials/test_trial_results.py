"""Tables of trials: one row each, numbers as numbers, and no rank for what is not complete."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_rows import begin, rows

from pipeline.config.run_config import RunConfig, fingerprint, override
from preprocess.errors import RunError
from tune.trials.ledger import Ledger
from tune.trials.parquet import write_parquet
from tune.trials.results_tables import collect_epochs, collect_results, differing_fields, read_results, write_results
from tune.trials.trial_ranking import rank

CONFIGS = [
    override(RunConfig(), {"neuron.tau": tau, "neuron.name": name, "schedule.epochs": 3, "input.size": size, "seed": 7})
    for tau, name, size in ((1.5, "lif", None), (2.0, "clif", 16), (3.0, "clif", 16), (4.0, "lif", None))
]
FIELDS = ["neuron.tau", "neuron.name", "input.size"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path)
    measured = ([row | {"energy_uj": 2.5} for row in rows(0.2, 0.5, 0.4)], rows(0.1), rows(0.9, 0.3))
    for config, metrics in zip(CONFIGS, measured, strict=False):
        begin(ledger, config, metrics)
    ledger.end(CONFIGS[0], "done")
    ledger.end(CONFIGS[1], "failed", "loss is not a number")
    write_results(tmp_path, CONFIGS, FIELDS)
    return tmp_path


def test_one_row_a_trial_with_every_searched_field(folder: Path):
    assert (folder / "results.csv").read_text() == (
        "trial,status,neuron.tau,neuron.name,input.size,seed,epochs,validation_accuracy,test_accuracy,firing_rate,energy_uj,seconds,micro_batch,"
        "sparse_energy_uj,memory_energy_uj,effective_macs,effective_acs,connection_sparsity,footprint_bytes\n"
        f"{fingerprint(CONFIGS[0])},done,1.5,lif,,7,3,0.5,,0.1,2.5,4.5,,,,,,,\n"
        f"{fingerprint(CONFIGS[1])},failed,2.0,clif,16,7,1,0.1,,0.0,,1.5,,,,,,,\n"
        f"{fingerprint(CONFIGS[2])},started,3.0,clif,16,7,2,0.9,,0.0,,,,,,,,,\n"
        f"{fingerprint(CONFIGS[3])},waiting,4.0,lif,,7,,,,,,,,,,,,,\n"
    )
    epochs = (folder / "epochs.csv").read_text().splitlines()
    assert epochs[0] == (
        "trial,neuron.tau,neuron.name,input.size,seed,epoch,validation_accuracy,validation_loss,firing_rate,energy_uj,"
        "epoch_s,ended"
    )
    assert len(epochs) == 1 + 3 + 1 + 2
    assert epochs[2] == f"{fingerprint(CONFIGS[0])},1.5,lif,,7,2,0.5,0.99,0.1,2.5,1.5,"


def test_parquet_holds_the_same_rows_with_numbers_as_numbers_and_none_as_null(folder: Path):
    from pyarrow import parquet

    table = parquet.read_table(folder / "results.parquet")
    assert table.to_pylist() == collect_results(folder, CONFIGS, FIELDS)
    assert table.column_names == (folder / "results.csv").read_text().splitlines()[0].split(",")
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert (types["neuron.tau"], types["neuron.name"], types["input.size"]) == ("double", "string", "int64")
    epochs = parquet.read_table(folder / "epochs.parquet")
    rows = collect_epochs(folder, CONFIGS, FIELDS)
    assert epochs.to_pylist() == [{name: row.get(name) for name in epochs.column_names} for row in rows]
    assert len(epochs.filter(epochs["neuron.tau"].to_numpy() == 1.5)) == 3


def test_columns_have_their_types_before_the_first_value(tmp_path: Path):
    """So that the tables of searches that measured other things join."""
    from pyarrow import parquet

    write_results(tmp_path, CONFIGS, FIELDS)
    schema = parquet.read_schema(tmp_path / "results.parquet")
    assert str(schema.field("energy_uj").type) == str(schema.field("test_accuracy").type) == "double"
    assert str(schema.field("epochs").type) == str(schema.field("micro_batch").type) == "int64"
    empty = parquet.read_table(tmp_path / "epochs.parquet")
    assert (empty.num_rows, empty.column_names) == (0, ["trial", *FIELDS, "seed", "epoch"])


def test_field_of_words_and_numbers_is_a_column_of_words(tmp_path: Path):
    from pyarrow import parquet

    write_parquet(tmp_path / "t.parquet", [{"a": 1, "b": 1}, {"a": "x", "b": 2.5}, {"b": None}], ["a", "b"])
    assert parquet.read_table(tmp_path / "t.parquet").to_pydict() == {"a": ["1", "x", None], "b": [1.0, 2.5, None]}


def test_table_that_cannot_be_written_leaves_the_old_one(folder: Path, monkeypatch):
    before = (folder / "results.parquet").read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", refuse)
    with pytest.raises(RunError, match=r"results\.parquet: cannot be written \(No space left on device\)"):
        write_results(folder, CONFIGS, FIELDS)
    assert (folder / "results.parquet").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_rows_are_read_back_as_they_were(folder: Path):
    first, failed, started, waiting = read_results(folder)
    assert first["trial"] == fingerprint(CONFIGS[0])
    assert (first["neuron.tau"], first["neuron.name"], first["input.size"], first["epochs"]) == (1.5, "lif", None, 3)
    assert (failed["status"], failed["input.size"], failed["validation_accuracy"]) == ("failed", 16, 0.1)
    assert (started["epochs"], started["seconds"]) == (2, None)
    assert waiting["epochs"] is None


def test_fingerprint_of_digits_alone_stays_a_word(tmp_path: Path):
    (tmp_path / "results.csv").write_text("trial,status,epochs\n123456789012,done,3\n")
    assert read_results(tmp_path) == [{"trial": "123456789012", "status": "done", "epochs": 3}]


def test_missing_table_is_named_with_what_writes_it(tmp_path: Path):
    with pytest.raises(
        RunError,
        match=r"expected the folder of a search or comparison, with results\.csv, found none",
    ):
        read_results(tmp_path)


def test_searched_fields_are_those_that_differ_but_for_the_seed():
    seeds = [override(CONFIGS[0], {"seed": seed}) for seed in (1, 2)]
    assert differing_fields(CONFIGS) == ["input.size", "neuron.name", "neuron.tau"]
    assert differing_fields(seeds) == []


def test_only_complete_trials_are_ranked_and_of_equal_ones_the_cheaper_first():
    def row(name: str, status: str, accuracy: float | None, t: int, rate: float) -> dict[str, object]:
        found = {"trial": name, "status": status, "validation_accuracy": accuracy}
        return found | {"binning.timesteps": t, "firing_rate": rate}

    ranked = rank(
        [
            row("pruned", "pruned", 0.99, 4, 0.1),
            row("late", "done", 0.9, 8, 0.1),
            row("loud", "done", 0.9, 4, 0.3),
            row("started", "started", 0.95, 4, 0.1),
            row("quiet", "done", 0.9, 4, 0.2),
            row("best", "done", 0.91, 12, 0.5),
            row("failed", "failed", 0.98, 4, 0.1),
            row("unvalidated", "done", None, 4, 0.1),
        ]
    )
    assert [found["trial"] for found in ranked] == ["best", "quiet", "loud", "late"]
