"""The Usage and Costs APIs of the organization: pages of UTC days, for the admin key alone."""

from __future__ import annotations

import base64
import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.sandbox.billing import Billing, cost_results, usage_results
from pipeline.sandbox.listing import bad_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.sandbox.store import Store

#: By route: the days of a page where none are asked for, and at most.
LIMITS = {"usage": (7, 31), "costs": (7, 180)}
_DAY = 86_400
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Pages:
    """One page of days."""

    days: tuple[dict[str, Any], ...] = ()
    has_more: bool = False
    next_page: str | None = None

    def encode(self) -> bytes:
        """Return the envelope; amounts keep every digit."""
        told = {"object": "page", "data": self.days, "has_more": self.has_more, "next_page": self.next_page}
        return _ENCODER.encode(told)


@dataclass(slots=True)
class Organization:
    """Answers both APIs from a store and its billing."""

    store: Store
    billing: Billing = field(default_factory=Billing)

    def page(self, route: str, query: Mapping[str, Sequence[str]]) -> Pages:
        """Answer one request; ``query`` has every value of each key."""
        start, end = _second(query, "start_time"), _second(query, "end_time", int(self.store.clock()))
        limit, keys = _limit(route, query), [*query.get("group_by[]", ()), *query.get("group_by", ())]
        projects = [*query.get("project_ids[]", ()), *query.get("project_ids", ())]
        is_ours = not projects or self.billing.project in projects
        told = self._results(route, keys) if is_ours else {}
        first = start // _DAY + _place(query)
        numbers = range(first, min(first + limit, -(-end // _DAY)))
        days = tuple(
            {
                "object": "bucket",
                "start_time": number * _DAY,
                "end_time": (number + 1) * _DAY,
                "results": told.get(number, []),
            }
            for number in numbers
        )
        reached = first + len(days)
        has_more = reached * _DAY < end
        return Pages(days, has_more, _token(reached - start // _DAY) if has_more else None)

    def _results(self, route: str, keys: list[str]) -> dict[int, list[dict[str, Any]]]:
        """Return the results by number of the day."""
        is_told = self.billing.tells_usage if route == "usage" else self.billing.tells_costs
        by_day: dict[int, list[Any]] = defaultdict(list)
        if is_told:
            rows = self.billing.usage(self.store) if route == "usage" else self.billing.bill(self.store)
            for one in rows:
                by_day[(one.day - dt.date(1970, 1, 1)).days].append(one)
        if route == "usage":
            hidden = self.billing.hides_cached
            return {
                day: usage_results(told, keys, tells_cached=told[0].day not in hidden) for day, told in by_day.items()
            }
        return {day: cost_results(told, keys, self.billing.project) for day, told in by_day.items()}


def _second(query: Mapping[str, Sequence[str]], name: str, default: int | None = None) -> int:
    given = query.get(name)
    if not given and default is not None:
        return default
    if not given or not given[0].isdecimal():
        raise bad_value(name, f"Missing or invalid parameter: '{name}'.", code="missing_required_parameter")
    return int(given[0])


def _limit(route: str, query: Mapping[str, Sequence[str]]) -> int:
    default, most = LIMITS[route]
    limit = int(query.get("limit", [str(default)])[0])
    if not 1 <= limit <= most:
        message = f"Invalid 'limit': expected a value from 1 to {most}, but got {limit}."
        raise bad_value("limit", message, code="integer_above_max_value")
    return limit


def _token(place: int) -> str:
    """Write how far the pages have come, so that nobody reads it by chance."""
    return "page_" + base64.urlsafe_b64encode(str(place).encode()).decode()


def _place(query: Mapping[str, Sequence[str]]) -> int:
    given = query.get("page")
    try:
        return int(base64.urlsafe_b64decode(given[0].removeprefix("page_"))) if given else 0
    except ValueError as error:
        raise bad_value("page", "Invalid 'page'.") from error
