"""`pipeline run --ping-url`: start and end are told, the URL stays secret, and the run is as if nobody listened."""

import re
import signal
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline import ping
from pipeline.sandbox.faults import Fault
from tests.posted import Posted

from .program import KEY, PATIENCE, pipeline, settings, started

TOKEN = "f4b1c7de-this-is-the-token-of-the-tests"  # noqa: S105 - it is none


@pytest.fixture
def listener():
    with Posted() as one:
        yield one


@pytest.fixture
def call(place, tmp_path):
    return ("run", "--config", settings(tmp_path, place, limit=7), "--data", place.data)


def test_a_night_is_pinged(call, listener):
    """The start is told, then the end with its numbers, of one rid; what the URL asks for itself goes along."""
    done = pipeline(*call, "--ping-url", f"{listener.url}/ping/{TOKEN}?create=1")
    assert done.returncode == 0, done.stderr
    assert listener.paths == [f"/ping/{TOKEN}/start", f"/ping/{TOKEN}"]
    asked = [parse_qs(urlsplit(post.line.split()[1]).query) for post in listener.posts]
    assert asked[0] == asked[1]
    assert asked[0]["create"] == ["1"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", asked[0]["rid"][0])
    told = listener.posts[1].body.decode()
    assert told.startswith("exit 0\nprod: exit 0, complete, 20 new, 0 changed, 0 skipped, 0 rejected, 0 retries, data")


@pytest.mark.parametrize(("fault", "code"), [("1-:401", 77), pytest.param("1-:wrong-order", 3, marks=pytest.mark.slow)])
def test_a_failure_is_pinged(call, place, listener, fault, code):
    """A run that failed is told as failed, with its exit code; neither the server's words nor the key are in it."""
    place.server.app.faults = (Fault.parse(fault),)
    done = pipeline(*call, PIPELINE_PING_URL=f"{listener.url}/{TOKEN}")
    assert done.returncode == code
    assert listener.paths == [f"/{TOKEN}/start", f"/{TOKEN}/fail"]
    told = listener.posts[1].body.decode()
    assert told.startswith(f"exit {code}\nprod: exit {code}, not complete, ")
    assert len(told.splitlines()) == 2
    sent = b"".join(post.body + str(post.headers).encode() for post in listener.posts).decode()
    assert KEY not in sent
    assert "traceparent" not in sent


def test_settings_that_cannot_be_read(call, listener, tmp_path):
    """A run that could not even start is told."""
    (tmp_path / "pipeline.toml").write_text("[", encoding="utf-8")
    assert pipeline(*call, PIPELINE_PING_URL=f"{listener.url}/{TOKEN}").returncode == 78
    assert listener.paths == [f"/{TOKEN}/fail"]


@pytest.mark.parametrize("scheme", ["env", pytest.param("file", marks=pytest.mark.slow)])
def test_the_url_may_be_named(call, listener, tmp_path, scheme):
    """As a key: by a variable or a file, so that it stands in no list of processes."""
    url = f"{listener.url}/{TOKEN}"
    (tmp_path / "url").write_text(f"{url}\n", encoding="utf-8")
    name = {"env": "env:CHECK", "file": f"file:{tmp_path / 'url'}"}[scheme]
    assert pipeline(*call, "--ping-url", name, CHECK=url).returncode == 0
    assert listener.paths == [f"/{TOKEN}/start", f"/{TOKEN}"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param(f"http://127.0.0.1:9/{TOKEN}", "cannot connect", id="nobody listens", marks=pytest.mark.slow),
        pytest.param(f"http://127.0.0.1:{TOKEN}/x", "no URL that can be used", id="no URL"),
        pytest.param(
            f"ftp://{TOKEN}/x",
            "neither an http URL nor env:NAME or file:PATH",
            id="another scheme",
            marks=pytest.mark.slow,
        ),
        pytest.param("env:NOT_THERE", "no usable key in env:NOT_THERE", id="named, and not there"),
    ],
)
def test_a_ping_that_fails(call, url, why):
    """It is a warning that holds nothing of the URL; the exit code is that of the run."""
    done = pipeline(*call, "--ping-url", url, "--log-format", "json")
    assert done.returncode == 0
    assert why in done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered with 500"),
        (b"HTTP/1.1 302 There\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "answered with 302"),
        (b"nonsense\r\n\r\n", "cannot connect"),
    ],
    ids=["refused", "redirected", "no HTTP"],
)
def test_two_tries(listener, answer, why):
    """Each ping is tried twice, follows no redirect, and then is given up with one warning."""
    listener.answer = answer
    said = []
    ping.Ping(f"{listener.url}/{TOKEN}", said.append).end(0, None, is_urgent=False)
    assert listener.paths == [f"/{TOKEN}"] * 2
    assert len(said) == 1
    assert why in said[0]
    assert TOKEN not in said[0]


def test_a_server_that_hangs(listener, monkeypatch):
    """A ping without an answer is given up in a bounded time; that is one warning."""
    monkeypatch.setattr(ping, "SECONDS", 0.3)
    listener.answer = None
    said = []
    ping.Ping(f"{listener.url}/{TOKEN}", said.append).end(0, None, is_urgent=False)
    assert len(said) == 1
    assert "no answer in 0.3 s" in said[0] or "does not answer in time" in said[0]


def test_an_answer_that_never_ends(listener):
    """An answer that never ends holds nothing up: it is not read."""
    listener.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    said = []
    ping.Ping(f"{listener.url}/{TOKEN}", said.append).end(0, None, is_urgent=True)
    assert (listener.paths, said) == ([f"/{TOKEN}"], [])


@pytest.mark.slow
def test_a_signal_does_not_wait_for_a_ping(call, listener, place):
    """Whoever stops a run that still says that it starts gets it stopped: the source is not asked at all."""
    listener.answer = None
    running = []
    listener.on_post = lambda _: running[0].send_signal(signal.SIGTERM) if len(listener.posts) == 1 else None
    with started(*call, PIPELINE_PING_URL=f"{listener.url}/{TOKEN}") as child:
        running.append(child)
        told, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 143, told + said
    assert place.server.requests == []
    assert listener.paths == [f"/{TOKEN}/start", f"/{TOKEN}/fail"]


def test_a_signal_during_the_last_ping_costs_no_result(call, listener):
    """The result is on stdout before anybody is told of it."""
    listener.on_post = lambda _: running[0].send_signal(signal.SIGTERM) if len(listener.posts) == 2 else None
    running = []
    with started(*call, "--json", PIPELINE_PING_URL=f"{listener.url}/{TOKEN}") as child:
        running.append(child)
        told, _ = child.communicate(timeout=PATIENCE)
    assert '"exit_code": 0' in told or '"exit_code":0' in told


def test_the_url_is_not_shown():
    """Neither the ping nor what holds its URL shows it."""
    one = ping.Ping(f"https://hc.example/{TOKEN}", print)
    assert TOKEN not in repr(one) + repr(vars(one))
