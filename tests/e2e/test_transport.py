"""Connections and bodies that misbehave: bounded in time and in bytes, and the key goes to nobody else."""

import pytest

from pipeline.sandbox.server import Server
from tests.sandbox.authority import made_in, needs_openssl
from tests.sandbox.proxy import Proxy

from .place import KEY, NOW, Place, held

BARE = {"bare": True, "limit": 8}
#: The requests of a first run before its walk: both ends of the list are asked.
ENDS = 2


@pytest.fixture
def place(tmp_path):
    """Serve completions of as many seconds, next to no data folder."""
    with Place(tmp_path) as one:
        fill(one)
        yield one


def fill(place):
    for number in range(20):
        place.add(NOW - 600 + number)


def assert_home(place, result):
    assert (result.exit_code, result.sources[0].complete) == (0, True)
    assert held(place.data) == place.store.visible_ids()


def limits(place):
    """Return the limits of all requests, in order."""
    return [int(request.query["limit"]) for request in place.server.requests]


# -- time ---------------------------------------------------------------------------------------------------------


def test_an_answer_that_drips_for_ever(place):
    """Every byte comes in time and the page never: 75 with the setting, and what was read is kept."""
    result = place.run(f"{ENDS + 2}-:drip", page_time=0.2, retry_attempts=1, **BARE)
    assert result.exit_code == 75
    assert "page_time" in result.sources[0].why_not
    assert len(held(place.data)) == 2 * BARE["limit"]
    assert_home(place, place.run(**BARE))


@pytest.mark.parametrize("fault", ["drip:3", "close", "drop", "hang-up", "wrong-type"])
def test_a_connection_that_is_odd_now_and_then(place, fault):
    """A slow start, a connection closed before, during or after an answer, a wrong content type: nothing is missed."""
    assert_home(place, place.run(f"{ENDS + 1}:{fault}", f"{ENDS + 3}:{fault}", **BARE))


# -- bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["big", "bomb"])
def test_a_page_that_is_too_large_is_asked_for_in_parts(place, kind):
    """The same place is asked with a quarter of the limit, and so on with that."""
    result = place.run(f"{ENDS + 2}:{kind}:1", page_size=500_000, **BARE)
    assert_home(place, result)
    assert limits(place)[: ENDS + 3] == [8, 8, 8, 8, 2]
    assert len({request.query["after"] for request in place.server.requests[ENDS + 1 : ENDS + 3]}) == 1


@pytest.mark.parametrize("kind", ["big", "bomb"])
def test_a_row_that_is_too_large_ends_the_walk(place, kind):
    """Down to a single row and no further: 3 names the setting, and with it raised the next run completes."""
    result = place.run(f"{ENDS + 2}-:{kind}:1", page_size=500_000, **BARE)
    assert (result.exit_code, limits(place)[ENDS:]) == (3, [8, 8, 2, 1])
    assert "page_size" in result.sources[0].why_not
    assert "raise page_size" in result.sources[0].hint
    assert len(held(place.data)) == 2 * BARE["limit"]
    assert_home(place, place.run(f"1-2:{kind}:1", **BARE))


# -- who gets the key ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["302", pytest.param("307", marks=pytest.mark.slow)])
def test_a_redirect_is_not_followed(place, tmp_path, status):
    """78 says where it would have gone; the other host is not asked anything, key or no key."""
    (tmp_path / "other").mkdir()
    with Place(tmp_path / "other") as other:
        result = place.run(f"1-:{status}:{other.server.base_url}/chat/completions", **BARE)
        assert (result.exit_code, other.asked()) == (78, 0)
        assert f"unexpected answer {status} to 127.0.0.1" in result.sources[0].why_not
        assert "redirects are not followed" in result.sources[0].hint


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return an authority of our own."""
    return made_in(tmp_path_factory.mktemp("authority"))


@needs_openssl
def test_a_private_authority(tmp_path, authority):
    """78 names ca_file where it is missing; with it everything comes home."""
    place = Place(tmp_path)
    place.server = Server(place.store, key=KEY, tls=(authority.certificate, authority.key))
    with place:
        fill(place)
        refused = place.run(**BARE)
        assert (refused.exit_code, place.asked()) == (78, 0)
        assert "is not trusted" in refused.sources[0].why_not
        assert "ca_file" in refused.sources[0].hint
        assert_home(place, place.run(ca_file=authority.root, **BARE))


def test_a_proxy_of_the_environment(place, monkeypatch):
    """HTTP_PROXY is honoured: every request goes through it."""
    with Proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert_home(place, place.run(**BARE))
        assert len(proxy.passed) == place.asked() > ENDS
