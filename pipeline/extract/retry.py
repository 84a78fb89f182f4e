"""The retry policy: named failures only, jittered exponential waits, two caps per request.

A wait is what the server asks for (``retry-after-ms``, then ``Retry-After`` in seconds or as a date), else a random
part of 0.5 s, 1 s, 2 s … 30 s. Neither more than ``attempts`` requests are made nor more than ``seconds`` spent; a wait
that the server asks for and that does not fit ends it at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.errors import ServerError

T = TypeVar("T")

#: Timeouts, lock conflicts and rate limits; the official SDKs also take every status from 500 on for one that may pass.
TRANSIENT = frozenset({408, 409, 429})
SERVER_FAULT = 500
#: The one of them that stays: the server does not know such a question.
NOT_IMPLEMENTED = 501


class AgainError(Exception):
    """This attempt failed and another may succeed; ``wait`` is what the server asks for, in seconds."""

    def __init__(self, error: ServerError, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Retry:
    """A question that is about to be asked again."""

    why: str
    tried: int
    most: int
    wait: float
    """Seconds."""

    def __str__(self) -> str:
        return f"{self.why}; tried {self.tried} of {self.most} times, again in {self.wait:.1f} s"


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long one request is tried."""

    attempts: int = 8
    seconds: float = 300.0
    first_wait: float = 0.5
    longest_wait: float = 30.0

    def call(self, attempt: Callable[[], T], *, sleep: Callable[[float], None], retried: Callable[[Retry], None]) -> T:
        """Call ``attempt`` until it does not raise AgainError or a cap is reached; then raises the error it carries.

        ``retried`` hears of each wait before it begins.
        """
        backoff = tenacity.wait_random_exponential(multiplier=self.first_wait, max=self.longest_wait)

        def wait(state: tenacity.RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            asked = failure.wait if isinstance(failure, AgainError) else None
            return backoff(state) if asked is None else asked

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(AgainError),
            wait=wait,
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.seconds),
            sleep=sleep,
            before_sleep=lambda state: retried(_retry(state, self.attempts)),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except AgainError as failure:
            raise failure.error from failure


def _retry(state: tenacity.RetryCallState, most: int) -> Retry:
    failure = state.outcome.exception() if state.outcome else None
    return Retry(str(failure), state.attempt_number, most, state.upcoming_sleep)


def may_pass(status: int) -> bool:
    """Tell whether a status speaks of the moment and not of the question."""
    return status in TRANSIENT or (status >= SERVER_FAULT and status != NOT_IMPLEMENTED)


def is_worth_retrying(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether to ask again now; ``x-should-retry`` overrides what the status says."""
    told = headers.get("x-should-retry")
    return told == "true" if told in {"true", "false"} else may_pass(status)


def asked_wait(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds that the server asks to wait, or None where it asks nothing that can be read."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - now)
    except (KeyError, ValueError):
        return None
