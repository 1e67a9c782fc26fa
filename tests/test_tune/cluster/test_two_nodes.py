"""A search on two machines that share nothing: what travels, what comes home, and what a lost machine costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_files import write_cifar10
from patience import PATIENCE_S, QUICK_S
from tiny_run import TINY, tiny_cache
from two_nodes import REPOSITORY, Machine, free_port, machines, namespaces_refused, nodes_of, up, wait_for

from pipeline.config.run_config import override, to_dict
from preprocess import preprocess_images

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(bool(namespaces_refused()), reason=f"no mount namespaces here: {namespaces_refused()}"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache and configurations of runs of several lengths, for machines to copy."""
    folder = tmp_path_factory.mktemp("data")
    cache = tiny_cache(folder)
    write_cifar10(folder / "src")
    preprocess_images(folder / "src", "cifar10", cache)
    # Long enough that one machine cannot run all trials before the process of the other is up.
    images = {"dataset.name": "cifar10", "input.encoding": "direct", "schedule.epochs": 60}
    (folder / "images.json").write_text(json.dumps(to_dict(override(TINY, images))))
    for name, epochs in (("short", 2), ("middle", 10), ("long", 30), ("longest", 90)):
        (folder / f"{name}.json").write_text(json.dumps(to_dict(override(TINY, {"schedule.epochs": epochs}))))
    return folder


@pytest.fixture(scope="module")
def pair(data: Path) -> Iterator[tuple[Machine, Machine, str]]:
    """Head, worker and the cluster's address; the data set is on the head alone. None of them may be lost."""
    with machines() as (head, worker):
        take(head, data)
        yield head, worker, up(head, worker)


def take(machine: Machine, data: Path) -> None:
    machine.shell(f"cp -r {data}/. {machine.own}")


def words(machine: Machine, address: str, out: str, *others: object, config: str = "short") -> list[object]:
    own = machine.own
    place = ["--config", own / f"{config}.json", "--cache", own / "cache", "--out", own / out, "--address", address]
    return ["tune", *place, "--scheduler", "none", "--final-seeds", "0", "--cpus-per-trial", "1", *others]


def records(machine: Machine, out: str) -> list[dict[str, object]]:
    """Every done.json of a search's folder."""
    found = machine.shell(
        f"for f in {machine.own}/{out}/trials/*/done.json; do cat $f; echo ,; done 2>/dev/null || true"
    )
    loaded: list[dict[str, object]] = json.loads(f"[{found.rstrip(',')}]") if found else []
    return loaded


@pytest.mark.long
def test_trials_train_on_both_machines_and_come_home(pair: tuple[Machine, Machine, str]):
    head, worker, address = pair
    code, out, err = head.spikeloom(*words(head, address, "s", "--space", "neuron.tau=1.5,2,3,4", config="middle"))
    assert code == 0, err
    assert "1 of 2 machines cannot read or write" in err and "their checkpoints are sent here through Ray" in err
    assert [record["status"] for record in records(head, "s")] == ["done"] * 4
    own = head.own
    processes = head.shell(f"grep -h process.: {own}/s/trials/*/environment.json | sort | uniq -c")
    assert len(processes.splitlines()) == 2, "trials ran in one process of each machine"
    # Whole run folders are at home, and nothing of them elsewhere.
    for name in ("config.json", "metrics.jsonl", "checkpoint.pt", "best.pt", "result.json", "tensorboard"):
        assert head.shell(f"ls -d {own}/s/trials/*/{name} | wc -l") == "4", name
    assert worker.shell(f"find {own} -name checkpoint.pt -o -name metrics.jsonl | wc -l") == "0"
    assert head.shell(f"find {own}/s -name '.*.tmp' -o -name '.checkpoint*' | wc -l") == "0"
    # One copy of one frame cache, which the second search finds.
    copies = f"find {own}/home/.cache/spikeloom -name '*.h5' -printf '%i %T@ %p\\n'"
    first = worker.shell(copies)
    assert len(first.splitlines()) == 1 and "number-T3" in first
    assert head.shell(f"ls -d {own}/home/.cache/spikeloom 2>/dev/null | wc -l") == "0"
    code, _, err = head.spikeloom(*words(head, address, "s2", "--space", "neuron.tau=7,8"))
    assert code == 0, err
    assert worker.shell(copies) == first
    assert "spikeloom runs" not in out


@pytest.mark.long
def test_images_are_copied_to_the_machine_that_lacks_them(pair: tuple[Machine, Machine, str]):
    head, worker, address = pair
    code, _, err = head.spikeloom(*words(head, address, "i", "--space", "neuron.tau=1.5,2,3,4", config="images"))
    assert code == 0, err
    assert [record["status"] for record in records(head, "i")] == ["done"] * 4
    processes = head.shell(f"grep -h process.: {head.own}/i/trials/*/environment.json | sort | uniq -c")
    assert len(processes.splitlines()) == 2, "trials ran in one process of each machine"
    copies = worker.shell(f"find {worker.own}/home/.cache/spikeloom -path '*cifar10*' -name '*.h5'")
    assert len(copies.splitlines()) == 1 and copies.endswith("/cifar10/images.h5")


def test_trials_of_a_lost_machine_go_on_from_their_checkpoint_elsewhere(data: Path):
    with machines() as (head, worker):
        take(head, data)
        lose_worker(head, worker, up(head, worker))


def lose_worker(head: Machine, worker: Machine, address: str) -> None:
    space = ["--space", "neuron.tau=1.5,2,3"]
    search = head.start(sys.executable, "-m", "tune", *words(head, address, "s", *space, config="longest"))
    # Trials leave the worker at their end: they take long enough to be seen on a busy machine.
    away = f"find {worker.own}/t -name metrics.jsonl"
    wait_for(lambda: worker.shell(away), "a trial on the worker", search)
    trial = Path(worker.shell(away)).parent.name
    home = f"{head.own}/s/trials/{trial}"
    wait_for(lambda: int(head.shell(f"cat {home}/metrics.jsonl 2>/dev/null | wc -l")) >= 5, "five epochs", search)
    worker.lose()
    out, err = search.communicate(timeout=PATIENCE_S)
    assert search.returncode == 0, err
    assert "its process died and the trial is tried again" in err
    assert [record["status"] for record in records(head, "s")] == ["done"] * 3
    earlier = json.loads(head.shell(f"cat {home}/environment.json"))["earlier"]
    assert len(earlier) >= 1, "it went on from a checkpoint"
    assert "3 done" in out


@pytest.mark.long
def test_search_goes_on_with_another_head_and_once_more(data: Path):
    """The head is lost in mid-search: the driver says so and ends; --resume on a new one, twice."""
    with machines() as (head, worker):
        take(head, data)
        port = free_port()
        address = up(head, worker, port=port)
        search = head.start(
            sys.executable, "-m", "tune", *words(head, address, "s", "--space", "neuron.tau=1.5,2,3", config="long")
        )
        wait_for(lambda: len(records(head, "s")) >= 1, "a finished trial", search)
        finished = {record["trial"]: record["ended"] for record in records(head, "s")}
        lost = time.monotonic()
        # The head's own processes, not the driver that runs on the same machine.
        head.kill("gcs_server")
        _, err = search.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - lost < 60
        assert search.returncode != 0
        assert f"the cluster's head 127.0.0.1:{port} is gone" in err or "is gone. Finished trials are kept" in err
        assert f"spikeloom tune --resume {head.own}/s" in err
        for machine in (head, worker):
            machine.lose()
        machine_files = f"rm -rf {head.own}/t/*"
        head.shell(machine_files)
        worker.shell(machine_files)
        address = up(head, worker)
        for _ in range(2):
            code, out, err = head.spikeloom("tune", "--resume", head.own / "s", "--address", address)
            assert code == 0, err
            assert "3 done" in out
        after = {record["trial"]: record["ended"] for record in records(head, "s")}
        assert len(after) == 3
        assert {trial: after[trial] for trial in finished} == finished, "finished trials are not run again"


@pytest.mark.long
def test_search_that_was_stopped_is_resumed_and_leaves_nothing_on_the_worker(pair: tuple[Machine, Machine, str]):
    head, worker, address = pair
    space = ["--space", "neuron.tau=1.5,2,3"]
    search = head.start(sys.executable, "-m", "tune", *words(head, address, "stopped", *space, config="long"))
    wait_for(lambda: worker.shell(f"find {worker.own}/t -name checkpoint.pt"), "a trial on the worker", search)
    # To the driver, not to what starts it in the machine's namespace.
    (driver,) = [process for process in head.processes() if b"--out" in arguments(process)]
    os.kill(driver, signal.SIGINT)
    _, err = search.communicate(timeout=PATIENCE_S)
    assert search.returncode == 130, err
    code, out, err = head.spikeloom("tune", "--resume", head.own / "stopped", "--address", address)
    assert code == 0 and "3 done" in out, err
    assert worker.shell(f"find {worker.own}/t -name 'spikeloom-trials-*'") == ""
    assert head.shell(f"find {head.own}/stopped -name '.*.part'") == ""


def arguments(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_storage_that_a_machine_does_not_reach_is_refused_before_the_first_trial(pair: tuple[Machine, Machine, str]):
    head, _, address = pair
    space = ["--space", "neuron.tau=1.5,2"]
    for storage in (head.own / "store", f"file://{head.own}/store"):
        code, _, err = head.spikeloom(*words(head, address, "refused", *space, "--storage", storage))
        assert code == 2
        line = err.strip().splitlines()[-1]
        assert (
            line.startswith(f"spikeloom: --storage {storage}/refused-") and "that every machine can access" in line
        ), line
        assert head.shell(f"ls {head.own}/refused/trials 2>/dev/null | wc -l") == "0"


@pytest.mark.long
def test_checkpoints_go_to_a_storage_that_all_machines_reach(pair: tuple[Machine, Machine, str]):
    head, worker, address = pair
    shared = head.own.parent / "shared"
    shared.mkdir()
    code, _, err = head.spikeloom(
        *words(head, address, "stored", "--space", "neuron.tau=1.5,2,3,4", "--storage", f"file://{shared}")
    )
    assert code == 0, err
    assert len(list(shared.glob("stored-*/*/checkpoint.pt"))) == len(list(shared.glob("stored-*/*/best.pt"))) == 4
    assert not list(shared.rglob("*.part"))
    assert head.shell(f"ls {head.own}/stored/trials/*/result.json | wc -l") == "4"
    assert head.shell(f"find {head.own}/stored -name checkpoint.pt | wc -l") == "0"
    assert worker.shell(f"find {worker.own} -name checkpoint.pt | wc -l") == "0"


@pytest.mark.long
def test_machine_with_other_sources_is_named(data: Path, tmp_path: Path):
    with machines() as (head, worker):
        take(head, data)
        worker.sources = tmp_path / "other"
        for name in ("preprocess", "pipeline", "tune", "tests"):
            shutil.copytree(REPOSITORY / name, worker.sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        with (worker.sources / "pipeline" / "cli.py").open("a") as file:
            file.write("# changed\n")
        address = up(head, worker)
        versions = {str(node["software"]["spikeloom"]) for node in nodes_of(head, address)}  # type: ignore[index]
        assert len(versions) == 2
        code, _, err = head.spikeloom(*words(head, address, "s", "--space", "neuron.tau=1.5,2"))
        assert code == 2
        line = err.strip().splitlines()[-1]
        assert "expected spikeloom 0.1.0, sources " in line and "Install the same on both" in line, line
        assert head.shell(f"ls {head.own}/s/trials 2>/dev/null | wc -l") == "0"


@pytest.mark.long
def test_machine_joins_and_leaves_with_a_line_each():
    with machines() as (head, worker):
        code, out, _ = head.spikeloom("cluster", "down")
        assert code == 2
        port = free_port()
        began = time.monotonic()
        code, _, err = head.spikeloom("cluster", "up", "--address", f"127.0.0.1:{port}")
        assert code == 2 and time.monotonic() - began < QUICK_S
        assert (
            err.strip()
            .splitlines()[-1]
            .startswith(f"spikeloom: --address 127.0.0.1:{port}: expected a cluster that answers")
        )
        began = time.monotonic()
        code, _, err = head.spikeloom("tune", "n-mnist-small", "--address", f"127.0.0.1:{port}")
        assert code == 2 and time.monotonic() - began < QUICK_S
        address = up(head, worker, port=port)
        assert address == f"127.0.0.1:{port}"
        code, out, _ = worker.spikeloom("cluster", "down")
        assert code == 0 and f"This machine, the worker of {address}, has left the cluster." in out
        assert worker.processes() == [] and worker.shell(f"ls {worker.own}/t") == ""
        code, _, err = head.spikeloom("cluster", "up", "--port", port)
        assert code == 2 and "found the head of" in err and "spikeloom cluster down" in err
        code, out, _ = head.spikeloom("cluster", "status")
        assert code == 0 and "1 of 2 machines are running" in out
        code, out, _ = head.spikeloom("cluster", "down")
        assert code == 0 and f"This machine, the head of {address}, has left the cluster." in out
        assert head.processes() == []
        assert head.shell(f"ls {head.own}/t") == ""


@pytest.mark.long
def test_machine_that_joins_later_trains_and_fetches_by_itself(data: Path):
    """At first the head is alone and busy; trials run on the worker that joins then, which shares nothing with it."""
    with machines() as (head, worker):
        take(head, data)
        address = up(head)
        # Enough for the time that a machine takes to join, and the driver to look for new ones (ten seconds).
        taus = [1.5 + 0.25 * k for k in range(16)]
        space = ["--space", f"neuron.tau={','.join(map(str, taus))}"]
        search = head.start(sys.executable, "-m", "tune", *words(head, address, "s", *space, config="longest"))
        wait_for(lambda: head.shell(f"ls {head.own}/s/trials 2>/dev/null | wc -l") != "0", "the first trial", search)
        code, _, err = worker.spikeloom("cluster", "up", "--address", address, "--cpus", 1)
        assert code == 0, err
        _, err = search.communicate(timeout=PATIENCE_S)
        assert search.returncode == 0, err
        assert [record["status"] for record in records(head, "s")] == ["done"] * len(taus)
        processes = head.shell(f"grep -h process.: {head.own}/s/trials/*/environment.json | sort -u")
        assert len(processes.splitlines()) == 2, "trials ran on both machines"
        assert worker.shell(f"find {worker.own}/home/.cache/spikeloom -name '*.h5' | wc -l") == "1"
        assert worker.shell(f"find {worker.own} -name checkpoint.pt | wc -l") == "0"


def test_stranger_is_told_in_a_line_and_in_seconds(pair: tuple[Machine, Machine, str]):
    """Without the cluster's token, or with another Ray."""
    _, _, address = pair
    with machines(1) as (stranger,):
        status = [sys.executable, "-m", "tune", "cluster", "status", "--address", address]
        old_ray = "import ray, sys; ray.__version__ = '2.0'; from tune.cli import main; sys.exit(main())"
        asked: dict[str, list[object]] = {
            "expected the cluster's token, found another. Copy ": ["env", "RAY_AUTH_TOKEN=" + "x" * 64, *status],
            "expected the cluster's token, found none. Copy ": ["env", "-u", "RAY_AUTH_TOKEN", *status],
            # Asked for by the environment, and not there: of this Ray itself would die without a word.
            "expected the cluster's token, found none.": [
                *("env", "-u", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE=token", *status)
            ],
            "expected Ray ": [sys.executable, "-c", old_ray, *status[3:]],
        }
        for told, command in asked.items():
            for action in ("status", "up"):
                began = time.monotonic()
                code, out, err = stranger.run(*(action if word == "status" else word for word in command))
                assert code == 2 and out == "", f"{action}: {err}"
                assert time.monotonic() - began < QUICK_S, f"{action}: {time.monotonic() - began:.1f} s"
                assert err.startswith(f"spikeloom: --address {address}: {told}") and len(err.splitlines()) == 1, err
        assert stranger.processes() == [] and stranger.shell(f"ls {stranger.own}/t") == ""


def test_machine_that_is_not_in_the_cluster_is_told_how_to_join(pair: tuple[Machine, Machine, str]):
    _, _, address = pair
    with machines(1) as (stranger,):
        # Only in a namespace of its own does the machine not see the processes of the others.
        alone = ["unshare", "-p", "-f", "--mount-proc"]
        refused, _, why = stranger.run(*alone, "true")
        if refused:
            pytest.skip(f"no namespace for processes: {why.strip()}")
        status = [sys.executable, "-m", "tune", "cluster", "status", "--address", address]
        code, out, err = stranger.run(*alone, *status)
        assert code == 2 and out == "", err
        told = "expected a cluster of this machine, found another. Join it first: spikeloom cluster up --address "
        assert err.startswith(f"spikeloom: --address {address}: {told}") and len(err.splitlines()) == 1, err
        assert stranger.processes() == [] and stranger.shell(f"ls {stranger.own}/t") == ""


@pytest.mark.long
@pytest.mark.new_interpreter
def test_machine_that_was_half_killed_is_tidied():
    """`ray start` is killed: what it started is left, and is stopped by `down`; a dead member's files go, too."""
    with machines(1) as (head,):
        address = up(head)
        member = json.loads(head.shell(f"cat {head.own}/t/spikeloom-cluster-*.json"))
        os.kill(member["process"], signal.SIGKILL)
        code, out, err = head.spikeloom("cluster", "down")
        assert (code, out.strip()) == (0, f"This machine, the head of {address}, has left the cluster."), err
        assert head.processes() == [] and head.shell(f"ls {head.own}/t") == ""
        up(head)
        head.lose()
        code, out, err = head.spikeloom("cluster", "down")
        assert (code, out) == (
            0,
            "Nothing to stop: no process that spikeloom cluster up started runs on this machine.\n",
        ), err
        assert head.shell(f"ls {head.own}/t") == ""


@pytest.mark.long
def test_full_disk_loses_no_finished_trial_and_leaves_no_half_file(data: Path):
    """The search's folder fills up in mid-search; when there is room again, the search goes on."""
    with machines(1) as (head,):
        take(head, data)
        own = head.own
        head.shell(f"mkdir {own}/s && mount -t tmpfs -o size=8m tmpfs {own}/s")
        place = ["--config", own / "long.json", "--cache", own / "cache", "--out", own / "s"]
        others = ["--space", "neuron.tau=1.5,2,3", "--scheduler", "none", "--final-seeds", "0", "--concurrent", "1"]
        search = head.start(sys.executable, "-m", "tune", "tune", *place, *others)
        wait_for(lambda: len(records(head, "s")) >= 1, "a finished trial", search)
        finished = {record["trial"]: record["ended"] for record in records(head, "s")}
        head.shell(f"head -c 20m /dev/zero > {own}/s/filler 2>/dev/null; true")
        _, err = search.communicate(timeout=PATIENCE_S)
        *_, last = err.strip().splitlines()
        told = f"spikeloom: {own}/s: cannot be written (No space left on device); all trials stop. "
        assert last == f"{told}Free space there, then resume: spikeloom tune --resume {own}/s", err
        # At once: no trial can keep what it trains.
        assert search.returncode == 2 and "tried again" not in err, err
        head.shell(f"rm {own}/s/filler")
        assert head.shell(f"find {own}/s -name '.*.tmp' | wc -l") == "0"
        code, out, err = head.spikeloom("tune", "--resume", own / "s")
        assert code == 0, err
        assert "3 done" in out
        after = {record["trial"]: record["ended"] for record in records(head, "s")}
        assert {trial: after[trial] for trial in finished} == finished
