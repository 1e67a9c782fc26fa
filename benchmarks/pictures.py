"""Make the pictures of README.md and docs/science.md again: `make pictures N_MNIST=DIR`.

The first screen of the report that `spikeloom demo` writes is photographed with Chromium. The figures of science.md are
those that the commands on the page write. The tables of docs/benchmarks.md bring their pictures along, and
`benchmarks.results` those of docs/results.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
SCREEN = {"width": 900, "height": 985}
_SHELL_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Arguments:
    """Example: python -m benchmarks.pictures --n-mnist N-MNIST"""

    n_mnist: Path | None = None
    """Folder of N-MNIST for the figures of docs/science.md; without it, only the report is photographed."""
    docs: Path = DOCS
    """Folder to write to."""


def main(arguments: Arguments) -> None:
    with tempfile.TemporaryDirectory(prefix="spikeloom-pictures-") as folder:
        work = Path(folder)
        spikeloom(["demo"], work)
        photograph(work / "demo" / "report.html", arguments.docs / "report.png")
        if arguments.n_mnist is not None:
            (work / "N-MNIST").symlink_to(arguments.n_mnist.expanduser().absolute())
            for figure in analysis_figures(work):
                shutil.copy(figure, arguments.docs / "science" / figure.name)


def photograph(page: Path, picture: Path) -> None:
    """Write the first screen of a page as PNG with few colours."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("benchmarks: expected chromium on the PATH, found none. Debian: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport=SCREEN, color_scheme="light")
        tab.goto(page.as_uri())
        tab.screenshot(path=picture)
        browser.close()
    Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(picture, optimize=True)


def analysis_figures(work: Path) -> list[Path]:
    """Run the commands of docs/science.md in a folder with N-MNIST; return the figures that they write."""
    for argv in page_commands((DOCS / "science.md").read_text()):
        # Comparisons take hours; their pictures are those of docs/results.
        if argv[0] != "compare":
            spikeloom(argv, work)
    return sorted(work.glob("runs/*/analysis/*.svg"))


def page_commands(page: str) -> list[list[str]]:
    """The arguments of each command of a page that starts with ``spikeloom``, in order."""
    lines = [line for block in _SHELL_BLOCK.findall(page) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("spikeloom ")]


def spikeloom(argv: list[str], folder: Path) -> None:
    print("spikeloom", shlex.join(argv), flush=True)
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from tune.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, *argv], cwd=folder, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"benchmarks: spikeloom {shlex.join(argv)} ended with exit code {done.returncode}")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
