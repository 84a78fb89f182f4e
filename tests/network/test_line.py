"""Bad lines: whatever happens to the bytes, what was read is kept, and the next run completes, each row once."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from pipeline.sandbox import answer

from .home import COUNT, Far, joined
from .line import Weather

BRIEF = {"timeout": 0.5, "connect_timeout": 0.5}
#: Two questions for the ends of the list come before the walk.
ENDS = 2
#: Places at which the line is reset, in all, evenly over the bytes of a run's answers, or of one page.
PLACES = 24


@pytest.fixture(params=["gzip", "plain"])
def encoding(request, monkeypatch):
    """Let the server compress its pages, or send them as they are."""
    if request.param == "plain":
        monkeypatch.setattr(answer, "_WORTH_GZIP", 10**9)
    return request.param


def length(folder):
    """Return how many bytes the answers of a first run have."""
    folder.mkdir()
    with joined(folder) as (far, line):
        far.assert_home(line, bare=True)
        return line.sent


def assert_survives_reset(folder, place, *, bare):
    """Check one reset: 75 and a reason, or not noticed at all; then everything comes home."""
    folder.mkdir()
    with joined(folder, Weather(reset_at=place)) as (far, line):
        result = far.run_over(line, bare=True)
        source = result.sources[0]
        assert (result.exit_code, source.complete) in {(75, False), (0, True)}
        assert source.complete or ("source prod: " in source.why_not and "what was read is kept" in source.hint)
        far.assert_kept()
        far.assert_home(line, bare=bare)
        return result.exit_code


def test_a_reset_here_and_there(tmp_path):
    """In headers, in the middle of a page, and between pages: what was read is kept, and the next run completes."""
    whole = length(tmp_path / "whole")
    codes = [assert_survives_reset(tmp_path / str(place), place, bare=True) for place in (40, whole // 2, whole - 3)]
    assert codes == [75, 75, 75]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_reset_at_any_byte(tmp_path, encoding):
    """Wherever a first run's answers break, compressed or not: nothing is lost, nothing is held twice."""
    whole = length(tmp_path / "whole")
    places = range(1, whole + 1, whole // PLACES)
    codes = [assert_survives_reset(tmp_path / str(place), place, bare=False) for place in places]
    assert codes.count(75) > len(codes) / 2, f"{encoding}: hardly any reset was felt"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_reset_all_over_one_page(tmp_path, encoding):
    """A night's first answer breaks, ever further on: the run asks again and completes by itself."""
    page, felt = length(tmp_path / encoding) // (COUNT // 3), []
    with joined(tmp_path, retry_attempts=3) as (far, line):
        far.run_over(line, bare=True)
        for place in range(1, page, max(1, page // PLACES)):
            far.clock.advance(1)
            far.add(int(far.clock()) - 1)
            line.weather.reset_at = line.sent + place
            far.assert_home(line, bare=True)
            felt.append(line.weather.reset_at is None)
            line.weather.reset_at = None
        far.assert_home(line)
    assert sum(felt) > len(felt) * 3 / 4, f"{encoding}: hardly any reset was felt"


@pytest.mark.slow
def test_silence_in_the_middle_of_an_answer(tmp_path):
    """Half a page and then nothing: 75 says that the server stopped answering, and where; the rest comes later."""
    with joined(tmp_path) as (far, line):
        line.weather.silent_at = 2500
        result = far.run_over(line, bare=True, **BRIEF)
        source = result.sources[0]
        assert (result.exit_code, "the server stopped answering in time" in source.why_not) == (75, True)
        assert line.base_url in source.why_not
        far.assert_kept()
        line.weather.silent_at = None
        far.assert_home(line)


def test_a_server_that_accepts_and_never_answers(tmp_path):
    """75 after the timeout, and not even a data folder is made."""
    with joined(tmp_path, Weather(silent_at=0)) as (far, line):
        result = far.run_over(line, bare=True, **BRIEF)
        assert (result.exit_code, far.data.exists()) == (75, False)
        assert "the server stopped answering in time" in result.sources[0].why_not
        assert line.base_url in result.sources[0].why_not


def test_a_server_that_does_not_even_accept(tmp_path):
    """75 says that no connection came about in time: a full queue of connections answers nothing at all."""
    with Far(tmp_path) as far, ExitStack() as waiting, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        result = far.run(parquet=False, duckdb=False, base_url=_url(full), **BRIEF)
        assert result.exit_code == 75
        assert "cannot connect: timed out" in result.sources[0].why_not
        assert _url(full) in result.sources[0].why_not


def _url(listening):
    host, port = listening.getsockname()
    return f"http://{host}:{port}/v1"


@pytest.mark.parametrize(
    "weather",
    [
        pytest.param(Weather(latency=0.005, jitter=0.01), id="far away"),
        pytest.param(Weather(piece=7, jitter=0.0002), id="in the smallest pieces", marks=pytest.mark.slow),
        pytest.param(Weather(piece=1), id="byte by byte", marks=pytest.mark.slow),
    ],
)
def test_a_slow_line_loses_nothing(tmp_path, weather):
    """Delays and the worst slices change nothing about what comes home."""
    with joined(tmp_path, weather) as (far, line):
        far.assert_home(line)
