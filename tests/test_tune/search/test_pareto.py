"""The Pareto front, beside a slow twin that asks of every pair."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runs.result_json import COST_COLUMNS
from tune.search.pareto import OBJECTIVES, pareto_front

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "validation_accuracy": st.integers(0, 4) | st.none(),
            "energy_uj": st.integers(0, 4) | st.none(),
            "binning.timesteps": st.integers(1, 3),
            "firing_rate": st.integers(0, 2),
            **{name: st.integers(0, 2) for name in COST_COLUMNS if name != "energy_uj"},
        }
    ),
    max_size=12,
)


def is_beaten(row: dict[str, Any], rows: list[dict[str, Any]], objectives: tuple[str, ...]) -> bool:
    for other in rows:
        pairs = [(row[OBJECTIVES[o][0]], other[OBJECTIVES[o][0]], OBJECTIVES[o][1]) for o in objectives]
        if any(b is None for _, b, _ in pairs):
            continue
        if all((b - a) * sign >= 0 for a, b, sign in pairs) and any(a != b for a, b, _ in pairs):
            return True
    return False


@given(ROWS, st.sampled_from([("accuracy", "energy"), ("accuracy",), tuple(OBJECTIVES)]))
def test_front_holds_what_no_other_row_beats(rows: list[dict[str, Any]], objectives: tuple[str, ...]):
    whole = [row for row in rows if all(row[OBJECTIVES[o][0]] is not None for o in objectives)]
    expected = [row for row in whole if not is_beaten(row, rows, objectives)]
    assert pareto_front(rows, objectives) == expected


def test_equal_rows_are_both_on_the_front():
    row = {"validation_accuracy": 0.9, "energy_uj": 1.0, "binning.timesteps": 4, "firing_rate": 0.1}
    assert pareto_front([row, dict(row)], ("accuracy", "energy")) == [row, row]


def test_every_cost_of_an_inference_is_an_objective():
    columns = {column for column, _ in OBJECTIVES.values()}
    assert set(COST_COLUMNS) < columns
    # Less is better, except of what is sparse.
    assert {name for name, (_, sign) in OBJECTIVES.items() if sign > 0} == {"accuracy", "connection-sparsity"}
