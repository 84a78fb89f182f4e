"""The one door of httpx: a GET to one source, whole or an error of ours, bounded in time and in bytes; and a ping.

The bytes are counted after decompression, so that a small answer that inflates is stopped like a large one. Redirects
are not followed: the key goes to the configured host and to no other.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import ssl
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from pipeline import tracing
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    #: A list is sent as its key once for each value.
    Query = Mapping[str, str | int | list[str]]


#: Whether a request is ours: httpx logs every URL, whose query may hold metadata, ids, or the token of a ping.
_is_ours = ContextVar("is_ours", default=False)
logging.getLogger("httpx").addFilter(lambda _: not _is_ours.get())


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Let httpx log nothing of the requests in the block, whoever listens to its logger; of others it still does."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a source is, and how long and how much it may answer."""

    base_url: str
    """May carry a query, such as Azure's api-version."""
    timeout: float = 60.0
    """Longest silence, in seconds."""
    connect_timeout: float = 5.0
    page_time: float = 120.0
    """Longest time for one answer, however slowly it drips, in seconds."""
    page_size: int = 128_000_000
    """Most bytes of one answer, decompressed."""
    ca_file: str | None = None
    """Certificates to trust instead of the usual ones; there is no setting to trust none."""
    route: str = "chat/completions"
    """What is asked below ``base_url``: the list of completions, or what an organization used."""

    @property
    def list_url(self) -> httpx.URL:
        """The route, without the query of ``base_url``."""
        url = httpx.URL(self.base_url)
        return url.copy_with(path=f"{url.path.rstrip('/')}/{self.route}", query=None)

    @property
    def query(self) -> dict[str, str]:
        """The query of ``base_url``, which goes with every request."""
        return dict(httpx.URL(self.base_url).params)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)
    moved_to: str | None = None
    """The host that a redirect names."""


@functools.cache
def _usual_trust() -> ssl.SSLContext:
    """Return the certificates that are believed without a setting; reading them takes longer than a small night."""
    return httpx.create_ssl_context()


class BrokenError(Exception):
    """No whole answer came; another attempt may bring one."""


class TooLargeError(Exception):
    """The answer is larger than what is read of one."""


class Transport:
    """Keeps a connection alive to one source, for each thread that asks; raises ConfigError for an unusable address."""

    def __init__(
        self,
        address: Address,
        headers: Mapping[str, str],
        guard: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._address = address
        self._guard = guard
        with _explained(address):
            self._list_url = address.list_url
            self._fixed = address.query
            self._headers = dict(headers)
            self._trust = ssl.create_default_context(cafile=address.ca_file) if address.ca_file else _usual_trust()
            self._under = tracing.here()
            self._of_thread = threading.local()
            self._opened: list[httpx.Client] = []
            self._http()  # a proxy that cannot be used is met here

    def _http(self) -> httpx.Client:
        """Return this thread's own client: a shared pool looks at each of its connections for every request."""
        http: httpx.Client | None = getattr(self._of_thread, "http", None)
        if http is None:
            http = self._of_thread.http = httpx.Client(
                headers=self._headers,
                timeout=httpx.Timeout(self._address.timeout, connect=self._address.connect_timeout),
                verify=self._trust,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none is taken, none is sent
            )
            self._opened.append(http)
        return http

    def close(self) -> None:
        """Let go of the connections."""
        for http in self._opened:
            http.close()

    def get(self, query: Query, *below: str) -> Answer:
        """Ask the route, or one below it, once; raises BrokenError, TooLargeError."""
        return self._ask("GET", query, below)

    def delete(self, *below: str) -> Answer:
        """Delete what lies below the route; raises as ``get``."""
        return self._ask("DELETE", {}, below)

    def _ask(self, method: str, query: Query, below: tuple[str, ...]) -> Answer:
        try:
            with _explained(self._address), self._guard(), _unlogged(), self._traced(method, below) as tell:
                answer = self._read(method, {**self._fixed, **query}, url_below(self._list_url, *below))
                tell("http.response.status_code", answer.status)
                return answer
        except httpx.HTTPError as error:
            raise BrokenError(_plain(error)) from error

    def _traced(self, method: str, below: tuple[str, ...]) -> contextlib.AbstractContextManager[tracing.Tell]:
        """Make a request a span; what comes first below the route is an id."""
        route = "/".join([self._address.route, *("{id}" for _ in below[:1]), *below[1:]])
        return tracing.request(method, route, self._list_url.host, under=self._under)

    def _read(self, method: str, query: Query, url: httpx.URL) -> Answer:
        self._of_thread.deadline = time.monotonic() + self._address.page_time
        body = bytearray()
        with self._http().stream(method, url, params=query, extensions={"trace": self._bound_in_time}) as answer:
            for part in answer.iter_bytes():
                body += part
                if len(body) > self._address.page_size:
                    raise TooLargeError(f"a page is larger than {self._address.page_size:,} bytes (setting page_size)")
            moved_to = httpx.URL(answer.headers["location"]).host if answer.has_redirect_location else None
            return Answer(answer.status_code, dict(answer.headers), bytes(body), moved_to)

    def _bound_in_time(self, event: str, told: Mapping[str, Any]) -> None:
        """Let every read of a new connection look at the clock: httpx bounds silence only, and headers drip as well."""
        if not event.endswith(("connect_tcp.complete", "start_tls.complete")):
            return
        connection = told["return_value"]
        read = connection.read

        def read_in_time(*asked: Any, **named: Any) -> bytes:
            if time.monotonic() > self._of_thread.deadline:
                raise BrokenError(f"a page took longer than {self._address.page_time:g} s (setting page_time)")
            part: bytes = read(*asked, **named)
            return part

        connection.read = read_in_time


def post(url: str, content: bytes, *, below: str, query: Mapping[str, str], seconds: float) -> int:
    """Send ``content`` to what lies below ``url``, once, and return the status; ``seconds`` bound each silence.

    Neither a redirect is followed nor the answer read. The URL is a secret: raises BrokenError in words that hold
    nothing of it.
    """
    try:
        address = httpx.URL(url)
        address = address.copy_with(path=address.path.rstrip("/") + below) if below else address
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        with (
            tracing.unheard(),
            _unlogged(),
            httpx.Client(timeout=seconds, cookies=cookies) as http,
            http.stream("POST", address.copy_merge_params(query), content=content) as answer,
        ):
            return answer.status_code
    except httpx.TimeoutException:
        raise BrokenError("the server does not answer in time") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        raise BrokenError("it is no URL that can be used") from None
    except httpx.TransportError as error:
        is_about_trust = "CERTIFICATE_VERIFY_FAILED" in str(error)
        raise BrokenError("its certificate is not trusted" if is_about_trust else "cannot connect") from None


def url_below(route: httpx.URL, *below: str) -> httpx.URL:
    """Return what lies below a route; no id can leave it, whatever it holds."""
    if not below:
        return route
    parts = [quote(part, safe="").replace(".", "%2E") for part in below]
    return route.copy_with(raw_path=b"/".join([route.raw_path, *(part.encode() for part in parts)]))


@contextlib.contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Translate what no further attempt can mend into a ConfigError that says which setting to look at."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:  # UnicodeError: no such host name
        raise ConfigError(f"base_url or a proxy is no URL that can be used: {error}", hint="check base_url") from error
    except httpx.ConnectError as error:
        host = httpx.URL(address.base_url).host
        if "WRONG_VERSION_NUMBER" in str(error):
            raise ConfigError(
                f"{host} does not speak TLS, as https wants: {error}",
                hint="check base_url: where the server speaks plain HTTP it begins with http://",
            ) from error
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise
        raise ConfigError(f"the certificate of {host} is not trusted: {error}", hint=_remedy(str(error))) from error
    except ssl.SSLError as error:
        raise ConfigError(f"{address.ca_file} holds no certificates: {error}", hint="check ca_file") from error
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"the proxy or the certificates cannot be used: {error}",
            hint="check ca_file, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error


def _remedy(reason: str) -> str:
    """Say what to do about a certificate; trusting another authority mends neither its date nor its name."""
    if "has expired" in reason or "not yet valid" in reason:
        return "whoever runs the server must renew it, unless it is the clock of this machine that is wrong"
    if "mismatch" in reason:
        return "check the host in base_url: the certificate is for another one"
    return "where the server has a private certificate authority, name its file with ca_file"


def _plain(error: httpx.HTTPError) -> str:
    """Say in plain words what a transport error means."""
    match error:
        case httpx.ConnectError() if _is_about_the_name(error):
            return f"the name of the host is not found (check base_url, and the DNS of this machine): {error}"
        case httpx.ConnectTimeout() | httpx.ConnectError() | httpx.ProxyError():
            return f"cannot connect: {str(error) or 'timed out'}"
        case httpx.TimeoutException():
            return "the server stopped answering in time"
        case httpx.DecodingError():
            return "the body cannot be decompressed"
        case _:
            return f"the connection broke: {str(error) or type(error).__name__}"


def _is_about_the_name(error: httpx.HTTPError) -> bool:
    """Tell whether a host's name could not be resolved: the lower library's error lies between it and ours."""
    return error.__cause__ is not None and isinstance(error.__cause__.__context__, socket.gaierror)
