"""Bounded hand-over between the threads of a pipeline, all of which stop together when one of them fails."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class StoppedError(Exception):
    """Another stage failed, or the work was called off; the reason stands in the flow."""


class Flow:
    """The common fate of a pipeline: the first failure wins, and wakes whoever waits."""

    def __init__(self) -> None:
        self._lock = threading.Condition(threading.RLock())
        self._failure: BaseException | None = None
        self._on_failure: list[Callable[[], None]] = []

    @property
    def failure(self) -> BaseException | None:
        return self._failure

    def fail(self, error: BaseException) -> None:
        """Stop everything; from any thread. Only the first call counts."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = error
            actions = tuple(self._on_failure)
            self._lock.notify_all()
        for action in actions:
            action()

    def on_failure(self, action: Callable[[], None]) -> None:
        """Do this when the flow fails; at once, where it has failed already."""
        with self._lock:
            self._on_failure.append(action)
            has_failed = self._failure is not None
        if has_failed:
            action()

    def check(self) -> None:
        """Raise StoppedError once the flow has failed."""
        if self._failure is not None:
            raise StoppedError from self._failure

    def run(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Start a stage in a thread of its own; what it raises fails the flow."""

        def guarded() -> None:
            try:
                work()
            except StoppedError:
                pass
            except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
                self.fail(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    @property
    def lock(self) -> threading.Condition:
        return self._lock


class Channel(Generic[T]):
    """A queue of at most `size` items within a flow."""

    def __init__(self, flow: Flow, *, size: int) -> None:
        self._flow = flow
        self._lock = flow.lock
        self._items: deque[T] = deque()
        self._size = size
        self._is_closed = False

    def put(self, item: T) -> None:
        """Wait for room. Raises StoppedError when the flow has failed."""
        with self._lock:
            while len(self._items) >= self._size:
                self._flow.check()
                self._lock.wait()
            self._flow.check()
            self._items.append(item)
            self._lock.notify_all()

    def close(self) -> None:
        """No more items: readers end after those that wait."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._lock:
                while not self._items and not self._is_closed:
                    self._flow.check()
                    self._lock.wait()
                self._flow.check()
                if not self._items:
                    return
                item = self._items.popleft()
                self._lock.notify_all()
            yield item
