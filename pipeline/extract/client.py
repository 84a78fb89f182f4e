"""Questions to one source, with retries, answered in our own types and errors: what each answer means."""

from __future__ import annotations

import re
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar

from pipeline.errors import ConfigError, IncompleteError, NoListRouteError, PipelineError, RefusedError, ServerError
from pipeline.extract.page import BadPageError, Filters, Messages, decode, decode_messages, decode_row
from pipeline.extract.retry import AgainError, Policy, asked_wait, is_worth_retrying, may_pass
from pipeline.extract.throttle import Throttle
from pipeline.extract.told import RATE_LIMITED, ErrorBody, is_about_money, one_line, place, server_time
from pipeline.extract.transport import Address, Answer, BrokenError, TooLargeError, Transport
from pipeline.extract.walk import TOO_LARGE, Refusal, Request
from pipeline.handoff import Account
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.extract.retry import Retry
    from pipeline.handoff import Page, Row
    from pipeline.secret import Secret

T = TypeVar("T")

NO_LIST = frozenset({404, 405, 501})
NO_ANCHOR = NO_LIST | {400, 422}
NO_PERMISSION = frozenset({401, 403})
OK, BAD, NOT_FOUND = 200, 400, 404
#: Messages asked for at a time, and the API's own default for servers that refuse so many.
MESSAGES, DEFAULT_LIMIT = 100, 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A source and how to ask it."""

    source: str
    address: Address
    organization: str | None = None
    project: str | None = None
    filters: Filters = field(default_factory=lambda: Filters(None, {}))
    policy: Policy = field(default_factory=Policy)


@dataclass(slots=True)
class Tally:
    """What the questions cost so far."""

    pages: int = 0
    calls: int = 0
    """Requests for one completion, or its messages."""
    requests: int = 0
    """All that were sent, answered or not."""
    retries: int = 0
    bytes: int = 0


class Client:
    """Asks one source for pages over a kept-alive connection.

    ``account`` is what the source's archive remembers; an answer for another organization or project is refused.
    ``guard`` wraps each network call, ``sleep`` waits between attempts. Threads may share it where both may be called
    from threads; ``at_once`` bounds the questions about single completions, and a rate limit halves them.
    ``complain`` hears of a question that failed more than once and is about to be asked again.
    """

    def __init__(  # noqa: PLR0913 - each has a name
        self,
        endpoint: Endpoint,
        key: Secret,
        *,
        account: Account | None = None,
        sleep: Callable[[float], None] = time.sleep,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
        at_once: int = 1,
        complain: Callable[[Retry], None] = lambda _: None,
    ) -> None:
        self.account = account or Account()
        self.tally = Tally()
        self._throttle = Throttle(at_once)
        self._lock = threading.Lock()
        self._endpoint = endpoint
        self._key = key
        self._sleep = sleep
        self._complain = complain
        self._transport = Transport(endpoint.address, _headers(endpoint, key), guard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def list(self, request: Request) -> Page | Refusal:
        """Ask for one page; retries what may pass, raises ServerError, RefusedError, ConfigError for what does not."""
        return self._patiently(lambda: self._attempt(request))

    def retrieve(self, id_: str) -> Row | Refusal:
        """Ask for one completion; a refusal says that there is none of that id. Raises as ``list``."""
        return self._patiently(lambda: self._attempt_one(id_))

    def messages(self, id_: str) -> tuple[bytes, ...] | Refusal:
        """Ask for all input messages of a completion, in their order, each byte for byte as sent. Raises as ``list``.

        A refusal says that there is no completion of that id. Raises IncompleteError where the pages do not get on.
        """
        found: list[bytes] = []
        after, limit = None, MESSAGES
        while True:
            page = self._patiently(lambda after=after, limit=limit: self._attempt_messages(id_, after, limit))  # type: ignore[misc]
            if isinstance(page, Refusal):
                if page.status == BAD and limit == MESSAGES and not isinstance(self.retrieve(id_), Refusal):
                    limit = DEFAULT_LIMIT
                    continue
                return page
            new = [body for body in page.bodies if after is None or body not in found]
            found += new
            if not page.has_more:
                return tuple(found)
            if not new or page.last is None:
                raise IncompleteError(
                    f"source {self._endpoint.source}: the pages of a completion's input messages do not get on",
                    hint="what was read is kept; run again, and if it stays so, tell whoever runs the server",
                )
            after = page.last

    def delete(self, id_: str) -> None:
        """Delete a completion at the source; one that is not there counts as deleted. Raises as ``list``."""
        self._patiently(lambda: self._attempt_delete(id_))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Retry what may pass."""
        return self._endpoint.policy.call(attempt, sleep=self._sleep, retried=self._retried)

    def _retried(self, retry: Retry) -> None:
        with self._lock:
            self.tally.retries += 1
        if retry.tried > 1:  # one failure alone is nothing to speak of
            self._complain(retry)

    def _sent(self) -> None:
        with self._lock:
            self.tally.requests += 1

    def _attempt_one(self, id_: str) -> Row | Refusal:
        answer = self._ask(lambda: self._transport.get({}, id_))
        if answer.status != OK:
            return self._refusal_of_one(answer, id_)
        try:
            row = decode_row(answer.body)
        except BadPageError as error:
            raise AgainError(self._server_error(str(error), answer)) from error
        if row.id != id_:
            raise AgainError(self._server_error("the answer is not the completion that was asked for", answer))
        return row

    def _attempt_messages(self, id_: str, after: str | None, limit: int) -> Messages | Refusal:
        query: dict[str, str | int] = {"limit": limit, "order": "asc"}
        if after is not None:
            query["after"] = after
        answer = self._ask(lambda: self._transport.get(query, id_, "messages"))
        if answer.status != OK:
            return self._refusal_of_one(answer, id_)
        try:
            return decode_messages(answer.body)
        except BadPageError as error:
            raise AgainError(self._server_error(str(error), answer)) from error

    def _attempt_delete(self, id_: str) -> None:
        answer = self._ask(lambda: self._transport.delete(id_))
        if answer.status != OK:
            self._refusal_of_one(answer, id_)

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        """Make one attempt at a question about one completion, when it is its turn."""
        with self._throttle.slot() as slot:
            self._sent()
            try:
                answer = ask()
            except (BrokenError, TooLargeError) as error:
                raise AgainError(self._server_error(str(error))) from error
            except ConfigError as error:
                raise ConfigError(self._say(error.message), hint=error.hint) from error
            slot.was_limited = answer.status == RATE_LIMITED
        with self._lock:
            if answer.status == OK:
                self._stay_the_same(answer.headers)
                self.tally.calls += 1
                self.tally.bytes += len(answer.body)
        return answer

    def _refusal_of_one(self, answer: Answer, id_: str) -> Refusal:
        """Say that there is no such completion: 404, and 400 on OGX; raises for everything else."""
        refusal = self._refusal(answer, Request(id_, 0))
        if refusal.status not in {NOT_FOUND, BAD}:
            raise self._unexpected(refusal.status, refusal.message, answer)
        return refusal

    def _attempt(self, request: Request) -> Page | Refusal:
        self._sent()
        try:
            answer = self._transport.get(_query(request, self._endpoint.filters))
        except BrokenError as error:
            raise AgainError(self._server_error(str(error))) from error
        except TooLargeError as error:
            return Refusal(TOO_LARGE, self._say(str(error)))
        except ConfigError as error:
            raise ConfigError(self._say(error.message), hint=error.hint) from error
        if answer.status != OK:
            return self._refusal(answer, request)
        with self._lock:
            self._stay_the_same(answer.headers)
        return self._page(answer)

    def _page(self, answer: Answer) -> Page:
        try:
            page = decode(answer.body, server_time=server_time(answer.headers))
        except BadPageError as error:
            raise AgainError(self._server_error(str(error), answer)) from error
        if not all(self._endpoint.filters.admit(row) for row in page.rows):
            raise ConfigError(
                f"source {self._endpoint.source}: the server ignores the filters (model, metadata) of this source",
                hint="remove them from the configuration: everything would be exported under this name",
            )
        with self._lock:
            self.tally.pages += 1
            self.tally.bytes += len(answer.body)
        return page

    def _stay_the_same(self, headers: Mapping[str, str]) -> None:
        """Refuse a key that suddenly answers for another organization or project (walk 9)."""
        told = Account(headers.get("openai-organization"), headers.get("openai-project"))
        for name in ("organization", "project"):
            before, now = getattr(self.account, name), getattr(told, name)
            if before is not None and now is not None and before != now:
                raise RefusedError(
                    f"source {self._endpoint.source}: the key now answers for {name} {now}, but what is held came "
                    f"from {before}",
                    hint="give this key a source name of its own, or put the former key back",
                )
        self.account = Account(self.account.organization or told.organization, self.account.project or told.project)

    def _refusal(self, answer: Answer, request: Request) -> Refusal:
        """Tell an anchor or limit that was not taken from what ends the source and from what may pass."""
        status, error = answer.status, ErrorBody.of(answer.body)
        message = one_line(_without_id(self._key.hide_in(error.message), request.after))
        if is_about_money(status, error):
            raise RefusedError(
                self._say(f"{status} {error.code or error.type}: {message}", answer),
                hint="waiting does not help: the account needs money or a higher limit",
            )
        if is_worth_retrying(status, answer.headers):
            wait = asked_wait(answer.headers, now=server_time(answer.headers))
            raise AgainError(self._server_error(f"{status} {message}".rstrip(), answer), wait)
        if status in NO_PERMISSION:
            raise RefusedError(
                self._say(f"the server refuses the key: {status} {message}".rstrip(), answer),
                hint="check the setting api_key of this source, and that the key may read stored completions",
            )
        if request.after is None and status in NO_LIST:
            raise NoListRouteError(
                self._say(f"this server has no stored completions: it answers the list with {status}", answer),
                hint="check base_url: it ends in /v1 on most servers",
            )
        if status in NO_ANCHOR:
            return Refusal(status, message)
        if may_pass(status):
            raise self._server_error(f"{status} {message}".rstrip(), answer)
        raise self._unexpected(status, message, answer)

    def _unexpected(self, status: int, message: str, answer: Answer) -> PipelineError:
        moved = f" to {answer.moved_to}" if answer.moved_to else ""
        return ConfigError(
            self._say(f"unexpected answer {status}{moved} {message}".rstrip(), answer),
            hint="check base_url; redirects are not followed, so that the key goes nowhere else",
        )

    def _server_error(self, what: str, answer: Answer | None = None) -> ServerError:
        return ServerError(self._say(what, answer), hint="what was read is kept; run again later")

    def _say(self, what: str, answer: Answer | None = None) -> str:
        """Name source, place and the server's own id of the request."""
        return f"source {self._endpoint.source}: {what} ({place(self._endpoint.address.list_url, answer)})"


def _without_id(text: str, id_: str | None) -> str:
    """Take the completion that was asked for out of the server's text: no log and no run names one (forgetting)."""
    return re.sub(rf"(?<!\w){re.escape(id_)}(?!\w)", "…", text) if id_ else text


def _headers(endpoint: Endpoint, key: Secret) -> dict[str, str]:
    headers = {
        **_authorization(endpoint.address, key.reveal()),
        "User-Agent": f"pipeline/{__version__} (export of stored completions)",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "OpenAI-Organization": endpoint.organization,
        "OpenAI-Project": endpoint.project,
    }
    return {name: value for name, value in headers.items() if value}


def _authorization(address: Address, key: str) -> dict[str, str]:
    """Show the key as the server wants it: Azure takes its own keys in api-key, and tokens (JWT) as bearer."""
    is_azure = address.list_url.host.endswith(".azure.com") or "api-version" in address.query
    is_token = key.startswith("eyJ") and key.count(".") == 2  # noqa: PLR2004 - header, payload, signature
    return {"api-key": key} if is_azure and not is_token else {"Authorization": f"Bearer {key}"}


def _query(request: Request, filters: Filters) -> dict[str, str | int]:
    query: dict[str, str | int] = {"limit": request.limit}
    if request.order is not None:
        query["order"] = request.order
    if request.after is not None:
        query["after"] = request.after
    if filters.model:
        query["model"] = filters.model
    return query | {f"metadata[{key}]": value for key, value in filters.metadata.items()}
