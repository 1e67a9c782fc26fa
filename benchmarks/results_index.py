"""The index of docs/results, written from the pages beside it: ``python -m benchmarks.results_index``.

docs/results/README.md      a line for each design: its question, verdict, whether its runs had converged, data, and how
                            many of its runs are on other pages as well; and a link to the analyses
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from benchmarks.results_shared import shared_runs
from preprocess.files import write_whole
from tune.comparison.designs.registry import DESIGNS

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
NAME, ANALYSES_NAME = "README.md", "analyses.md"
_COLUMNS = ("Question", "Verdict", "Converged", "Data")
_LINE = re.compile(r"^- (\w+): (.*)$", re.MULTILINE)

_ABOUT = """# Results of the small designs

Each page is written from the runs of a [design](../comparison.md#designs), by the command that it names. Differences
are paired by seed, in percentage points, with p-values after Holm's correction for all differences of the design;
[statistics.md](../statistics.md) defines every number. Where "converged" says no, a verdict is about the speed of
learning at that number of epochs, and not about what the neurons can learn.

Some designs have runs in common, which are trained once. The last column counts the runs that other pages show too:
shared runs are the same evidence, not an independent repetition.
"""

_ANALYSES = """[Analyses by seed](analyses.md): how these networks work, for every run of one of the designs: gradients,
rates, energy, robustness, inference.
"""

_AGAIN = """## Run one again

One command trains what is missing, and writes the page, its figures and this index. Interrupted, the same command
continues where it was. Runs that several designs in the folder `runs` have in common are trained once. `--page-only`
trains nothing.

<!-- not run: takes minutes to hours -->
```sh
spikeloom preprocess n-mnist --source N-MNIST
python -m benchmarks.results table2-small
```

N-MNIST is the published data set, or any part of it in the same folders. Delayed cues are emulated:

<!-- not run: takes minutes to hours -->
```sh
spikeloom emulate cue --lag-ms 100 --samples-per-class 125 --out cue
spikeloom preprocess emulated-cue --source cue --split-by duration --duration-us 50000 --downsample 4
python -m benchmarks.results delayed-cue-small
```
"""


def facts(page: str) -> dict[str, str]:
    """The named lines at the top of a page, such as "Verdict"."""
    return dict(_LINE.findall(page.partition("\n## ")[0]))


def index_text(folder: Path) -> str:
    """The index of the pages in a folder, in the order of the designs."""
    rows, short = [], []
    paths = {name: folder / f"{name}.md" for name in DESIGNS}
    pages = {name: path.read_text("utf-8") for name, path in paths.items() if path.is_file()}
    shared = shared_runs(pages)
    for name, page in pages.items():
        found = facts(page)
        short += [name] if found.get("Converged", "").startswith("no") else []
        cells = [found.get(column, "–").replace("|", "\\|") for column in _COLUMNS]
        rows.append(f"| [{name}]({name}.md) | {' | '.join((*cells, shared[name]))} |")
    head = [
        "| design | question | verdict | converged | data | runs shared with other pages |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    more = [_ANALYSES] if (folder / ANALYSES_NAME).is_file() else []
    return "\n".join((_ABOUT, *_warning(short, len(rows)), *head, *rows, "", *more, _AGAIN))


def _warning(short: list[str], pages: int) -> list[str]:
    """That these pages compare the speed of learning."""
    if not short:
        return []
    which = "all pages" if len(short) == pages else ", ".join(short)
    return [
        f"**Not trained to convergence: {which}. What is compared there is the speed of learning at the number of "
        "epochs that the page names, not what the neurons can learn.**\n"
    ]


def checkout_commit() -> str:
    """The commit of this checkout, shortened; "unknown" outside of git."""
    argv = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(argv, cwd=RESULTS, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def write_index(folder: Path = RESULTS) -> None:
    """Write the index of a folder of pages."""
    write_whole(folder / NAME, lambda path: path.write_text(index_text(folder), "utf-8"))


if __name__ == "__main__":
    write_index()
