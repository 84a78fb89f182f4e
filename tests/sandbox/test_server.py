"""The server on its socket: what it logs, and that it stops."""

import socket
import threading

import httpx
import pytest

from pipeline.sandbox.faults import Fault
from pipeline.sandbox.server import Server, serve

from .asking import LIST, asking, ids, stocked


def test_log():
    """Requests are logged in order of arrival with method, path, query and status."""
    with asking(stocked([1])) as (server, client):
        client.get(LIST, params={"limit": 5, "metadata[a]": "é&="}, headers={"user-agent": "tester"})
        client.delete(f"{LIST}/nobody")
    first, second = server.requests
    assert (first.number, first.method, first.path, first.status) == (1, "GET", "/v1/chat/completions", 200)
    assert first.query == {"limit": "5", "metadata[a]": "é&="}
    assert first.headers["user-agent"] == "tester"
    assert (second.number, second.method, second.status) == (2, "DELETE", 404)
    assert server.most_in_flight == 1


def test_several_at_once():
    """Two servers run side by side, each with its own store."""
    with asking(stocked([1])) as (one, first), asking(stocked([1, 2])) as (two, second):
        assert one.base_url != two.base_url
        assert (len(ids(first.get(LIST).json())), len(ids(second.get(LIST).json()))) == (1, 2)


def test_stops_with_stalled_requests():
    """Leaving the block ends stalled requests at once; both had been in hand together."""
    arrived, outcomes = threading.Semaphore(0), []

    def hang(address):
        try:
            httpx.get(address + LIST, timeout=60, trust_env=False)
        except httpx.TransportError as error:
            outcomes.append(error)

    faults = [Fault("stall", times=0)]
    with Server(stocked(range(30)), faults=faults, on_request=lambda _: arrived.release()) as server:
        clients = [threading.Thread(target=hang, args=[server.base_url]) for _ in range(2)]
        for client in clients:
            client.start()
        assert all(arrived.acquire(timeout=30) for _ in clients)
    for client in clients:
        client.join(timeout=30)
    assert server.most_in_flight == 2
    assert [isinstance(error, httpx.TransportError) for error in outcomes] == [True, True]


def test_stopped_server_is_gone():
    """After the block nobody listens, and no thread is left."""
    with Server(stocked([])) as server:
        pass
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.base_url + LIST, trust_env=False)
    assert not [thread for thread in threading.enumerate() if thread.name == "sandbox"]


def test_port_can_be_chosen_and_taken():
    """A chosen port is used; one that is taken is an OSError that leaves nothing open."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), Server(stocked([]), port=port):
            pass
    with Server(stocked([]), port=port) as server:
        assert server.base_url == f"http://127.0.0.1:{port}/v1"


def test_serve_ends_with_an_interrupt():
    """``serve`` announces the running server, waits, and stops it when the wait is interrupted."""
    heard = []

    def announce(server):
        heard.append(httpx.get(server.base_url + LIST, trust_env=False).status_code)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve(Server(stocked([])), announce)
    assert heard == [200]
