"""The list of mutants fits the sources, and what runs them tells a test that notices a defect from others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mutants.every_mutant import MUTANTS
from mutants.mutant import Mutant
from mutants.mutation_run import find_obstacle

REPOSITORY = Path(__file__).resolve().parent.parent
FEWEST = 45

RUN = """
import json, sys
from pathlib import Path
from tests.mutants.mutant import Mutant
from tests.mutants.mutation_run import run_mutants
given = json.loads(sys.stdin.read())
mutants = [Mutant(**mutant) for mutant in given.pop("mutants")]
outcomes = run_mutants(mutants, root=Path(given.pop("root")), **given)
print(json.dumps({outcome.mutant.title: [outcome.state, outcome.details] for outcome in outcomes}))
"""

ADDING = """
def add(a, b):
    return a + b  # a sum


def count(n):
    found = 0
    while found < n:
        found += 1
    return found
"""
TESTS_OF_ADDING = """
import os

import pytest
from preprocess.adding import add, count

def test_sum():
    assert add(2, 3) == 5

@pytest.mark.parametrize("n", [0, 3])
def test_count(n):
    assert count(n) == n

def test_that_fails():
    assert add(2, 3) == 6

@pytest.mark.skip
def test_that_is_skipped():
    pass
"""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.title)
def test_every_mutant_fits_the_sources(mutant: Mutant):
    """Its text occurs exactly once, its tests exist, and the file with the defect is still Python."""
    assert find_obstacle(mutant) == ""
    assert mutant.text != mutant.replacement
    compile(mutant.source(REPOSITORY), mutant.file, "exec")


def test_there_are_enough_mutants_and_each_has_a_title_of_its_own():
    assert len(MUTANTS) >= FEWEST
    assert [title for title, count in Counter(mutant.title for mutant in MUTANTS).items() if count > 1] == []


def run(mutants: list[Mutant], root: Path, **options: object) -> dict[str, list[str]]:
    """The state and the details of each mutant by its title, from a process that has loaded none of the packages."""
    given = {"mutants": [vars(mutant) for mutant in mutants], "root": str(root), **options}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    for folder in ("preprocess", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "preprocess" / "__init__.py").touch()
    (tmp_path / "preprocess" / "adding.py").write_text(ADDING)
    (tmp_path / "tests" / "test_adding.py").write_text(TESTS_OF_ADDING)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    return tmp_path


def mutant(title: str, text: str, replacement: str, *tests: str) -> Mutant:
    names = tuple(f"tests/test_adding.py::{test}" for test in tests)
    return Mutant(title, "preprocess/adding.py", text, replacement, names)


def test_each_state_is_told_apart(small_repository: Path):
    mutants = [
        mutant("caught", "a + b", "a - b", "test_sum"),
        mutant("caught by one of two", "a + b", "a - b", "test_count", "test_sum"),
        mutant("survives", "# a sum", "# the sum", "test_sum", "test_count"),
        mutant("survives, because its test is another's", "a + b", "a - b", "test_count[3]"),
        mutant("never ends", "found += 1", "found += 0", "test_count"),
        mutant("crashes", "found += 1", "__import__('os').abort()", "test_count"),
        mutant("text is missing", "a * b", "a - b", "test_sum"),
        mutant("text is there twice", "return", "yield", "test_sum"),
        mutant("test is missing", "a + b", "a - b", "test_product"),
        mutant("not Python", "a + b", "a +", "test_sum"),
        mutant("fails anyway", "a + b", "a - b", "test_sum", "test_that_fails"),
        mutant("skipped", "a + b", "a - b", "test_that_is_skipped"),
    ]
    found = run(mutants, small_repository, libraries=["pytest"], at_once=2, limit_s=5.0)
    assert {title: state for title, (state, _) in found.items()} == {
        "caught": "caught",
        "caught by one of two": "caught",
        "survives": "SURVIVED",
        "survives, because its test is another's": "SURVIVED",
        "never ends": "caught",
        "crashes": "caught",
        "text is missing": "not applied",
        "text is there twice": "not applied",
        "test is missing": "not applied",
        "not Python": "not applied",
        "fails anyway": "fails without it",
        "skipped": "does not run here",
    }
    assert found["never ends"][1] == "its tests do not end"
    assert found["crashes"][1] == "its tests end by SIGABRT"
    assert "pytest ends with" in found["not Python"][1]
    assert (small_repository / "preprocess" / "adding.py").read_text() == ADDING
    assert sorted(path.name for path in small_repository.iterdir()) == ["preprocess", "pyproject.toml", "tests"]


@pytest.mark.long
def test_defects_of_the_project_are_caught_and_a_harmless_change_is_not():
    titles = (
        "Holm: p-values are corrected in the order in which they are given",
        "clock: a step back over a wrap is not taken back",
        "LIF backward: the reset is never detached",
    )
    chosen = [mutant for mutant in MUTANTS if mutant.title in titles]
    harmless = Mutant(
        "a comment",
        "preprocess/formats/clock_wraps.py",
        "# Less than all times, and far from all of them.",
        "# Far less than all times.",
        tuple(test for each in chosen for test in each.tests),
    )
    found = run([*chosen, harmless], REPOSITORY)
    assert {title: state for title, (state, _) in found.items()} == {
        **dict.fromkeys(titles, "caught"),
        "a comment": "SURVIVED",
    }
