"""The sections of the report that tell cost and usage, each a chart, its table and its SQL; pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.cost import amounts, charts, summary
from pipeline.cost.markup import Child, Html, element, joined, name, shown
from pipeline.cost.tables import Column, behind, lines, money, sql_details, table
from pipeline.cost.views import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.cost.figures import Expensive, Figure, Figures, Line

_BOUNDS = (Column("At least"), Column("At most"))


def section(key: str, title: Child, *children: Child) -> Html:
    """Return a section under its heading."""
    return element("section", element("h2", title, id=key), *children, aria_labelledby=key)


def all_of(figures: Figures) -> Iterator[Html]:
    """Yield the sections; none where nothing was used."""
    if figures.sum.requests:
        yield _cost_over_time(figures)
        yield _models(figures)
        yield from _groups(figures)
        yield _tokens(figures)
        yield _finish(figures)
        yield _expensive(figures)


def _cost_over_time(figures: Figures) -> Html:
    rows, step = figures.days.rows, figures.period.step
    drawn = lines(f"Cost by {step}", step.capitalize(), rows, figures, label=lambda line: _when(figures, line))
    sql = [figures.days.sql, *([figures.days_before.sql] if charts.compared(figures) else [])]
    under = behind(drawn, *sql, rows=len(rows), summary=f"Table: {amounts.counted(len(rows), step)}")
    return section("time", "Cost over time", charts.cost_over_time(figures), under)


def _when(figures: Figures, line: Line) -> str:
    return charts.step_said(line.key, figures.period.step)


def _models(figures: Figures) -> Html:
    is_split = len(figures.by_model.rows) > 1 and figures.sum.cost
    over_time = _models_over_time(figures) if is_split else ()
    return section("models", "By model", *_group(figures, "model", "model", figures.by_model), *over_time)


def _models_over_time(figures: Figures) -> list[Html]:
    """Show the same over time: a row for each day, a column for each model."""
    step, models = figures.period.step, charts.models_told(figures)
    costs = {(one.key, one.model): one.cost for one in figures.models_by_day.rows}
    days = sorted({one.key for one in figures.models_by_day.rows})
    digits = amounts.places(costs.values())
    cells = [
        [charts.step_said(day, step), *(money(costs.get((day, model)), digits) for model in models)] for day in days
    ]
    sums = [sum((costs.get((day, model)) or Decimal(0) for day in days), Decimal(0)) for model in models]
    columns = [Column(step.capitalize(), is_number=False), *(Column(name(model, 60)) for model in models)]
    title = f"At most, by {step} and model"
    drawn = table(title, columns, cells, last=["Total", *(money(amount, digits) for amount in sums)])
    under = behind(
        drawn, figures.models_by_day.sql, rows=len(days), summary=f"Table: {amounts.counted(len(days), step)}"
    )
    return [element("h3", "Over time"), charts.models_over_time(figures), under]


def _groups(figures: Figures) -> Iterator[Html]:
    """Yield what else cost is told by: tier, source where there are several, and chosen metadata."""
    yield section("tiers", "By service tier", *_group(figures, "tier", "service tier", figures.by_tier))
    if len(figures.by_source.rows) > 1:
        yield section("sources", "By source", *_group(figures, "source", "source", figures.by_source))
    for place, (key, figure) in enumerate(figures.tags.items()):
        told = _group(figures, f"tag-{place}", shown(key, 40), figure)
        yield section(f"tags-{place}", joined(["By ", name(key, 60)]), _untagged(figures, figure), *told)


def _untagged(figures: Figures, figure: Figure[Line]) -> Html:
    without = sum(line.requests for line in figure.rows if line.label == NONE)
    part = amounts.share(without, figures.sum.requests)
    return element("p", f"{part} of the requests lack this key." if without else "Every request has it.", class_="soft")


def _group(figures: Figures, key: str, what: str, figure: Figure[Line]) -> list[Html | None]:
    rows = [line for line in figure.rows if line.requests or line.previous]
    title = f"Cost by {what}"
    return [
        charts.ranked(f"by-{key}", title, rows),
        behind(lines(title, what if key.startswith("tag") else what.capitalize(), rows, figures), figure.sql),
    ]


def _tokens(figures: Figures) -> Html:
    by_class = _classes(figures) if figures.sum.cost else ()
    return section("tokens", "Tokens", charts.tokens_over_time(figures), _tokens_over_time(figures), *by_class)


def _tokens_over_time(figures: Figures) -> Html:
    rows, step = figures.tokens_by_day.rows, figures.period.step
    used = {field: head for field, (_, head) in charts.TOKENS.items() if any(getattr(row, field) for row in rows)}
    cells = [[charts.step_said(row.day, step), *(amounts.count(getattr(row, field)) for field in used)] for row in rows]
    columns = [Column(step.capitalize(), is_number=False), *(Column(head) for head in used.values())]
    last = ["Total", *(amounts.count(sum(getattr(row, field) for row in rows)) for field in used)]
    drawn = table(f"Tokens by {step}", columns, cells, last=last)
    summary_of = f"Table: {amounts.counted(len(rows), step)}"
    return behind(drawn, figures.tokens_by_day.sql, rows=len(rows), summary=summary_of)


def _classes(figures: Figures) -> list[Html]:
    """Show what tokens cost by their class; those without a price have none."""
    rows, total = figures.classes.rows, figures.sum
    digits = amounts.places(one.cost for one in rows)
    cells: list[list[Child]] = [
        [
            one.token_class.capitalize(),
            amounts.count(one.tokens),
            money(one.cost_min, digits),
            money(one.cost, digits),
            amounts.share(one.cost, total.cost or 0),
        ]
        for one in rows
    ]
    columns = [Column("Class", is_number=False), Column("Tokens"), *_BOUNDS, Column("Share")]
    tokens = amounts.count(sum(one.tokens for one in rows))
    last = ["Total", tokens, money(total.cost_min, digits), money(total.cost, digits), amounts.share(1, 1)]
    drawn = table("Cost by class of tokens; unpriced tokens have none", columns, cells, last=last)
    parts = [(charts.class_kind(one.token_class), one.token_class, one.cost) for one in rows]
    return [
        element("h3", "What they cost"),
        charts.shares("by-class", "Cost by class of tokens", parts),
        behind(drawn, figures.classes.sql),
    ]


def _finish(figures: Figures) -> Html:
    figure = figures.finish_reasons
    drawn = lines("Requests and cost by finish reason", "Finish reason", figure.rows, figures)
    chart = charts.shares("by-finish", "Requests by finish reason", charts.by_requests(figure.rows))
    return section("finish", "How completions ended", chart, behind(drawn, figure.sql))


def _expensive(figures: Figures) -> Html:
    figure = figures.most_expensive
    digits = amounts.places(one.cost for one in figure.rows)
    columns = [Column(head, is_number=False) for head in ("Completion", "Model", "When")]
    columns += [Column("Tokens in"), Column("Tokens out"), *_BOUNDS]
    rows = [_expensive_row(figures, one, digits) for one in figure.rows]
    drawn = table("The completions that cost most", columns, rows)
    return section("expensive", "Most expensive completions", drawn, *_said_in(figure.rows), sql_details(figure.sql))


def _expensive_row(figures: Figures, one: Expensive, digits: int) -> list[Child]:
    return [
        element("code", name(one.completion_id, 80)),
        name(one.model or amounts.NOTHING, 60),
        summary.moment(one.created, figures.period.tz, is_short=True),
        amounts.count(one.prompt_tokens),
        amounts.count(one.completion_tokens),
        money(one.cost_min, digits),
        money(one.cost, digits),
    ]


def _said_in(rows: Sequence[Expensive]) -> list[Html]:
    """Show how what was asked and answered begins, where that was asked for."""
    entries = [
        element(
            "div",
            element("dt", element("code", name(one.completion_id, 80))),
            *map(_excerpt, (one.asked, one.answered)),
        )
        for one in rows
        if one.asked or one.answered
    ]
    return [element("h3", "How they begin"), element("dl", *entries, class_="meanings")] if entries else []


def _excerpt(text: str | None) -> Html | None:
    return element("dd", name(text, 200)) if text else None
