"""Workers: results in order, the builder takes part, errors and killed processes are told."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import weakref

import pytest

from preprocess.building.worker_pool import Workers
from preprocess.errors import CacheError, RecordingError
from preprocess.interrupts import stopped_by_signals

KINDS = pytest.mark.parametrize("kind", ["processes", "threads"])


def name_worker(item: int) -> tuple[int, int, int]:
    # Longer in all than a process takes to start on a busy machine.
    time.sleep(0.1)
    return item, os.getpid(), threading.get_ident()


def sleep_backwards(item: int) -> int:
    time.sleep(0.02 * (5 - item))
    return item


def fail_at_three(item: int) -> int:
    if item == 3:
        raise RecordingError("r3.aedat: expected an event, found none. Copy it again.")
    return item


def die(item: int) -> int:
    # Its first item already: a process that starts slowly may get no second one.
    if os.getpid() != int(os.environ["BUILDER"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@KINDS
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("ahead", [None, 1, 4])
def test_results_come_in_order(kind, count: int, ahead: int | None):
    with Workers(count, kind) as workers:
        assert list(workers.map(sleep_backwards, range(5), ahead)) == list(range(5))
        assert list(workers.map(sleep_backwards, [])) == []


@KINDS
def test_the_builder_and_the_others_share_the_items(kind):
    with Workers(2, kind) as workers:
        done = list(workers.map(name_worker, range(20)))
    assert [item for item, _, _ in done] == list(range(20))
    who = [(pid, thread) for _, pid, thread in done]
    mine = who.count((os.getpid(), threading.get_ident()))
    assert len(set(who)) == 2 and 1 <= mine <= 19


@KINDS
def test_no_more_results_wait_than_are_allowed(kind):
    with Workers(2, kind) as workers:
        results = workers.map(name_worker, range(20), ahead=3)
        next(results)
        time.sleep(0.2)
        results.close()
        # Whatever was handed out is done; the rest was never begun, so this begins at once.
        assert next(workers.map(name_worker, range(2)))[0] == 0


@KINDS
@pytest.mark.parametrize("count", [1, 2])
def test_an_error_comes_out_as_it_is(kind, count: int):
    with Workers(count, kind) as workers:
        results = workers.map(fail_at_three, range(10))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(RecordingError, match=r"r3\.aedat"):
            next(results)


def test_a_killed_process_is_one_line(monkeypatch):
    monkeypatch.setenv("BUILDER", str(os.getpid()))
    with Workers(2) as workers, pytest.raises(CacheError, match=r"was killed, .*fewer --workers; recordings that are"):
        list(workers.map(die, range(10)))


def test_a_process_with_threads_does_not_fork(monkeypatch):
    from preprocess.building.worker_pool import _start_method

    monkeypatch.delitem(__import__("sys").modules, "torch", raising=False)
    assert threading.active_count() > 1 or _start_method() == "fork"
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    assert _start_method() == "spawn"
    stop.set()
    thread.join()
    monkeypatch.setitem(__import__("sys").modules, "torch", object())
    assert _start_method() == "spawn"


@pytest.mark.slow
@KINDS
def test_an_error_while_others_work_leaves_nothing_waiting(kind):
    for _ in range(200 if kind == "threads" else 5):
        with contextlib.suppress(OSError), Workers(5, kind) as workers:
            results = workers.map(abs, range(1000))  # kept, and not begun
            raise OSError
        assert results is not None


@pytest.mark.parametrize("count", [1, 2])
def test_a_signal_that_was_dropped_in_a_finalizer_stops_the_work(count: int):
    done: list[int] = []

    def interrupted(workers: Workers) -> None:
        for item in workers.map(sleep_backwards, range(5), ahead=1):
            done.append(item)
            thing = threading.Event()
            weakref.finalize(thing, signal.raise_signal, signal.SIGINT)
            del thing

    with Workers(count, "threads") as workers, pytest.raises(KeyboardInterrupt), stopped_by_signals():
        interrupted(workers)
    assert done == [0]
