"""What the report tells, as plain values: each figure is the rows of one query, with the query; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pipeline.cost import queries
from pipeline.cost.period import Period, projected
from pipeline.cost.question import OTHER

if TYPE_CHECKING:
    import datetime as dt

    from pipeline.cost.query import Asked, Query

_T = TypeVar("_T")
Row = dict[str, Any]
Ask = Callable[[str], list[Row]]
_DAY_SECONDS = 86_400
#: Models that are told apart over time: more colours could not be told apart.
MODELS_OVER_TIME = 5


@dataclass(frozen=True, slots=True)
class Figure(Generic[_T]):
    """The answer to a query."""

    sql: str
    rows: tuple[_T, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """Sums over some completions."""

    key: Any
    """What they have in common."""
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_min: Decimal | None
    """No less than this; None where nothing of it has a price, or nothing is there."""
    cost: Decimal | None
    """No more than this."""
    unpriced_requests: int
    unpriced_tokens: int
    previous: Decimal | None = None
    """What the same cost at most in the period before."""

    @property
    def tokens(self) -> int:
        """Return all tokens."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def label(self) -> str:
        """Return what they have in common, as text."""
        return str(self.key)


@dataclass(frozen=True, slots=True)
class ModelStep:
    """What a model cost on a day, or in a longer step of time."""

    key: dt.date
    model: str
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class TokenStep:
    """Tokens of a day, or of a longer step of time."""

    day: dt.date
    input: int
    input_or_cached: int
    """Input whose cached share is not told."""
    cached_input: int
    output: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class TokenClass:
    """Tokens that have one rate, and their cost."""

    token_class: str
    tokens: int
    cost_min: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Expensive:
    """One completion that cost much."""

    completion_id: str
    source: str
    created: dt.datetime
    model: str | None
    service_tier: str | None
    prompt_tokens: int
    completion_tokens: int
    cost_min: Decimal
    cost: Decimal
    basis: str
    asked: str | None = None
    answered: str | None = None


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Usage without a price."""

    unpriced_because: str
    model: str
    requests: int
    prompt_tokens: int | None
    """None where usage does not tell."""
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far the data of a source go."""

    source: str
    data_through: dt.datetime | None
    complete: bool
    why_not: str | None
    ended_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a period, and what it cost."""

    period: Period
    sum: Line


@dataclass(frozen=True, slots=True)
class Running:
    """How a month that is not over runs."""

    so_far: Part | None
    """Its complete days; None where there is none."""
    before: Part | None
    """As many days of the month before."""
    per_day: tuple[Decimal, Decimal]
    """US dollars, at least and at most."""
    projected: tuple[Decimal, Decimal]
    """What the month comes to at this rate."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that the report tells."""

    asked: Asked
    through: dt.datetime | None
    """Up to when the data reach; the sources that reach least far count."""
    total: Figure[Line]
    bases: Figure[Line]
    days: Figure[Line]
    days_before: Figure[Line]
    by_model: Figure[Line]
    models_by_day: Figure[ModelStep]
    by_tier: Figure[Line]
    by_source: Figure[Line]
    tokens_by_day: Figure[TokenStep]
    classes: Figure[TokenClass]
    finish_reasons: Figure[Line]
    most_expensive: Figure[Expensive]
    unpriced: Figure[Unpriced]
    price_sets: Figure[Line]
    freshness: Figure[Freshness]
    running: Running | None
    tags: dict[str, Figure[Line]] = field(default_factory=dict)
    """By metadata key, in the order asked."""

    @property
    def period(self) -> Period:
        """Return what it is about."""
        return self.asked.period

    @property
    def is_compared(self) -> bool:
        """Tell whether the period before is a fair comparison: what runs is not compared with what is over."""
        return self.running is None and self.sum.previous is not None

    @property
    def sum(self) -> Line:
        """Return the sums over everything."""
        return self.total.rows[0]


def gather(
    ask: Ask, asked: Asked, *, through: dt.datetime | None, tags: tuple[str, ...], with_content: bool
) -> Figures:
    """Ask for all figures; ``ask`` runs SQL on one and the same snapshot."""
    for statement in asked.tables():
        ask(statement)
    period = asked.period
    total = _lines(ask, asked, queries.total())
    by_model = _lines(ask, asked, queries.by(queries.MODEL))
    models = tuple(line.label for line in by_model.rows if line.label != OTHER and line.cost)[:MODELS_OVER_TIME]
    return Figures(
        asked=asked,
        through=through,
        total=total,
        bases=_lines(ask, asked, queries.bases()),
        days=_lines(ask, asked, queries.over_time(period)),
        days_before=_lines(ask, asked, queries.over_time_before(period)),
        by_model=by_model,
        models_by_day=_rows(ask, asked, queries.models_over_time(period, models), ModelStep),
        by_tier=_lines(ask, asked, queries.by(queries.TIER)),
        by_source=_lines(ask, asked, queries.by("source")),
        tokens_by_day=_rows(ask, asked, queries.tokens_over_time(period), TokenStep),
        classes=_rows(ask, asked, queries.classes(), TokenClass),
        finish_reasons=_lines(ask, asked, queries.finish_reasons(period)),
        most_expensive=_answered(ask, queries.most_expensive(asked, with_content=with_content), Expensive),
        unpriced=_rows(ask, asked, queries.unpriced(), Unpriced),
        price_sets=_lines(ask, asked, queries.price_sets()),
        freshness=_answered(ask, queries.FRESHNESS, Freshness),
        running=_running(ask, asked, total.rows[0], through),
        tags={key: _lines(ask, asked, queries.by_metadata(key)) for key in tags},
    )


def _answered(ask: Ask, sql: str, kind: Callable[..., _T]) -> Figure[_T]:
    """Answer a query that is asked as it is shown; its columns are the fields of a row."""
    return Figure(sql, tuple(kind(**row) for row in ask(sql)))


def _rows(ask: Ask, asked: Asked, query: Query, kind: Callable[..., _T]) -> Figure[_T]:
    return Figure(query.shown(asked), tuple(kind(**row) for row in ask(query.asked(asked))))


def _lines(ask: Ask, asked: Asked, query: Query) -> Figure[Line]:
    return Figure(query.shown(asked), tuple(map(line, ask(query.asked(asked)))))


def line(row: Row) -> Line:
    """Read a row of sums."""
    return Line(
        key=row.get("key"),
        requests=int(row["requests"] or 0),
        prompt_tokens=int(row["prompt_tokens"] or 0),
        completion_tokens=int(row["completion_tokens"] or 0),
        cost_min=row["cost_min"],
        cost=row["cost"],
        unpriced_requests=int(row["unpriced_requests"] or 0),
        unpriced_tokens=int(row["unpriced_tokens"] or 0),
        previous=row.get("previous_cost"),
    )


def _running(ask: Ask, asked: Asked, total: Line, through: dt.datetime | None) -> Running | None:
    """Tell how a month runs; None where it is no month, is over, or has no cost."""
    period = asked.period
    at_least, at_most = (projected(cost, period, through) for cost in (total.cost_min, total.cost))
    if at_least is None or at_most is None or through is None:
        return None
    days = period.complete_days(through)
    now, before = period.first_days(max(days, 1)), period.previous().first_days(max(days, 1))
    length = Decimal((period.end - period.begin).total_seconds()) / _DAY_SECONDS
    return Running(
        so_far=_part(ask, asked, now, queries.first_days(now)) if days else None,
        before=_part(ask, asked, before, queries.first_days_before(before)) if days else None,
        per_day=(at_least / length, at_most / length),
        projected=(at_least, at_most),
    )


def _part(ask: Ask, asked: Asked, period: Period, query: Query) -> Part:
    return Part(period, _lines(ask, asked, query).rows[0])
