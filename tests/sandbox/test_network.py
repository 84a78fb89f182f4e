"""The sandbox behind TLS and behind a proxy."""

import ssl

import httpx
import pytest

from pipeline.sandbox.faults import Fault
from pipeline.sandbox.server import Server

from .asking import LIST, asking, ids, stocked
from .authority import made_in, needs_openssl
from .proxy import Proxy


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Return an authority of our own."""
    return made_in(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def trust(authority):
    """Return what a client needs to trust it."""
    return ssl.create_default_context(cafile=authority.root)


@needs_openssl
def test_tls(authority, trust):
    """A server with a private certificate is believed by who trusts its authority, and by nobody else."""
    with Server(stocked([1, 2]), tls=(authority.certificate, authority.key)) as server:
        assert server.base_url.startswith("https://127.0.0.1:")
        assert len(ids(httpx.get(server.base_url + LIST, verify=trust, trust_env=False).json())) == 2
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(server.base_url + LIST, trust_env=False)


@needs_openssl
@pytest.mark.parametrize("kind", ["reset", "cut", "hang-up"])
def test_faults_on_tls(authority, trust, kind):
    """A connection breaks on TLS as it does without, and the next request is answered."""
    serving = Server(stocked(range(30)), faults=[Fault(kind)], tls=(authority.certificate, authority.key))
    with serving as server, httpx.Client(base_url=server.base_url, verify=trust, trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            client.get(LIST)
        assert client.get(LIST).status_code == 200


@needs_openssl
def test_unusable_certificate(authority):
    """A certificate that does not fit its key is an error for who named it, and nothing is left running."""
    with pytest.raises(ssl.SSLError):
        Server(stocked([]), tls=(authority.root, authority.key))


def test_proxy_passes_requests_on():
    """Without TLS the proxy sees each request and passes it on, connections kept."""
    with Proxy() as proxy, asking(stocked([1, 2])) as (server, _):
        with httpx.Client(base_url=server.base_url, proxy=proxy.url, trust_env=False) as client:
            pages = [client.get(LIST, params={"limit": 1, "after": after}).json() for after in ("r1", "r0")]
        assert [ids(page) for page in pages] == [["r0"], []]
        assert proxy.passed == [f"{server.base_url}{LIST}?limit=1&after={after}" for after in ("r1", "r0")]
        assert len(server.requests) == 2
    assert proxy.tunnels == []


@needs_openssl
def test_proxy_tunnels(authority, trust):
    """With TLS the proxy sees where the client goes and nothing more."""
    with Proxy() as proxy, Server(stocked([1, 2]), tls=(authority.certificate, authority.key)) as server:
        with httpx.Client(base_url=server.base_url, proxy=proxy.url, verify=trust, trust_env=False) as client:
            assert [len(ids(client.get(LIST).json())) for _ in range(2)] == [2, 2]
        assert [f"https://{place}/v1" for place in proxy.tunnels] == [server.base_url]
    assert proxy.passed == []
