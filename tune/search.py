"""A search: the trials that its folder lacks, through Ray, ranked by validation accuracy."""

from __future__ import annotations

from pathlib import Path

from pipeline.runs import holding, make_folder
from preprocess.errors import RunError
from preprocess.progress import Progress
from tune.findings import Findings, read_findings, write_findings
from tune.search_plan import FILE, Search, read_search


def run_search(
    search: Search,
    folder: Path,
    *,
    address: str | None = None,
    concurrent: int | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Run what the folder lacks, and write what came of it: as trials end, and at the end or the interruption.

    Args:
        search: What to run.
        folder: The search's folder, made if missing.
        address: Of a Ray cluster; None starts Ray on this machine.
        concurrent: Trials at once; None is what the machine has CPUs or GPUs for.
        progress: Where to tell how far the frame caches are.

    Raises:
        RunError: If the folder holds something else, or no trial came to its end, with the causes.
        ConfigError: If the device is not there.
        CacheError: If there is no event store.
        ClusterError: If Ray does not start or the cluster does not answer.
    """
    from tune.execution import run_trials

    _check_folder(search, folder)
    make_folder(folder)
    # Under the lock: a search that runs there already keeps its own.
    with holding(folder):
        search.write(folder)
    run_trials(
        search.configs(),
        folder,
        search.cache,
        open_test=False,
        address=address,
        concurrent=concurrent,
        early_stopping=search.scheduler == "asha",
        fields=search.fields,
        refresh=lambda: write_findings(search, folder),
        progress=progress,
    )
    findings = read_findings(search, folder)
    if not findings.ranked:
        causes = dict.fromkeys(findings.errors.values())
        raise RunError(f"{folder}: no trial came to its end, because:", *causes)
    return findings


def _check_folder(search: Search, folder: Path) -> None:
    """Refuse a folder that holds anything but this very search."""
    if not (folder / FILE).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"{folder}: expected an empty folder or a search, found other files. Choose another --out.")
    elif read_search(folder) != search:
        raise RunError(
            f"{folder}: holds another search. Go on with that one: spikeloom tune --resume {folder}; or choose another "
            "--out."
        )
