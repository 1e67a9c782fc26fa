"""Workers that share work with whoever builds: results come in order, and nobody waits for a start."""

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
from preprocess.interrupts import raise_if_stopped
from preprocess.malloc import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

_SWITCH_S = 5e-4


class Workers:
    """Processes or threads to call by `map`; with a count of 1 there are none, and the builder works alone."""

    def __init__(self, count: int, kind: Literal["processes", "threads"] = "processes") -> None:
        """
        Args:
            count: How many work, the builder among them.
            kind: Threads start at once, and gain where the work is done outside of the GIL.
        """
        self.count = count
        self._kind = kind
        self._pool: Executor | None = None
        self._switch_s: float | None = None
        self._sharings: list[_Sharing[Any, Any]] = []

    def __enter__(self) -> Self:
        if self.count > 1 and self._kind == "threads":
            self._pool = ThreadPoolExecutor(self.count - 1)
            # A thread that comes back from compiled code waits so long for one that does not leave Python.
            self._switch_s = sys.getswitchinterval()
            sys.setswitchinterval(min(self._switch_s, _SWITCH_S))
        elif self.count > 1:
            context = multiprocessing.get_context(_start_method())
            formats = custom_readers(portable=_start_method() != "fork")
            self._pool = ProcessPoolExecutor(self.count - 1, context, initializer=_prepare_worker, initargs=(formats,))
            # The first call starts the processes: here, before anything else in this process makes threads.
            self._pool.submit(os.getpid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Whoever still shares work, as after an error, must not hand out more to a pool that ends.
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
        """``work(item)`` for each item, in the order of the items; the builder takes items too.

        The others begin at once, the builder when a result is asked for.

        Args:
            work: For processes, a function of a module.
            items: For processes, what can be pickled.
            ahead: How many results may wait for those before them; any number if None.

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
                "preprocess: a worker process was killed, perhaps for want of memory. Run again with fewer --workers; "
                "what is decoded is kept."
            ) from None
        finally:
            sharing.stop()


def _alone(work: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    for item in items:
        raise_if_stopped()
        yield work(item)


class _Sharing(Generic[Item, Result]):
    """Items handed out one at a time: to a worker as soon as it is free, to the builder when it has nothing to give.

    An item is given to a worker only when it begins at once, so that none sits at the end on several.
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
                except Exception as error:  # told in its turn
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
        """The next item and the place of its result, unless enough results wait already."""
        if self._next == len(self._items) or len(self._queue) >= self._ahead:
            return None
        item = self._items[self._next]
        self._next += 1
        future: Future[Result] = Future()
        self._queue.append(future)
        return future, item

    def feed(self) -> None:
        """Give every free worker an item."""
        while True:
            with self._lock:
                taken = self._take() if self._free else None
                if taken is None:
                    return
                self._free -= 1
            place, item = taken
            # Without the lock: the pool has one of its own, under which it calls `_put`.
            try:
                future = self._pool.submit(self._work, item)
            except RuntimeError as error:  # the pool is broken, or shut down
                place.set_exception(BrokenProcessPool(str(error)))
                return
            future.add_done_callback(functools.partial(self._put, place))

    def _put(self, place: Future[Result], done: Future[Result]) -> None:
        """Runs in the pool's own thread, when a worker has finished."""
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
        """Hand out nothing more."""
        with self._lock:
            self._next = len(self._items)


def _start_method() -> str:
    """A fork costs nothing, but a fork of a process with threads of Python's may hang: those spawn, which takes 0.5 s.

    torch has threads that Python does not count.
    """
    alone = threading.active_count() == 1 and "torch" not in sys.modules
    return "fork" if alone and "fork" in multiprocessing.get_all_start_methods() else "spawn"


def _prepare_worker(formats: Sequence[CustomReader]) -> None:
    """The terminal sends Ctrl-C to every process: the builder alone decides, and its workers finish their item."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the builder does when it is told to end is not for a fork of it to do.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Nothing else tells a worker that its builder was killed; it would wait for work for ever.
    threading.Thread(target=_leave_with_builder, daemon=True).start()
    # A spawned process does not know what was registered in this one.
    for reader in formats:
        reader.register()
    keep_freed_memory()


def _leave_with_builder() -> None:
    builder: Any = multiprocessing.parent_process()
    if builder is not None:
        builder.join()
        os._exit(1)
