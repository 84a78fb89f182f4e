"""Figures as charts: what is stacked on what, what is compared, and what each chart says in words; pure."""

from __future__ import annotations

import calendar
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from pipeline.cost import amounts, svg
from pipeline.cost.markup import Html, element, name, shown
from pipeline.cost.period import said
from pipeline.cost.question import OTHER
from pipeline.cost.svg import Bar, Says, Series, Share, Step, Written

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from pipeline.cost.figures import Figures, Line, TokenStep
    from pipeline.cost.period import Period

_ZERO = Decimal(0)
#: Labels below a time axis: more would touch each other on a phone.
_LABELS, _WEEK = 6, 7
#: Letters of a name in the words of a chart.
_LONGEST = 60
_LARGE = Decimal(1000)
#: Classes of the style sheet for what is told apart, in their order, and for all that is not.
_KINDS = ("s1", "s2", "s3", "s4", "s5")
REST = "rest"
#: Tokens by what they cost.
TOKENS = {
    "input": ("s1", "Input"),
    "input_or_cached": ("s5", "Input, cached share unknown"),
    "cached_input": ("s3", "Cached input"),
    "output": ("s2", "Output"),
    "unpriced": (REST, "Unpriced"),
}

_CLASSES = {"input": "s1", "cached input": "s3", "output": "s2", "cache write": "s5", "audio input": "s4"}


def legend(*entries: tuple[str, str]) -> Html:
    """Say what the colours mean."""
    return element(
        "ul", *(element("li", element("i", class_=kind), name(text, 60)) for kind, text in entries), class_="legend"
    )


def cost_over_time(figures: Figures) -> Html:
    """Draw what each day cost, between its bounds, and what the days of the period before cost."""
    days = {line.key: line for line in figures.days.rows}
    told = [days.get(day) for day in figures.period.steps()]
    least = tuple(line.cost_min or _ZERO if line else _ZERO for line in told)
    most = tuple(line.cost or _ZERO if line else _ZERO for line in told)
    spread = tuple(high - low for high, low in zip(most, least, strict=True))
    before = compared(figures)
    says = Says("cost-over-time", f"Cost by {figures.period.step}", _over_time(figures, most))
    drawn = svg.columns(
        says,
        _steps(figures.period, told),
        [Series("least", least), Series("most", spread)],
        _money(most),
        before,
    )
    entries = [("least", "At least"), ("most", "At most")] if any(spread) else [("least", "Cost")]
    if before:
        entries.append(("before", str(figures.period.previous())))
    return _figure(legend(*entries), drawn)


def compared(figures: Figures) -> tuple[Decimal, ...]:
    """Return what the days of the period before cost, each at the place of its namesake; only where steps are days."""
    period, before = figures.period, figures.period.previous()
    if period.step != "day" or period.days == 1:
        return ()
    costs = {line.key: line.cost for line in figures.days_before.rows}
    told = tuple(costs.get(day) or _ZERO for day in before.steps()[: period.days])
    return told if any(told) else ()


def models_told(figures: Figures) -> dict[str, str]:
    """Return the models that are told apart over time, and all others as one, each with its class."""
    there = {step.model for step in figures.models_by_day.rows if step.cost}
    order = [line.label for line in figures.by_model.rows if line.label in there and line.label != OTHER]
    return dict(zip(order, _KINDS, strict=False)) | ({OTHER: REST} if OTHER in there else {})


def models_over_time(figures: Figures) -> Html:
    """Draw what the models that cost most cost over time, one upon the other."""
    costs = {(step.key, step.model): step.cost or _ZERO for step in figures.models_by_day.rows}
    kinds, steps = models_told(figures), figures.period.steps()
    stack = [Series(kind, tuple(costs.get((day, model), _ZERO) for day in steps)) for model, kind in kinds.items()]
    sums = tuple(sum((one.values[place] for one in stack), _ZERO) for place in range(len(steps)))
    says = Says("models-over-time", f"Cost by {figures.period.step} and model", _over_time(figures, sums))
    drawn = svg.columns(says, _plain_steps(figures.period, sums), stack, _money(sums))
    return _figure(legend(*((kind, model) for model, kind in kinds.items())), drawn)


def tokens_over_time(figures: Figures) -> Html:
    """Draw tokens over time, by what they cost."""
    days = {step.day: step for step in figures.tokens_by_day.rows}
    told = [days.get(day) for day in figures.period.steps()]
    stack = {field: tuple(_tokens(step, field) for step in told) for field in TOKENS}
    used = {field: values for field, values in stack.items() if any(values)}
    sums = tuple(sum((values[place] for values in used.values()), _ZERO) for place in range(len(told)))
    steps = [
        Step(label, f"{when}: {amounts.large(int(total))} tokens")
        for (label, when), total in zip(_axis(figures.period), sums, strict=True)
    ]
    most = f"At most {amounts.large(int(max(sums, default=_ZERO)))} tokens by {figures.period.step}."
    says = Says("tokens-over-time", f"Tokens by {figures.period.step}", most)
    series = [Series(TOKENS[one][0], values) for one, values in used.items()]
    drawn = svg.columns(says, steps, series, Written(amounts.compact, amounts.rounded))
    return _figure(legend(*(TOKENS[field] for field in used)), drawn)


def _tokens(step: TokenStep | None, field: str) -> Decimal:
    return Decimal(getattr(step, field)) if step else _ZERO


def ranked(key: str, title: str, rows: Sequence[Line]) -> Html | None:
    """Draw what costs most, between its bounds; nothing where nothing has a cost."""
    told = [line for line in rows if line.cost]
    if not told:
        return None
    digits = amounts.places(line.cost for line in told)
    drawn = [_bar(line, digits) for line in told]
    first = f"{shown(drawn[0].label, _LONGEST)}: {drawn[0].value}"
    return _figure(None, svg.bars(Says(key, title, f"{len(drawn)} bars, the longest first. {first}"), drawn))


def _bar(line: Line, digits: int) -> Bar:
    least, most = line.cost_min or _ZERO, line.cost or _ZERO
    return Bar(line.label, least, most, amounts.between(least, most, digits), _short(least, most, digits))


def _short(least: Decimal, most: Decimal, digits: int) -> str:
    """Write bounds for a phone: large amounts without cents."""
    digits = 0 if most >= _LARGE else digits
    low, high = amounts.dollars(least, digits), amounts.dollars(most, digits)
    return high if low == high else f"{low}\N{EN DASH}{high.removeprefix('$')}"


def shares(key: str, title: str, parts: Sequence[tuple[str, str, Decimal]]) -> Html:
    """Draw parts of a whole, each with its kind, name and amount."""
    whole = sum((value for _, _, value in parts), _ZERO)
    told = [
        Share(kind, f"{shown(label, _LONGEST)}: {amounts.share(value, whole)}", value) for kind, label, value in parts
    ]
    drawn = svg.strip(Says(key, title, "; ".join(share.label for share in told)), told)
    return _figure(legend(*((share.kind, share.label) for share in told)), drawn)


def by_requests(rows: Sequence[Line]) -> list[tuple[str, str, Decimal]]:
    """Return the parts that requests fall into: those of the most requests, and all others as one."""
    first = [(kind, line.label, Decimal(line.requests)) for kind, line in zip(_KINDS, rows, strict=False)]
    others = sum(line.requests for line in rows[len(_KINDS) :])
    return [*first, (REST, OTHER, Decimal(others))] if others else first


def class_kind(token_class: str) -> str:
    """Return the class of the style sheet for a class of tokens, the same as over time."""
    return _CLASSES.get(token_class, REST)


def kind_of(place: int) -> str:
    """Return the class of what comes at a place, and of what comes after all that are told apart."""
    return _KINDS[place] if place < len(_KINDS) else REST


def _figure(above: Html | None, drawn: Html) -> Html:
    return element("figure", above, drawn)


def _steps(period: Period, told: Sequence[Line | None]) -> list[Step]:
    digits = amounts.places(line.cost for line in told if line)
    return [
        Step(
            label,
            f"{when}: {amounts.between(line.cost_min, line.cost, digits)}, {amounts.counted(line.requests, 'request')}",
        )
        if line
        else Step(label, when)
        for (label, when), line in zip(_axis(period), told, strict=True)
    ]


def _plain_steps(period: Period, sums: Sequence[Decimal]) -> list[Step]:
    digits = amounts.places(sums)
    return [
        Step(label, f"{when}: {amounts.dollars(total, digits)}")
        for (label, when), total in zip(_axis(period), sums, strict=True)
    ]


def _axis(period: Period) -> list[tuple[str, str]]:
    """Return for each step the label below the axis, empty for most, and its full name."""
    steps = period.steps()
    every = -(-len(steps) // _LABELS)
    every = -(-every // _WEEK) * _WEEK if period.step == "day" and len(steps) > _WEEK else every
    return [
        (_label(day, period.step) if place % every == 0 else "", step_said(day, period.step))
        for place, day in enumerate(steps)
    ]


def _label(day: dt.date, step: str) -> str:
    month = calendar.month_abbr[day.month]
    return {"month": f"{month} {day:%y}", "year": str(day.year)}.get(step, f"{day.day} {month}")


def step_said(day: dt.date, step: str) -> str:
    """Return the full name of a step."""
    if step == "week":
        return f"week of {said(day)}"
    month = f"{calendar.month_name[day.month]} {day.year}"
    return {"month": month, "year": str(day.year)}.get(step, said(day))


def _over_time(figures: Figures, costs: Sequence[Decimal]) -> str:
    """Say in words what a chart over time shows."""
    if not any(costs):
        return "Nothing that has a price."
    place = max(range(len(costs)), key=lambda one: costs[one])
    when = step_said(figures.period.steps()[place], figures.period.step)
    return f"At most {amounts.dollars(costs[place], amounts.places(costs))} in one {figures.period.step}: {when}."


def _money(values: Sequence[Decimal]) -> Written:
    """Write amounts as fine as the largest needs: ticks without cents where all are whole dollars."""
    step = svg.scale(max(values, default=_ZERO))[1].normalize()
    fraction = -int(step.as_tuple().exponent)
    ticks = 0 if fraction <= 0 else max(amounts.CENTS, fraction)
    tick = partial(amounts.dollars, digits=ticks) if step < _LARGE else lambda value: f"${amounts.compact(value)}"
    return Written(tick, partial(amounts.dollars, digits=amounts.places(values)))
