"""Where files lie: small folders, names that say one thing, files of one screenful of concepts."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("preprocess", "pipeline", "tune")
MOST_MODULES = 20
MOST_LINES = 420

# Names that mean the same in each of their folders.
TWINS = {
    "__init__", "__main__", "cli",
    "registry",  # what there is of a kind, by name
    "cpu_kernels", "cpu_with_norm_kernels", "cuda_kernels", "cuda_with_norm_kernels",  # one for each neuron
    "custom_op", "node", "with_norm",  # likewise
    "jit",  # the compiler's settings, of NumPy loops and of activations
    "table",  # a class, and that of a dry run
    "download", "evaluate", "plots", "verify",  # a command, and what does it
}  # fmt: skip

MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_no_folder_has_more_modules_than_a_reader_takes_in_at_a_glance():
    counts: dict[Path, int] = defaultdict(int)
    for path in MODULES:
        counts[path.parent] += path.name != "__init__.py"
    assert {name_of(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_no_module_is_named_as_one_of_the_standard_library():
    assert [name_of(path) for path in MODULES if path.stem in sys.stdlib_module_names] == []


def test_modules_of_one_name_mean_the_same():
    found: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        found[path.stem].append(name_of(path))
    assert {stem: paths for stem, paths in found.items() if len(paths) > 1 and stem not in TWINS} == {}


@pytest.mark.parametrize("stem", sorted(TWINS))
def test_every_twin_that_is_allowed_is_there(stem: str):
    assert sum(path.stem == stem for path in MODULES) > 1


def test_every_folder_of_modules_is_a_package_that_says_what_is_in_it():
    for folder in {path.parent for path in MODULES}:
        text = (folder / "__init__.py").read_text()
        assert text.startswith('"""') and len(text.split('"""')[1].strip()) > 20, name_of(folder)


def test_files_are_short():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


# Calls that run a shell, code in a text, or whatever a pickle names, and the files in which one is meant.
RUNS_CODE = re.compile(
    r"\bshell=True|\bos\.(?:system|popen)\(|(?<![\w.])(?:eval|exec)\(|\ballow_pickle=True|\bweights_only=False"
    r"|\b\w*pickle\.loads?\(|\bread_pickle\(|\bjoblib\.load\(|\btorch\.load\((?!.*weights_only=True)|\byaml\.(?!safe_load)\w*load"
)
MEANT = {"tune/cluster/registered_code.py"}  # what the driver of a cluster sends to its workers


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(x, shell=True)",
        "os.system(x)",
        "y = eval(x)",
        "pickle.load(x)",
        "cloudpickle.loads(x)",
        "pd.read_pickle(x)",
        "np.load(x, allow_pickle=True)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "yaml.load(x)",
    ],
)
def test_calls_that_run_code_are_recognised(line: str):
    assert RUNS_CODE.search(line)


def test_no_module_runs_a_shell_or_whatever_a_file_contains():
    found = {name_of(path) for path in MODULES if RUNS_CODE.search(path.read_text())}
    assert found == MEANT


def test_no_module_opens_a_port_itself():
    """Ray does in searches, and torch between the processes of torchrun."""
    opens = re.compile(r"\.listen\(|create_server\(|start_server\(|\bsocketserver\b|\bhttp\.server\b")
    assert [name_of(path) for path in MODULES if opens.search(path.read_text())] == []


def test_tests_mirror_the_folders():
    """A folder of tests has the name of a sub-package."""
    for package in PACKAGES:
        for folder in (REPOSITORY / "tests" / f"test_{package}").iterdir():
            if folder.is_dir() and folder.name != "__pycache__":
                assert (REPOSITORY / package / folder.name / "__init__.py").exists(), name_of(folder)


def test_test_files_have_names_of_their_own():
    """Pytest imports them by their last name alone."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        found[path.stem].append(name_of(path))
    assert {stem: paths for stem, paths in found.items() if len(paths) > 1} == {}


def test_make_test_runs_some_tests_of_every_file():
    long, all_of = "@pytest.mark.long\n", "\ndef test_"
    texts = {name_of(path): path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py")}
    assert any(long in text for text in texts.values())
    assert [name for name, text in texts.items() if long in text and text.count(long) >= text.count(all_of)] == []
