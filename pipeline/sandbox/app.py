"""The sandbox as an ASGI app: requests are numbered and logged, faults act, then the honest API answers."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from uuid import UUID

from pipeline.sandbox.answer import Answer, of_error, of_redirect, of_status
from pipeline.sandbox.faults import (
    ANCHORS,
    BODIES,
    CHANGES,
    LISTINGS,
    QUERIES,
    REDIRECTS,
    STATUSES,
    WIRES,
    Fault,
    of_kind,
)
from pipeline.sandbox.house import HOUSES, Identity
from pipeline.sandbox.listing import ApiError, Listing, Query
from pipeline.sandbox.organization import Organization, Pages
from pipeline.sandbox.routes import ORGANIZATION, routes
from pipeline.sandbox.wire import deliver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.requests import Request

    from pipeline.sandbox.store import Store
    from pipeline.sandbox.wire import Event, Receive, Send

#: A key that is known but may not list, whatever key the sandbox was given.
NO_PERMISSION_KEY = "sk-no-permission"
#: Compressed, these would not be what they are meant to be.
_NOT_ZIPPED = ("drip", "big")
_KEY_HEADERS = {name for house in HOUSES.values() for name in house.key_headers}


@dataclass(slots=True)
class Received:
    """One request as it arrived; the headers of the key are not kept."""

    number: int
    """Position among all requests, from 1."""
    route: str | None
    """``list``, ``messages``, ``retrieve``, ``usage`` or ``costs``; None for what changes the store."""
    route_number: int | None
    """Position among the requests of its route, from 1: what faults count."""
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    in_flight: int = 1
    """How many requests were in hand when it came, this one too."""
    faults: tuple[Fault, ...] = ()
    status: int | None = None
    """None until it is answered."""

    @property
    def list_number(self) -> int | None:
        """Position among list requests, from 1; None for any other request."""
        return self.route_number if self.route == "list" else None


@dataclass(slots=True)
class Log:
    """What was asked, in order of arrival; kept in memory, for tests."""

    list_path: str
    root: str = "/v1"
    asked: dict[str, int] = field(default_factory=dict)
    """GETs by route."""
    requests: list[Received] = field(default_factory=list)
    most_in_flight: int = 0
    _in_flight: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self, scope: Event) -> Received:
        """Give a request its numbers."""
        route = self._route(scope)
        headers = {name: value for name, value in _headers(scope["headers"]).items() if name not in _KEY_HEADERS}
        with self._lock:
            if route is not None:
                self.asked[route] = self.asked.get(route, 0) + 1
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            received = Received(
                number=len(self.requests) + 1,
                route=route,
                route_number=self.asked[route] if route else None,
                method=scope["method"],
                path=scope["path"],
                query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
                headers=headers,
                in_flight=self._in_flight,
            )
            self.requests.append(received)
        return received

    def _route(self, scope: Event) -> str | None:
        """Say which route a GET asks; None for anything else."""
        if scope["method"] != "GET":
            return None
        if (route := _of_organization(self.root, scope["path"])) or not scope["path"].startswith(self.list_path):
            return route
        below = scope["path"].removeprefix(self.list_path)
        if not below:
            return "list"
        return "messages" if below.endswith("/messages") else "retrieve"

    def left(self) -> None:
        """Note that a request was answered, or given up."""
        with self._lock:
            self._in_flight -= 1


class App:
    """Answers as the recorded service does, except where a fault acts."""

    def __init__(  # noqa: PLR0913 - the switches of a test double, all keywords
        self,
        store: Store,
        *,
        faults: Sequence[Fault] = (),
        key: str | None = None,
        admin_key: str | None = None,
        identity: Identity | None = None,
        on_request: Callable[[Received], None] | None = None,
    ) -> None:
        self.store = store
        self.faults = tuple(faults)
        self.latency = 0.0
        """Seconds that every answer waits, as if it came from far away."""
        self.log = Log(store.shape.path, store.shape.root)
        self._key = key
        self._admin_key = admin_key
        self.organization = Organization(store)
        self._identity = identity or Identity()
        self.on_request = on_request
        self._routes = routes(store, self._ask, self._ask_organization)
        self._page_before = Listing()
        self._days_before = Pages()

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        began = time.monotonic()
        received = self.log.arrived(scope)
        received.faults = self._acting(received)
        try:
            if self.on_request is not None:
                self.on_request(received)
            if self.latency:
                await asyncio.sleep(self.latency)
            answer = await self._answer(received, scope, receive)
            headers = {**answer.headers, **self._told(received, time.monotonic() - began)}
            await self._deliver(Answer(answer.status, answer.body, headers), received, scope, receive, send)
        finally:
            self.log.left()

    async def _answer(self, received: Received, scope: Event, receive: Receive) -> Answer:
        """Let the faults change the store or refuse; else ask the API."""
        for fault in of_kind(received.faults, CHANGES):
            self._change(fault, received)
        for fault in of_kind(received.faults, STATUSES):
            return of_status(fault, self.store.house, self.store.clock())
        for fault in of_kind(received.faults, REDIRECTS):
            return of_redirect(fault)
        refusal = self._refusal(received, scope)
        return of_error(refusal, self.store.house) if refusal else await self._from_routes(received, scope, receive)

    def _acting(self, received: Received) -> tuple[Fault, ...]:
        number, seed = received.route_number, self.store.seed
        return tuple(
            fault for fault in self.faults if number and fault.route == received.route and fault.acts_on(number, seed)
        )

    def _change(self, fault: Fault, received: Received) -> None:
        """Delete or edit a row just before it is asked for; a row that is gone already stays gone."""
        after = received.query.get("after")
        target = (after if fault.value == "after" else fault.value) or self.store.sample()
        if target not in self.store.visible_ids():
            return
        if fault.kind == "delete":
            self.store.delete(target)
        else:
            self.store.edit(target, {"edited": f"before list request {received.list_number}"})

    def _refusal(self, received: Received, scope: Event) -> ApiError | None:
        """Say what is missing, or why the key is not enough; None where all is well."""
        if self.store.shape.api_version and "api-version" not in received.query:
            return ApiError(404, "Resource not found", code="404")
        headers = _headers(scope["headers"])
        given = next((headers[name] for name in self.store.house.key_headers if name in headers), "")
        given = given.removeprefix("Bearer ")
        if given == NO_PERMISSION_KEY:
            message = "You have insufficient permissions for this operation. Missing scopes: model.read."
            return ApiError(403, message, code="missing_scope")
        is_of_organization = _of_organization(self.store.shape.root, scope["path"]) is not None
        wanted, foreign = (
            (self._admin_key, self._key) if is_of_organization else (self._key, self._admin_key)
        )  # neither key opens what the other one is for
        if given == wanted or (wanted is None and (foreign is None or given != foreign)):
            return None
        if not given:
            return ApiError(401, "You didn't provide an API key.")
        return ApiError(401, "Incorrect API key provided.", code="invalid_api_key")

    async def _from_routes(self, received: Received, scope: Event, receive: Receive) -> Answer:
        """Run the API and keep what it sends."""
        sent: list[Event] = []

        async def keep(event: Event) -> None:
            sent.append(event)

        state = {**scope["state"], "received": received, "request_id": self._request_id(received)}
        await self._routes({**scope, "state": state}, receive, keep)
        body = b"".join(event.get("body", b"") for event in sent[1:])
        return Answer(sent[0]["status"], body, _headers(sent[0]["headers"]))

    def _ask(self, request: Request, query: Query) -> Listing:
        """Answer a list request from the store, as the faults have it."""
        faults = request.state.received.faults
        if of_kind(faults, ["stuck"]):
            return self._page_before
        for fault in of_kind(faults, QUERIES):
            query = QUERIES[fault.kind](query)
        self._page_before = listing = self._from_store(query, faults)
        for fault in of_kind(faults, LISTINGS):
            listing = LISTINGS[fault.kind](listing)
        return listing

    def _ask_organization(self, request: Request, route: str) -> Pages:
        """Answer a question to the organization, as the faults have it."""
        faults = request.state.received.faults
        if of_kind(faults, ["stuck"]):
            return self._days_before
        given = {key: request.query_params.getlist(key) for key in request.query_params}
        self._days_before = pages = self.organization.page(route, given)
        if of_kind(faults, ["more"]):
            return replace(pages, has_more=True)
        return Pages(has_more=True, next_page="page_x") if of_kind(faults, ["empty-more"]) else pages

    def _from_store(self, query: Query, faults: Sequence[Fault]) -> Listing:
        """Ask the store, unless a fault says that the anchor vanished."""
        vanished = of_kind(faults, ANCHORS)
        if vanished and query.after is not None:
            return self.store.without_anchor(query, ANCHORS[vanished[0].kind])
        return self.store.list(query)

    async def _deliver(self, answer: Answer, received: Received, scope: Event, receive: Receive, send: Send) -> None:
        """Send the answer, spoiled and broken as the first faults of either kind say."""
        received.status = answer.status
        for fault in of_kind(received.faults, BODIES)[:1]:
            answer = answer.spoiled(fault)
        broken = next(iter(of_kind(received.faults, WIRES)), None)
        if broken is None or broken.kind not in _NOT_ZIPPED:
            answer = answer.zipped_for(received.headers.get("accept-encoding", ""))
        await deliver(answer, broken, scope["state"]["transport"], receive, send)

    def _told(self, received: Received, seconds: float) -> dict[str, str]:
        """Return the headers that every answer of the house has; the date is the store's."""
        identity = self._identity
        if of_kind(received.faults, ["other-project"]):
            identity = replace(identity, project=f"{identity.project}-other")
        milliseconds = max(1, round(seconds * 1000))
        told = self.store.house.headers(identity, self._request_id(received), milliseconds)
        return {"date": formatdate(self.store.clock(), usegmt=True), **told}

    def _request_id(self, received: Received) -> str:
        """Name a request; the same numbers give the same names."""
        return self.store.house.request_id(UUID(int=(self.store.seed << 64 | received.number) % 2**128))


def _of_organization(root: str, path: str) -> str | None:
    """Name the route of a path that the admin key is for."""
    return next((name for below, name in ORGANIZATION if path == root + below), None)


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Read the headers of an event."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
