"""Questions to an organization: what its projects used and were billed, day by day, page by page.

The admin key is asked for here and nowhere else. A page token that does not move, or pages that bring no day that was
not shown, end it with an error: never a loop, never a day that is missing and taken for empty.
"""

from __future__ import annotations

import datetime as dt
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Self

from pipeline.errors import ConfigError, IncompleteError, PipelineError, RefusedError, ServerError
from pipeline.extract.buckets import decode_days
from pipeline.extract.page import BadPageError
from pipeline.extract.retry import AgainError, Policy, asked_wait, is_worth_retrying, may_pass
from pipeline.extract.told import ErrorBody, is_about_money, one_line, place, server_time
from pipeline.extract.transport import Address, Answer, BrokenError, TooLargeError, Transport
from pipeline.handoff import Bucket
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.extract.buckets import Days
    from pipeline.extract.transport import Query
    from pipeline.secret import Secret

#: By kind: the route below /organization, the days that one page may hold at most, and what days are split by.
ROUTES: dict[str, tuple[tuple[str, ...], int, list[str]]] = {
    "usage": (("usage", "completions"), 31, ["model", "service_tier", "batch"]),
    "costs": (("costs",), 180, ["project_id", "line_item"]),
}
#: A key that is refused, and one that may not.
_NO_PERMISSION = frozenset({401, 403})
_NO_ROUTE = frozenset({404, 405, 501})
_OK = 200


class Organization:
    """Asks one organization; ``guard`` wraps each network call, ``sleep`` waits between attempts."""

    def __init__(
        self,
        base_url: str,
        key: Secret,
        *,
        policy: Policy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.requests = 0
        self.name: str | None = None
        """The organization that the key answers for, where the server says so."""
        self._key = key
        self._policy = policy or Policy()
        self._sleep = sleep
        headers = {
            "Authorization": f"Bearer {key.reveal()}",
            "User-Agent": f"pipeline/{__version__} (reconciliation)",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        self._transport = Transport(Address(base_url, route="organization"), headers, guard)
        self._url = Address(base_url, route="organization").list_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def days(self, kind: str, project: str, since: dt.date, until: dt.date) -> Iterator[Bucket]:
        """Yield what a project's days say, page by page, from ``since`` to the day before ``until``.

        A day that the complete answer did not show comes last, as ``null``. Retries what may pass; raises
        IncompleteError for pages that do not get on, ServerError, RefusedError and ConfigError for the rest.
        """
        below, limit, split = ROUTES[kind]
        query: dict[str, str | int | list[str]] = {
            "start_time": _second(since),
            "end_time": _second(until),
            "bucket_width": "1d",
            "limit": limit,
            "group_by[]": split,
            "project_ids[]": [project],
        }
        shown: set[dt.date] = set()
        tokens: set[str] = set()
        while True:
            page = self._page(query, below)
            new = [(day, body) for day, body in page.bodies if since <= day < until and day not in shown]
            yield from (Bucket(kind, day, body) for day, body in new)
            self._insist_on_progress(kind, page, tokens, has_new=bool(new))
            shown.update(day for day, _ in new)
            if page.next_page is None:
                break
            tokens.add(page.next_page)
            query["page"] = page.next_page
        for number in range((until - since).days):
            if (day := since + dt.timedelta(days=number)) not in shown:
                yield Bucket(kind, day, b"null")

    @staticmethod
    def _insist_on_progress(kind: str, page: Days, tokens: set[str], *, has_new: bool) -> None:
        """Stop where more is said to follow and the page does not lead there."""
        if page.claims_more and (page.next_page is None or page.next_page in tokens or not has_new):
            raise IncompleteError(
                f"the organization's {kind}: the pages do not get on: more is said to follow, and the page token "
                "does not lead there",
                hint="what was read is kept; run again, and if it stays so, tell whoever runs the server",
            )

    def _page(self, query: Query, below: tuple[str, ...]) -> Days:
        """Ask for one page, as often as the policy allows."""
        return self._policy.call(lambda: self._attempt(query, below), sleep=self._sleep, retried=lambda _: None)

    def _attempt(self, query: Query, below: tuple[str, ...]) -> Days:
        self.requests += 1
        try:
            answer = self._transport.get(query, *below)
        except BrokenError as error:
            raise AgainError(self._server_error(str(error))) from error
        except TooLargeError as error:
            raise IncompleteError(self._say(str(error).partition(" (setting")[0])) from error
        except ConfigError as error:
            raise ConfigError(self._say(error.message), hint=error.hint) from error
        if answer.status != _OK:
            raise self._meaning(answer)
        self.name = self.name or answer.headers.get("openai-organization")
        try:
            return decode_days(answer.body)
        except BadPageError as error:
            raise AgainError(self._server_error(str(error), answer)) from error

    def _meaning(self, answer: Answer) -> PipelineError | AgainError:
        """Say what a refusal means, and whether it may pass."""
        status, told = answer.status, ErrorBody.of(answer.body)
        what = f"{status} {one_line(self._key.hide_in(told.message))}".rstrip()
        if is_about_money(status, told):
            return RefusedError(self._say(what, answer), hint="waiting does not help: the account needs money")
        if is_worth_retrying(status, answer.headers):
            wait = asked_wait(answer.headers, now=server_time(answer.headers))
            return AgainError(self._server_error(what, answer), wait)
        if status in _NO_PERMISSION:
            return RefusedError(
                self._say(f"the server refuses the admin key: {what}", answer),
                hint="organization.admin_key must name an admin key that may read usage; a project's key may not",
            )
        if may_pass(status):
            return self._server_error(what, answer)
        if status in _NO_ROUTE:
            what = f"this server does not tell usage and costs: it answers with {status}"
        moved = f", and points to {answer.moved_to}" if answer.moved_to else ""
        return ConfigError(self._say(what + moved, answer), hint="check organization.base_url: it ends in /v1")

    def _server_error(self, what: str, answer: Answer | None = None) -> ServerError:
        return ServerError(self._say(what, answer), hint="what was read is kept; run again later")

    def _say(self, what: str, answer: Answer | None = None) -> str:
        return f"organization: {what} ({place(self._url, answer)})"


def _second(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())
