"""What `pipeline reconcile` answers: what was billed beside the estimate, and why the two differ; plain values."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline.cost import reconciliation
from pipeline.errors import IncompleteError, TryAgainError, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.cost.period import Period
    from pipeline.result import DestinationResult

KEYS = ("day", "source", "model")
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched of one source."""

    source: str
    days: int
    """Days received, of both kinds."""
    exit_code: int = 0
    why_not: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was billed beside the estimate."""

    period: Period
    by: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: Mapping[str, Any]
    """The same columns over all rows, but for the keys."""
    fetched: tuple[Fetched, ...]
    requests: int
    """How often the organization was asked."""
    notes: tuple[str, ...]
    """What the numbers leave out, or should be read with."""
    destinations: tuple[DestinationResult, ...] = ()
    published: bool = False

    @property
    def exit_code(self) -> int:
        """Return 0 whatever the difference is; 3 where part could not be fetched, or what kept all of it from it."""
        codes = [one.exit_code for one in self.fetched]
        if any(one.days for one in self.fetched):
            codes = [IncompleteError.exit_code if code == TryAgainError.exit_code else code for code in codes]
        return worst([*codes, *(done.exit_code for done in self.destinations)])

    @property
    def shares(self) -> dict[str, Decimal]:
        """Return each class as percent of the difference: together 100; nothing where there is no difference."""
        difference = self.total["difference"]
        if not difference:
            return {}
        return {name: 100 * self.total[name] / difference for name in reconciliation.CLASSES}

    @property
    def for_people(self) -> tuple[list[str], list[list[object]]]:
        """Return columns and rows as people read them: amounts to the cent, classes that occur, the total last."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        told = [name for name in reconciliation.CLASSES if any(row[name] for row in rows)]
        columns = [*self.by, "requests", "tokens", "estimate", "billed", "difference", *_words(told)]
        lines = [[*_named(row, self.by), *_for_people(row, told)] for row in rows]
        if self.by:
            lines.append(["total", *[""] * (len(self.by) - 1), *_for_people(self.total, told)])
        return columns, lines

    @property
    def lines(self) -> tuple[str, ...]:
        """Say for people what it comes to, and why."""
        total = self.total
        if total["billed"] is None:
            first = f"{self.period}: nothing was billed, or it is not told yet"
        else:
            compared = total["estimate"] - total["not_compared"]
            first = (
                f"{self.period}: billed {_dollars(total['billed'])}, estimated {_dollars(compared)}, "
                f"difference {_dollars(total['difference'])}"
            )
        held = (
            f"held: {_percent(total['requests_coverage'])} of requests, {_percent(total['tokens_coverage'])} of tokens"
        )
        classes = [
            f"{name.replace('_', ' ')}: {_dollars(total[name])}, {share:.1f} % of the difference"
            for name, share in self.shares.items()
            if total[name]
        ]
        applied = total["cached_share_applied"]
        saved = [f"the cached share from Usage lowers the estimate by {_dollars(applied)} already"] if applied else []
        return (first, held, *classes, *saved, *self.notes)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values: amounts are texts, so that they stay exact."""
        return {
            "since": self.period.since,
            "until": self.period.until,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "total": self.total,
            "shares": {name: round(share, 6) for name, share in self.shares.items()},
            "fetched": [
                {"source": one.source, "days": one.days, "exit_code": one.exit_code, "why_not": one.why_not}
                for one in self.fetched
            ],
            "requests": self.requests,
            "notes": self.notes,
            "exit_code": self.exit_code,
        }


def _words(names: Iterable[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _named(row: Mapping[str, Any], by: tuple[str, ...]) -> list[object]:
    """Name the keys of a row; what has no model is not of one."""
    return ["(other)" if name == "model" and row[name] is None else row[name] for name in by]


def _for_people(row: Mapping[str, Any], classes: Iterable[str]) -> list[object]:
    coverage = [_percent(row["requests_coverage"]), _percent(row["tokens_coverage"])]
    amounts = [_dollars(row[name]) for name in ("estimate", "billed", "difference")]
    return [*coverage, *amounts, *(_dollars(row[name]) if row[name] else "" for name in classes)]


def _dollars(amount: Decimal | None) -> str:
    if amount is None:
        return ""
    rounded = amount.quantize(_CENT)
    return f"{'-' if rounded < 0 else ''}${abs(rounded):,}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1f} %"
