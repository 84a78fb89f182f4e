"""Questions asked side by side: worker threads ask, one consumer takes the answers, and memory stays flat."""

from __future__ import annotations

import contextlib
import queue
import threading
from itertools import count, islice
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from pipeline.errors import PipelineError
from pipeline.stopping import LOOK, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipeline.stopping import Stop

Q = TypeVar("Q")
A = TypeVar("A")


class Workers(Generic[Q, A]):
    """Asks up to ``most`` questions at a time; threads are daemons, so that a silent server holds up no end.

    ``get`` raises what ``ask`` raised, and StoppedError where the run was asked to stop.
    """

    def __init__(self, ask: Callable[[Q], A], *, most: int, stop: Stop) -> None:
        self._ask = ask
        self._most = most
        self._stop = stop
        self._numbers = count(1)
        self._questions: queue.SimpleQueue[tuple[int, Q] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, A | None, BaseException | None]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let the threads go when they have their answers; nobody waits for them."""
        for _thread in self._threads:
            self._questions.put(None)

    def put(self, question: Q) -> int:
        """Ask; the number comes back with the answer."""
        number = next(self._numbers)
        self._asked += 1
        if len(self._threads) < min(self._most, self._asked):
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._questions.put((number, question))
        return number

    def get(self) -> tuple[int, A]:
        """Wait for the next answer, in any order."""
        number, answer, error = self._next()
        self._asked -= 1
        if error is not None:
            raise error
        return number, answer  # type: ignore[return-value]  # without an error there is an answer

    def rest(self) -> Iterator[tuple[int, A]]:
        """Yield what else was asked and still comes; what fails meanwhile, and a stop, is passed over."""
        for _ in range(self._asked):
            with contextlib.suppress(PipelineError, StoppedError):
                yield self.get()

    def _next(self) -> tuple[int, A | None, BaseException | None]:
        with contextlib.suppress(queue.Empty):
            return self._answers.get_nowait()  # what has come is handed over before a stop is heeded
        while True:
            with self._stop.interruptible(), contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=LOOK)

    def all(self, questions: Iterable[Q]) -> Iterator[tuple[Q, A]]:
        """Ask all of them and yield each with its answer, as they come; no more are taken than are being asked."""
        coming = iter(questions)
        asked = {self.put(question): question for question in islice(coming, self._most)}
        while asked:
            number, answer = self.get()
            yield asked.pop(number), answer
            asked |= {self.put(question): question for question in islice(coming, 1)}

    def _work(self) -> None:
        while (asked := self._questions.get()) is not None:
            number, question = asked
            try:
                self._answers.put((number, self._ask(question), None))
            except BaseException as error:  # noqa: BLE001 - raised again where the answer is taken
                self._answers.put((number, None, error))
