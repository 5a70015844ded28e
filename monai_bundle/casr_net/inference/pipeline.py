"""Items through stages that work at the same time, in order, a few of them on the way."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Pipeline", "Stage", "Way"]

PATIENCE = 0.5
"""Seconds that an interrupted pipeline waits for the work that its threads have begun. They end by themselves. Our
choice."""

BUDGET = 2**24
"""Pixels of the frames that are on the way together, where one has been seen. Our choice: four frames of 2048 x 2048,
one of 4096 x 4096."""


@dataclass
class Way:
    """One item on its way.

    Attributes:
        item: as it came.
        value: what the stage before has made of it.
        error: what a stage raised; the item passes by the stages behind that.
        stage: name of the stage that raised it.
        cost: pixels, where a stage has told.
        seconds: that each stage took for it.
    """

    item: Any
    value: Any
    error: BaseException | None = None
    stage: str = ""
    cost: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Stage:
    """What is done with each item, by threads of its own.

    Attributes:
        name: of the stage.
        make: called once by each thread for its worker, a function from value to value, so that threads share nothing
            that changes. With ``batch`` above 1, from a list of values to a list of as many.
        threads: how many.
        batch: most items that are given to the worker at once; those that wait are taken.
    """

    name: str
    make: Callable[[], Callable[[Any], Any]]
    threads: int = 1
    batch: int = 1


class Pipeline(Iterator[Way]):
    """Takes items, and gives each with what came of it, in order.

    No item is taken before there is room: what waits between stages is bounded. What a stage raises is given with its
    item, and costs no other one. Without room for two, all is done by the calling thread, one item after the other.

    Args:
        stages: in order.
        items: what comes in; taken by the thread that asks for results.
        room: most items on the way.
        cost: pixels of a value that has left the first stage, where it is large; see :data:`BUDGET`.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        items: Iterable[Any],
        room: int,
        cost: Callable[[Any], int] | None = None,
    ) -> None:
        self.stages, self.room, self.cost = list(stages), room, cost
        self._items = iter(items)
        self._ways: deque[Way] = deque()
        self._queues: list[queue.SimpleQueue[Way | None]] = [queue.SimpleQueue() for _ in self.stages]
        self._threads: list[threading.Thread] = []
        self._alone: list[Callable[[Any], Any]] = []
        self._largest = 0
        self._started = self._stopped = False

    def __iter__(self) -> Iterator[Way]:
        return self

    def __next__(self) -> Way:
        if self.room < 2:
            return self._one()
        try:
            self._fill()
            if not self._ways:
                raise StopIteration
            # In short turns: a wait without end cannot be interrupted on every system.
            while not self._ways[0].done.wait(0.1):
                if self._stopped:
                    raise StopIteration
                self._fill()
            way = self._ways.popleft()
            if way.error is not None and not isinstance(way.error, Exception):
                raise way.error
            self._fill()
            return way
        except BaseException:
            self.close()
            raise

    def close(self, patience: float = PATIENCE) -> None:
        """Take nothing more, and end the threads.

        Args:
            patience: seconds to wait for those that are at work; they end with that in any case.
        """
        self._stopped = True
        for stage, waiting in zip(self.stages, self._queues, strict=True):
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
            for _ in range(stage.threads):
                waiting.put(None)
        end = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _one(self) -> Way:
        item = next(self._items)
        if not self._alone:
            self._alone = [stage.make() for stage in self.stages]
        way = Way(item, item)
        for stage, work in zip(self.stages, self._alone, strict=True):
            if way.error is None:
                _through(stage, work, [way])
        if way.error is not None and not isinstance(way.error, Exception):
            raise way.error
        return way

    def _fill(self) -> None:
        """Take items as long as there is room."""
        if not self._started:
            self._start()
        while not self._stopped and len(self._ways) < self.room and self._room_in_memory():
            try:
                item = next(self._items)
            except StopIteration:
                return
            way = Way(item, item)
            self._ways.append(way)
            self._queues[0].put(way)

    def _room_in_memory(self) -> bool:
        """Until the first item's size is known it goes alone; then each is taken for as large as the largest."""
        if self.cost is None or not self._ways:
            return True
        costs = [way.cost for way in self._ways if way.cost is not None]
        self._largest = max([self._largest, *costs])
        if not self._largest:
            return self._ways[0].done.is_set()
        return self._largest * (len(self._ways) + 1) <= BUDGET

    def _start(self) -> None:
        self._started = True
        _running.add(self)
        for place, stage in enumerate(self.stages):
            for number in range(stage.threads):
                name = f"casr-{stage.name}-{number}"
                thread = threading.Thread(target=self._serve, args=(place,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, place: int) -> None:
        stage, waiting = self.stages[place], self._queues[place]
        work: Callable[[Any], Any] | None = None
        while True:
            way = waiting.get()
            if way is None:
                return
            ways, ended = [way], False
            with contextlib.suppress(queue.Empty):
                while len(ways) < stage.batch:
                    following = waiting.get_nowait()
                    if following is None:
                        ended = True
                        break
                    ways.append(following)
            sound = [way for way in ways if way.error is None]
            try:
                work = stage.make() if work is None else work
            except BaseException as error:
                for way in sound:
                    way.error, way.stage = error, stage.name
            else:
                if sound:
                    _through(stage, work, sound)
            for way in ways:
                self._pass_on(way, place)
            if ended or self._stopped:
                return

    def _pass_on(self, way: Way, place: int) -> None:
        if place == 0 and way.error is None and self.cost is not None:
            way.cost = self.cost(way.value)
        if place + 1 < len(self.stages):
            self._queues[place + 1].put(way)
        else:
            way.done.set()


_running: weakref.WeakSet[Pipeline] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """The end of the process must not cut threads off within a library's code, which aborts it."""
    for pipeline in list(_running):
        pipeline.close(patience=60)


def _through(stage: Stage, work: Callable[[Any], Any], ways: list[Way]) -> None:
    """The items through one stage: together, and one by one when that fails, so that one costs no other."""
    mark = time.perf_counter()
    try:
        if stage.batch > 1:
            for way, value in zip(ways, work([way.value for way in ways]), strict=True):
                way.value = value
        else:
            ways[0].value = work(ways[0].value)
    except BaseException as error:
        if len(ways) > 1 and isinstance(error, Exception):
            for way in ways:
                _through(stage, work, [way])
            return
        for way in ways:
            way.error, way.stage = error, stage.name
    seconds = time.perf_counter() - mark
    for way in ways:
        way.seconds[stage.name] = seconds / len(ways)
