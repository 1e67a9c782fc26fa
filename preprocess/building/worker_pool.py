"""A pool of workers for an ordered map in which the calling process, the builder, processes items too."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from preprocess.errors import CacheError
from preprocess.formats.registry import CustomReader, custom_readers
from preprocess.freed_memory import keep_freed_memory
from preprocess.interrupts import raise_if_stopped

Item = TypeVar("Item")
Result = TypeVar("Result")

DEFAULT_WORKERS = 1
"""The number of workers where none is given, in commands and functions."""

_SWITCH_S = 5e-4


class Workers:
    """A pool of processes or threads for `map`; with a count of 1 the builder works alone."""

    def __init__(self, count: int, kind: Literal["processes", "threads"] = "processes") -> None:
        """Describe a pool; entering its context starts the workers.

        Args:
            count: Number of workers, including the builder.
            kind: Threads start faster, but only help if the work releases the GIL.
        """
        self.count = count
        self._kind = kind
        self._pool: Executor | None = None
        self._switch_s: float | None = None
        self._sharings: list[_Sharing[Any, Any]] = []

    def __enter__(self) -> Self:
        if self.count > 1 and self._kind == "threads":
            self._pool = ThreadPoolExecutor(self.count - 1)
            # How long a thread that returns from compiled code waits for a thread that runs Python code.
            self._switch_s = sys.getswitchinterval()
            sys.setswitchinterval(min(self._switch_s, _SWITCH_S))
        elif self.count > 1:
            context = multiprocessing.get_context(_start_method())
            formats = custom_readers(portable=_start_method() != "fork")
            self._pool = ProcessPoolExecutor(self.count - 1, context, initializer=_prepare_worker, initargs=(formats,))
            # The first call starts the processes, here, before this process has any other threads.
            self._pool.submit(os.getpid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # After an error, maps that have not finished must not submit more items to the closing pool.
        for sharing in self._sharings:
            sharing.stop()
        try:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
        finally:
            if self._switch_s is not None:
                sys.setswitchinterval(self._switch_s)

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], ahead: int | None = None
    ) -> Generator[Result, None, None]:
        """Yield ``work(item)`` for each item, in the order of the items.

        The pool begins at once; the builder processes items while a result is waited for.

        Args:
            work: The function to call; picklable (defined in a module) if the workers are processes.
            items: Its arguments; picklable if the workers are processes.
            ahead: Maximum number of results that are computed or pending but not yet yielded; None is unlimited.

        Raises:
            CacheError: If a process was killed.
        """
        if self._pool is None or len(items) <= 1:
            return _alone(work, items)
        sharing = _Sharing(self._pool, self.count - 1, work, items, len(items) if ahead is None else ahead)
        self._sharings = [sharing]
        sharing.feed()
        return self._results(sharing)

    def _results(self, sharing: _Sharing[Any, Result]) -> Generator[Result, None, None]:
        try:
            yield from sharing.results()
        except BrokenProcessPool:
            raise CacheError(
                "preprocess: a worker process was killed, possibly because memory ran out. Run again with fewer "
                "--workers; recordings that are already decoded are kept."
            ) from None
        finally:
            sharing.stop()


def _alone(work: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    for item in items:
        raise_if_stopped()
        yield work(item)


class _Sharing(Generic[Item, Result]):
    """Distributes items one at a time: to each worker as soon as it is free, and to the builder otherwise.

    A worker never has items queued, so that none has several left at the end while the others are idle.
    """

    def __init__(
        self,
        pool: Executor,
        others: int,
        work: Callable[[Item], Result],
        items: Sequence[Item],
        ahead: int,
    ) -> None:
        self._pool, self._work, self._items, self._ahead = pool, work, items, ahead
        self._next = 0
        self._free = others
        self._queue: deque[Future[Result]] = deque()
        self._lock = threading.RLock()

    def results(self) -> Iterator[Result]:
        while True:
            raise_if_stopped()
            self.feed()
            with self._lock:
                head = self._queue[0] if self._queue else None
                mine = None if head is not None and head.done() else self._take()
            if mine is not None:
                place, item = mine
                try:
                    place.set_result(self._work(item))
                except Exception as error:  # raised when its result is yielded
                    place.set_exception(error)
                    self.stop()
            elif head is not None:
                result = head.result()
                with self._lock:
                    self._queue.popleft()
                yield result
            else:
                return

    def _take(self) -> tuple[Future[Result], Item] | None:
        """Return the next item and a future for its result; None if there is none, or `ahead` results are pending."""
        if self._next == len(self._items) or len(self._queue) >= self._ahead:
            return None
        item = self._items[self._next]
        self._next += 1
        future: Future[Result] = Future()
        self._queue.append(future)
        return future, item

    def feed(self) -> None:
        """Submit an item to every free worker."""
        while True:
            with self._lock:
                taken = self._take() if self._free else None
                if taken is None:
                    return
                self._free -= 1
            place, item = taken
            # Without the lock: the pool calls `_put` while it holds its own lock.
            try:
                future = self._pool.submit(self._work, item)
            except RuntimeError as error:  # the pool is broken, or shut down
                place.set_exception(BrokenProcessPool(str(error)))
                return
            future.add_done_callback(functools.partial(self._put, place))

    def _put(self, place: Future[Result], done: Future[Result]) -> None:
        """Store the result of a worker; called in a thread of the pool."""
        error = BrokenProcessPool("cancelled") if done.cancelled() else done.exception()
        with self._lock:
            self._free += 1
        if error is not None:
            place.set_exception(error)
            self.stop()
        else:
            place.set_result(done.result())
            self.feed()

    def stop(self) -> None:
        """Submit no further items."""
        with self._lock:
            self._next = len(self._items)


def _start_method() -> str:
    """Return "fork", which is fast, or "spawn" (0.5 s) if this process has other threads: a forked child may hang then.

    torch has threads that Python does not count.
    """
    alone = threading.active_count() == 1 and "torch" not in sys.modules
    return "fork" if alone and "fork" in multiprocessing.get_all_start_methods() else "spawn"


def _prepare_worker(formats: Sequence[CustomReader]) -> None:
    """Prepare a worker process: signal handlers, custom formats and memory settings.

    The terminal sends Ctrl-C to every process; only the builder handles it, and its workers finish their items.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A forked worker must not run the builder's handler of SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Without this, a worker whose builder was killed would wait for work forever.
    threading.Thread(target=_leave_with_builder, daemon=True).start()
    # A spawned process does not have the formats that were registered in the builder.
    for reader in formats:
        reader.register()
    keep_freed_memory()


def _leave_with_builder() -> None:
    builder: Any = multiprocessing.parent_process()
    if builder is not None:
        builder.join()
        os._exit(1)
