"""The retry policy: what is tried again, how long is waited, and where it ends; no time passes here."""

from email.utils import formatdate

import pytest

from pipeline.errors import RefusedError, ServerError
from pipeline.extract.retry import AgainError, Policy, asked_wait, is_worth_retrying

NOW = 1_758_000_000


class Trial:
    """An attempt that does not succeed before its n-th call, and the waits between."""

    def __init__(self, *, succeeds=None, asked=None):
        self.calls, self.waits, self.retried = 0, [], 0
        self._succeeds, self._asked = succeeds, asked

    def attempt(self):
        self.calls += 1
        if self.calls != self._succeeds:
            raise AgainError(ServerError(f"attempt {self.calls}"), self._asked)
        return "answer"

    def note(self, retry):
        self.retried += 1
        self.told = str(retry)

    def run(self, policy):
        return policy.call(self.attempt, sleep=self.waits.append, retried=self.note)


def test_success_ends_it():
    """The first answer is returned, and every attempt behind the first is counted as a retry."""
    trial = Trial(succeeds=3)
    assert trial.run(Policy()) == "answer"
    assert (trial.calls, trial.retried, len(trial.waits)) == (3, 2, 2)
    assert trial.told == f"attempt 2; tried 2 of 8 times, again in {trial.waits[-1]:.1f} s"


def test_attempts_are_capped():
    """After the last attempt its error is raised, with what led to it."""
    trial = Trial()
    with pytest.raises(ServerError, match="attempt 4") as raised:
        trial.run(Policy(attempts=4))
    assert trial.calls == 4
    assert isinstance(raised.value.__cause__, AgainError)


def test_waits_are_random_parts_of_a_doubling_one():
    """Each wait lies below 0.5 s, 1 s, 2 s … and never above the longest; no two runs wait alike."""
    trials = [Trial() for _ in range(50)]
    for trial in trials:
        with pytest.raises(ServerError):
            trial.run(Policy(attempts=6, seconds=1000, longest_wait=4))
    bounds = [0.5, 1, 2, 4, 4]
    assert all(wait <= bound for trial in trials for wait, bound in zip(trial.waits, bounds, strict=True))
    assert max(trial.waits[0] for trial in trials) > 0.25
    assert len({trial.waits[0] for trial in trials}) > 10


def test_the_server_says_how_long():
    """What the server asks for is waited, exactly."""
    trial = Trial(succeeds=3, asked=7.5)
    trial.run(Policy())
    assert trial.waits == [7.5, 7.5]


@pytest.mark.parametrize("asked", [301, 10.0**300])
def test_a_wait_beyond_the_cap_ends_it_at_once(asked):
    """A wait that does not fit is not begun."""
    trial = Trial(asked=asked)
    with pytest.raises(ServerError):
        trial.run(Policy(seconds=300))
    assert (trial.calls, trial.waits) == (1, [])


def test_another_error_is_not_retried():
    """Only what may pass is tried again."""
    calls = []

    def attempt():
        calls.append(1)
        raise RefusedError("no")

    with pytest.raises(RefusedError):
        Policy().call(attempt, sleep=calls.append, retried=lambda: None)
    assert calls == [1]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": formatdate(NOW + 9, usegmt=True)}, 9),
        ({"retry-after": formatdate(NOW - 9, usegmt=True)}, 0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Mon, 99 Foo 2026 00:00:00 GMT"}, None),
    ],
)
def test_the_wait_that_is_asked_for(headers, seconds):
    """Milliseconds first, then seconds or a date by the server's clock; what cannot be read asks nothing."""
    assert asked_wait(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("status", "again"),
    [(status, True) for status in (408, 409, 429, 500, 502, 503, 504, 520, 529, 599)]
    + [(status, False) for status in (301, 400, 401, 403, 404, 405, 418, 422, 501)],
)
def test_what_is_tried_again(status, again):
    """By status, unless the server says otherwise; what it says must be readable."""
    assert is_worth_retrying(status, {}) is again
    assert is_worth_retrying(status, {"x-should-retry": "true"})
    assert not is_worth_retrying(status, {"x-should-retry": "false"})
    assert is_worth_retrying(status, {"x-should-retry": "perhaps"}) is again
