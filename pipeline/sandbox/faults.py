"""What can go wrong on demand: which fault acts on which request.

The requests of each route are numbered from 1 in order of arrival, retries included; a fault acts on the list unless
another route is named: ``10%:429@messages``, ``3:404@retrieve``.
As text (``--fault``) a fault is ``WHEN:KIND`` or ``WHEN:KIND:VALUE``; WHEN is ``3``, ``3-5``, ``3-`` (from 3 on) or
``10%`` (a seeded coin for each request). VALUE is ``HEADER=VALUE`` for a status, a URL for a redirect, an id for
``delete`` and ``edit``, and a number for ``big`` and ``bomb`` (megabytes) and ``drip`` (how often):
``3:429:retry-after-ms=10``, ``2-:anchor-404``, ``5%:503``, ``4:delete:after``, ``1:big:50``.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from pipeline.errors import UsageError
from pipeline.sandbox.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.sandbox.listing import Query

#: A status instead of an answer: (HTTP status, type, code, message).
STATUSES: dict[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", "invalid_value", "Invalid request."),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "403": (403, "invalid_request_error", "missing_scope", "You have insufficient permissions for this operation."),
    "404": (404, "invalid_request_error", None, "Invalid URL (GET /v1/chat/completions)"),
    "405": (405, "invalid_request_error", "method_not_supported", "Not allowed to GET on /v1/chat/completions."),
    "408": (408, "server_error", None, "Request timed out."),
    "409": (409, "invalid_request_error", "conflict", "The resource is locked by another request."),
    "422": (422, "invalid_request_error", None, "Unprocessable entity."),
    "429": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    "money": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "500": (500, "server_error", None, "The server had an error while processing your request."),
    "501": (501, "invalid_request_error", None, "Not implemented."),
    "502": (502, "server_error", None, "Bad gateway."),
    "503": (503, "service_unavailable_error", "server_is_overloaded", "The engine is currently overloaded."),
    "504": (504, "server_error", None, "Gateway timeout."),
    "529": (529, "overloaded_error", None, "Overloaded."),
}

#: Another place to ask, named by VALUE.
REDIRECTS = ("301", "302", "307", "308")

#: An ``after`` that names nothing, in each way that ``Shape.vanished`` knows; nothing happens without ``after``.
ANCHORS = {"anchor-404": "404", "anchor-400": "400", "anchor-empty": "empty", "anchor-page1": "page1"}

#: Another question answered than the one asked.
QUERIES: dict[str, Callable[[Query], Query]] = {
    "wrong-order": lambda query: replace(query, order="desc" if query.order == "asc" else "asc"),
    "filter-ignored": lambda query: replace(query, model=None, metadata={}),
}

#: Lies about a true page; ``stuck``, the page before once more (``3:stuck``: once and then on), is told by the app,
#: which remembers it.
LISTINGS: dict[str, Callable[[Listing], Listing]] = {
    "more": lambda listing: replace(listing, has_more=True),
    "no-more": lambda listing: replace(listing, has_more=False),
    "empty-more": lambda _: Listing(has_more=True),
    "empty-more-blank": lambda _: Listing(first_id="", last_id="", has_more=True),
}

#: Bodies that are whole on their way but not what they say they are: see ``answer``.
BODIES = ("truncated-json", "truncated-gzip", "html", "wrong-type", "bomb")

#: How the bytes fail on their way: see ``wire``.
WIRES = ("stall", "reset", "cut", "drip", "close", "drop", "hang-up", "big")

#: What counts something, and how much without VALUE: megabytes of a page; blanks before one, 0 for no end.
NUMBERS = {"big": 200, "bomb": 200, "drip": 0}

#: What happens to the store just before the answer, to the row named by VALUE, or by ``after``, or to any row.
CHANGES = ("delete", "edit")

KINDS = (
    *STATUSES,
    *REDIRECTS,
    *ANCHORS,
    *QUERIES,
    *LISTINGS,
    "stuck",
    *BODIES,
    *WIRES,
    *CHANGES,
    "other-project",
)

#: What a GET may ask for.
ROUTES = ("list", "messages", "retrieve", "usage", "costs")

_TEXT = re.compile(
    r"(?:(?P<at>\d+)(?P<to>-\d*)?|(?P<percent>\d+(?:\.\d+)?)%):(?P<kind>[^:@]+)"
    r"(?:@(?P<route>\w+))?(?::(?P<value>.+))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and when."""

    kind: str
    """One of ``KINDS``."""
    at: int = 1
    """The first request of its route that it acts on."""
    times: int = 1
    """How many requests in a row it acts on; 0 is all from ``at`` on."""
    rate: float = 1.0
    """The share of those requests, by a seeded coin."""
    header: str = ""
    """For a status: a header to send, such as ``retry-after``."""
    value: str = ""
    """The header's value (``date+N``: N seconds from now, as a date); for ``delete``, ``edit`` an id or ``after``; a
    redirect's URL; a number."""
    route: str = "list"
    """One of ``ROUTES``."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown fault {self.kind!r}", hint=f"known faults: {', '.join(KINDS)}")
        if self.route not in ROUTES:
            raise UsageError(f"unknown route {self.route!r} of a fault", hint=f"known routes: {', '.join(ROUTES)}")
        if self.kind in REDIRECTS and not self.value:
            raise UsageError(f"the fault {self.kind} needs a URL", hint=f"write 1:{self.kind}:URL")
        if self.kind in NUMBERS and self.value and not self.value.isdecimal():
            raise UsageError(f"the fault {self.kind} needs a number, not {self.value!r}", hint=f"write 1:{self.kind}:5")

    @property
    def number(self) -> int:
        """How much, for the kinds that count something."""
        return int(self.value or NUMBERS[self.kind])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a fault as typed on the command line."""
        match = _TEXT.fullmatch(text)
        if match is None or match["at"] == "0" or _ends_before_it_begins(match):
            raise UsageError(
                f"cannot read the fault {text!r}",
                hint=f"write WHEN:KIND or WHEN:KIND:VALUE, such as 3:503 or 3-5:429:retry-after=1 or 10%:reset; "
                f"kinds: {', '.join(KINDS)}",
            )
        header, value = "", match["value"] or ""
        if match["kind"] in STATUSES:
            header, _, value = value.rpartition("=")
        route = match["route"] or "list"
        if match["percent"]:
            return cls(
                match["kind"], times=0, rate=float(match["percent"]) / 100, header=header, value=value, route=route
            )
        times = _times(int(match["at"]), match["to"])
        return cls(match["kind"], int(match["at"]), times, header=header, value=value, route=route)

    def acts_on(self, number: int, seed: int) -> bool:
        """Tell whether it acts on the request of this number; the same seed gives the same answer."""
        if number < self.at or (self.times and number >= self.at + self.times):
            return False
        return self.rate >= 1 or random.Random(f"{seed}:{self.kind}:{number}").random() < self.rate


def _times(at: int, to: str | None) -> int:
    """Count the requests from ``at`` to the end of a range: ``-5``, ``-`` for no end, None for one request."""
    if to is None:
        return 1
    return int(to[1:]) - at + 1 if to[1:] else 0


def _ends_before_it_begins(match: re.Match[str]) -> bool:
    """Tell a range such as ``5-3``."""
    end = (match["to"] or "")[1:]
    return bool(end) and int(end) < int(match["at"])


def of_kind(faults: Iterable[Fault], kinds: Iterable[str]) -> list[Fault]:
    """Return those of ``faults`` whose kind is one of ``kinds``."""
    wanted = set(kinds)
    return [fault for fault in faults if fault.kind in wanted]
