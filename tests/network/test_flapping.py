"""A day with a server that comes and goes: progress whenever it is up, no storm of requests, no growth, no loss."""

from __future__ import annotations

import bisect
import gc
import random
import tracemalloc

import pytest

from pipeline.stopping import Stop
from tests.truth.world import HOUR, NOW

from .home import joined

ATTEMPTS = 4
#: Seconds that a request takes on the sandbox's clock, so that the server goes away in the middle of runs too.
PER_REQUEST = 5
#: Questions of a run beside those that are answered: one ends the walk, one asks for the oldest, and the first run asks
#: for both ends before.
UNANSWERED = 3
#: Bytes that an hour may leave in memory, on average: caches fill, and a leak of pages does not hide below it.
GROWTH = 6_000
OURS = [tracemalloc.Filter(True, f"*/{name}/*") for name in ("pipeline", "httpx", "httpcore")]
OURS.append(tracemalloc.Filter(False, "*/sandbox/*"))


class Skipping(Stop):
    """Waits on the sandbox's clock: no time passes."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def sleep(self, seconds):
        """Let the clock tell that the time has passed."""
        self.check()
        self._clock.advance(seconds)


class Plan:
    """Whether the server is up at a time: stretches of seconds to hours, by a seeded coin."""

    def __init__(self, begin, end, seed):
        coin = random.Random(seed)
        self._changes = [begin]
        while self._changes[-1] < end:
            self._changes.append(self._changes[-1] + coin.choice([20, 60, 240, HOUR]) * (0.5 + coin.random()))

    def is_up(self, at):
        """Say whether it is up: it begins so, and changes each time."""
        return bisect.bisect(self._changes, at) % 2 == 1

    def is_up_throughout(self, begin, end):
        """Say whether it is up from ``begin`` to ``end``."""
        return self.is_up(begin) and bisect.bisect(self._changes, begin) == bisect.bisect(self._changes, end)


def a_day(far, line, seed, *, hours=24, bare=False):
    """Run every hour of a day; return the exit codes and how many bytes of ours were alive behind each run."""
    plan = Plan(NOW, NOW + (hours + 1) * HOUR, seed)
    line.weather.is_up = lambda: plan.is_up(far.clock())
    before = far.server.app.on_request
    far.server.app.on_request = lambda received: (before(received), far.clock.advance(PER_REQUEST))
    codes, alive, position = [], [], None
    for hour in range(hours):
        far.clock.now = NOW + hour * HOUR
        for number in range(12):
            far.add(NOW + hour * HOUR - 300 * number - 1, visible_at=NOW + hour * HOUR - number)
        asked, began = line.requests, far.clock()
        result = far.run_over(line, stop=Skipping(far.clock), bare=bare)
        source = result.sources[0]
        codes.append(result.exit_code)
        assert result.exit_code in {0, 75}
        assert line.requests - asked <= ATTEMPTS * (source.pages + UNANSWERED)
        assert result.exit_code == 0 or not plan.is_up_throughout(began, far.clock())
        far.assert_kept()
        assert position is None or far.position() >= position
        position = far.position()
        gc.collect()
        taken = tracemalloc.take_snapshot().filter_traces(OURS) if tracemalloc.is_tracing() else None
        alive.append(sum(trace.size for trace in taken.traces) if taken else 0)
    line.weather.is_up = lambda: True
    far.server.app.on_request = before
    far.clock.advance(HOUR)
    return codes, alive


@pytest.mark.slow
def test_some_hours_of_a_flapping_server(tmp_path):
    """Runs that meet a server that comes and goes keep what they read, ask no more than they may, and come home."""
    with joined(tmp_path, limit=8, retry_attempts=ATTEMPTS, overlap=2.0 * HOUR) as (far, line):
        codes, _ = a_day(far, line, seed=7, hours=4, bare=True)
        assert {0, 75} == set(codes)
        far.assert_home(line, bare=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_day_of_a_flapping_server(tmp_path):
    """Twenty-four hours: progress whenever it is up, requests bounded by the policy, memory flat, all held once."""
    with joined(tmp_path, limit=8, retry_attempts=ATTEMPTS, overlap=2.0 * HOUR) as (far, line):
        tracemalloc.start()
        try:
            codes, alive = a_day(far, line, seed=8)
        finally:
            tracemalloc.stop()
        assert min(codes.count(0), codes.count(75)) >= 4
        assert alive[-1] - alive[8] <= GROWTH * (len(alive) - 9)
        far.assert_home(line)
