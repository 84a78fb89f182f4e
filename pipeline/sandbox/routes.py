"""The honest API: each route over the store, faults aside."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from pipeline.sandbox.answer import of_error
from pipeline.sandbox.body import encode, glance
from pipeline.sandbox.create import create, response
from pipeline.sandbox.listing import DEFAULT_LIMIT, ApiError, Query, bad_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from pipeline.sandbox.listing import Listing
    from pipeline.sandbox.organization import Pages
    from pipeline.sandbox.store import Store

_NO_METHOD = 405
#: Paths below the root, each with the name of its route.
ORGANIZATION = (("/organization/usage/completions", "usage"), ("/organization/costs", "costs"))
_METADATA = re.compile(r"metadata\[(.*)\]")


def routes(
    store: Store, ask: Callable[[Request, Query], Listing], ask_organization: Callable[[Request, str], Pages]
) -> Starlette:
    """Return the API over ``store``, as far as its shape has one; list requests are answered by ``ask``.

    What the organization used and was billed is answered by ``ask_organization``, beside any shape.
    """
    api, shape = _Api(store, ask, ask_organization), store.shape
    one = shape.path + "/{completion_id}"
    reading = [
        Route(shape.path, api.list, methods=["GET"]),
        Route(one, api.retrieve, methods=["GET"]),
        Route(one + "/messages", api.messages, methods=["GET"]),
    ]
    changing = [Route(one, api.edit, methods=["POST"]), Route(one, api.delete, methods=["DELETE"])]
    creating = [Route(shape.path, api.create, methods=["POST"])]
    known = creating if shape.only_creates else [*reading, *creating, *(changing if shape.changes else ())]
    known += [Route(shape.root + path, api.of_organization, methods=["GET"], name=name) for path, name in ORGANIZATION]
    return Starlette(routes=known, exception_handlers={ApiError: api.refuse, HTTPException: api.no_route})


class _Api:
    """One method per route."""

    def __init__(
        self, store: Store, ask: Callable[[Request, Query], Listing], ask_organization: Callable[[Request, str], Pages]
    ) -> None:
        self._store = store
        self._ask = ask
        self._ask_organization = ask_organization
        self._random = random.Random(store.seed)

    async def list(self, request: Request) -> Response:
        return _json(self._ask(request, read_query(request)).encode())

    async def of_organization(self, request: Request) -> Response:
        route = next(name for path, name in ORGANIZATION if request.url.path.endswith(path))
        return _json(self._ask_organization(request, route).encode())

    async def messages(self, request: Request) -> Response:
        return _json(self._store.messages(_id(request), read_query(request)).encode())

    async def retrieve(self, request: Request) -> Response:
        return _json(self._store.retrieve(_id(request)))

    async def edit(self, request: Request) -> Response:
        body = glance(await request.body())
        if "metadata" not in body:
            raise bad_value("metadata", "Missing required parameter: 'metadata'.", code="missing_required_parameter")
        return _json(self._store.edit(_id(request), body["metadata"]))

    async def delete(self, request: Request) -> Response:
        self._store.delete(_id(request))
        return _json(encode({"object": "chat.completion.deleted", "id": _id(request), "deleted": True}))

    async def create(self, request: Request) -> Response:
        asked = glance(await request.body())
        store, now = self._store, int(self._store.clock())
        row = create(asked, rng=self._random, now=now, request_id=request.state.request_id)
        if store.shape.always_stores or asked.get("store") is not False:
            visible_at = now + store.shape.generation + store.shape.lag
            store.add(row, visible_at=visible_at, messages=asked["messages"])
        return _json(encode(response(row)))

    def refuse(self, _: Request, error: Exception) -> Response:
        """Answer with the API's error body."""
        refusal: Any = error
        answer = of_error(refusal, self._store.house)
        return Response(answer.body, answer.status, answer.headers)

    def no_route(self, request: Request, error: Exception) -> Response:
        """Say in the API's words that no such route or method exists."""
        told: Any = error
        where = f"({request.method} {request.url.path})"
        if told.status_code == _NO_METHOD or self._store.shape.only_creates:
            refusal = ApiError(_NO_METHOD, f"Not allowed: {where}", code="method_not_supported")
        else:
            refusal = ApiError(told.status_code, f"Invalid URL {where}", code="unknown_url")
        return self.refuse(request, refusal)


def read_query(request: Request) -> Query:
    """Read the parameters of a list; unknown ones are ignored."""
    given = request.query_params
    order = given.get("order")
    if order not in {None, "asc", "desc"}:
        raise bad_value("order", f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.")
    metadata = {match[1]: value for key, value in given.items() if (match := _METADATA.fullmatch(key))}
    return Query(given.get("after"), _limit(given.get("limit")), order, given.get("model"), metadata)  # type: ignore[arg-type]


def _limit(text: str | None) -> int:
    """Read ``limit``; the store judges its size."""
    try:
        return DEFAULT_LIMIT if text is None else int(text)
    except ValueError as error:
        message = f"Invalid type for 'limit': expected an integer, but got '{text}' instead."
        raise bad_value("limit", message, code="invalid_type") from error


def _id(request: Request) -> str:
    return str(request.path_params["completion_id"])


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
