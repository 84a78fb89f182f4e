"""The sections of the report that tell what it rests on: estimates, what is unpriced, the data, prices; pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.cost import amounts, charts, summary
from pipeline.cost.markup import Html, element, name
from pipeline.cost.pricing import REASONS
from pipeline.cost.sections import section
from pipeline.cost.tables import Column, behind, lines, sql_details, table, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.cost.figures import Figures, Line

#: What a cost rests on, in words.
MEANINGS = {
    "exact": "Every rate is known to hold, and usage tells all that counts.",
    "cached share unknown": "Usage does not tell how much of the prompt came from the cache.",
    "cached share from Usage": "The cached share is that of the organization's usage, by day and model.",
    "tier unsupported": "The tier has no price of its own, so the standard rate counts.",
    "history assumed": "The price list does not reach back to that day, so a later rate counts.",
    "prefix-matched": "The full name of the model has no price, so that of its family counts.",
}
_UNPRICED = "unpriced"
#: Grounds told apart in the chart; the table tells all.
_APART = 4


def all_of(figures: Figures, price_set: str) -> Iterator[Html]:
    """Yield the sections; where nothing was used, only what is known of the data and the prices."""
    if figures.sum.requests:
        yield _basis(figures)
        yield _unpriced(figures)
    yield _freshness(figures)
    yield _prices(figures, price_set)


def _basis(figures: Figures) -> Html:
    rows = figures.bases.rows
    known = [reason for reason in ("exact", *REASONS.values()) if any(reason in line.label for line in rows)]
    meanings = [element("div", element("dt", reason), element("dd", MEANINGS[reason])) for reason in known]
    return section(
        "basis",
        "What the amounts rest on",
        charts.shares("by-basis", "Requests by what their cost rests on", _bases(rows)),
        element("dl", *meanings, class_="meanings"),
        behind(lines("Cost by what it rests on", "Rests on", rows, figures), figures.bases.sql),
    )


def _bases(rows: tuple[Line, ...]) -> list[tuple[str, str, Decimal]]:
    """Return the parts of the chart: the commonest grounds, all others as one, and what is unpriced."""
    priced = [line for line in rows if not line.label.startswith(_UNPRICED)]
    parts = [(charts.kind_of(place), line.label, line.requests) for place, line in enumerate(priced[:_APART])]
    parts.append((charts.kind_of(_APART), "other combinations", sum(line.requests for line in priced[_APART:])))
    parts.append((charts.REST, _UNPRICED, sum(line.requests for line in rows if line not in priced)))
    return [(kind, label, Decimal(requests)) for kind, label, requests in parts if requests]


def _unpriced(figures: Figures) -> Html:
    figure, total = figures.unpriced, figures.sum
    if not figure.rows:
        return section("unpriced", "Unpriced usage", element("p", "There is none."), sql_details(figure.sql))
    columns = [Column("Model", is_number=False), Column("Why", is_number=False)]
    columns += [Column(head) for head in ("Requests", "Share", "Tokens in", "Tokens out")]
    rows = [
        [
            name(one.model),
            one.unpriced_because,
            amounts.count(one.requests),
            amounts.share(one.requests, total.requests),
            tokens(one.prompt_tokens),
            tokens(one.completion_tokens),
        ]
        for one in figure.rows
    ]
    told = "It is in no amount of this report. A model gets its price from the settings, under [cost]."
    drawn = table("Usage without a price", columns, rows)
    return section("unpriced", "Unpriced usage", element("p", told, class_="soft"), drawn, sql_details(figure.sql))


def _freshness(figures: Figures) -> Html:
    columns = [Column(head, is_number=False) for head in ("Source", "Data through", "Complete", "Latest run ended")]
    tz = figures.period.tz
    rows = [
        [
            name(one.source),
            summary.moment(one.data_through, tz),
            "yes" if one.complete else "no",
            summary.moment(one.ended_at, tz),
        ]
        for one in figures.freshness.rows
    ]
    drawn = table("How far the data go", columns, rows) if rows else element("p", "No run is recorded.")
    return section("data", "The data", drawn, sql_details(figures.freshness.sql))


def _prices(figures: Figures, price_set: str) -> Html:
    told = (
        f"List prices of the set {price_set}; prices and discounts of your settings, where there are any, come first. "
        "Each completion is priced alone, then summed; amounts are exact until they are shown. They are US dollars: an "
        "estimate from stored completions, which the bill may differ from. What is gone at the source keeps its cost."
    )
    figure = figures.price_sets
    drawn = lines("Cost by price set", "Price set", figure.rows, figures) if figure.rows else None
    return section("prices", "Prices", element("p", told), behind(drawn, figure.sql) if drawn else None)
