"""The beginning of the report: the amount, it in a sentence, and the few numbers that people ask for; pure."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

from pipeline.cost import amounts
from pipeline.cost.markup import Child, Html, element, joined, name
from pipeline.cost.period import day_of, said, zone
from pipeline.cost.pricing import REASONS
from pipeline.cost.question import OTHER

if TYPE_CHECKING:
    from pipeline.cost.figures import Figures, Line

_ZERO = Decimal(0)


def headline(figures: Figures) -> str:
    """Return the amount that everything else explains."""
    total = figures.sum
    if not total.requests:
        return "No completions"
    return "No price" if total.cost is None else bounds(total)


def bounds(line: Line) -> str:
    """Write what something cost, between its bounds."""
    return amounts.between(line.cost_min, line.cost, amounts.places([line.cost]))


def lead(figures: Figures) -> Html:
    """Say in a few sentences what was used, what made it up, and how it compares."""
    if not figures.sum.requests:
        return element("p", f"No completion of {figures.period} is held. ", _nearest(figures), class_="lead")
    parts = [_used(figures), _made_up_by(figures), _against(figures), _left_out(figures)]
    return element("p", joined(part for part in parts if part), class_="lead")


def _nearest(figures: Figures) -> str:
    return (
        f"The data reach to {moment(figures.through, figures.period.tz)}."
        if figures.through
        else "There are none at all."
    )


def _used(figures: Figures) -> Html:
    total = figures.sum
    when = f"{figures.period} so far" if figures.running else str(figures.period)
    told = f"In {when}, {amounts.counted(total.requests, 'request')} used {amounts.large(total.tokens)} tokens"
    return joined([told, ". "])


def _made_up_by(figures: Figures) -> Html | None:
    """Name the model and the class of tokens that cost most."""
    whole = figures.sum.cost
    models = [line for line in figures.by_model.rows if line.cost and line.label != OTHER]
    if not whole or not models or not figures.classes.rows:
        return None
    first, kind = models[0], figures.classes.rows[0]
    told = f" made up {amounts.share(first.cost or _ZERO, whole)} of the cost"
    most = f"; of all classes of tokens, {kind.token_class} cost most ({amounts.share(kind.cost, whole)}). "
    return joined([name(first.label, 60), told, most])


def _against(figures: Figures) -> str | None:
    """Compare with the period before: of a month that runs, as many days of it."""
    running = figures.running
    if running and running.so_far and running.before:
        now, before = running.so_far.sum.cost, running.before.sum.cost
        if now is None or not before:
            return None
        days = f"first {running.so_far.period.days} days" if running.so_far.period.days > 1 else "first day"
        return f"Its {days} cost {_differs(now, before)} {running.before.period}. "
    now, before = figures.sum.cost, figures.sum.previous
    return f"That is {_differs(now, before)} {figures.period.previous()}. " if now is not None and before else None


def _differs(now: Decimal, before: Decimal) -> str:
    told = amounts.change(now, before)
    if told[0] in amounts.SIGNS:
        return f"{told[1:]} {'more' if now > before else 'less'} than"
    return "about as much as" if now < 2 * before else f"{told} as much as"


def _left_out(figures: Figures) -> str | None:
    total = figures.sum
    if not total.unpriced_requests:
        return None
    part = amounts.share(total.unpriced_requests, total.requests)
    have = "has" if total.unpriced_requests == 1 else "have"
    return (
        f"{amounts.counted(total.unpriced_requests, 'request')} ({part}) with {amounts.large(total.unpriced_tokens)} "
        f"tokens {have} no price and {'is' if total.unpriced_requests == 1 else 'are'} in no amount here. "
    )


def grounds(figures: Figures) -> Html | None:
    """Say what the amount rests on, and why it is not one number."""
    if not figures.sum.requests:
        return None
    told = [f"{reason} {amounts.share(count, figures.sum.requests)}" for reason, count in _reasons(figures)]
    link = element("a", "What it rests on", href="#basis")
    return element("p", link, f", in requests: {', '.join(told)}. ", _why_bounds(figures), class_="soft")


def _reasons(figures: Figures) -> list[tuple[str, int]]:
    """Return how many requests each reason is true of; one may have several."""
    reasons = ("exact", *REASONS.values(), "unpriced")
    counts = [(reason, sum(line.requests for line in figures.bases.rows if reason in line.label)) for reason in reasons]
    return [(reason, count) for reason, count in counts if count]


def _why_bounds(figures: Figures) -> str | None:
    if figures.sum.cost == figures.sum.cost_min:
        return None
    return (
        "Prompts whose cached share is not told count as cached in the lower amount, as not cached in the higher one."
    )


def key_numbers(figures: Figures) -> Html | None:
    """Show the few numbers that people ask for."""
    if not figures.sum.requests:
        return None
    return element("dl", *_numbers(figures), class_="keys")


def _numbers(figures: Figures) -> list[Html]:
    total, running, before = figures.sum, figures.running, figures.period.previous()
    told = [_number(str(before), money(total.previous), _compared(figures))]
    if running:
        least, most = running.projected
        digits = amounts.places([most])
        told.append(_number("By the end of the month", amounts.between(least, most, digits), "at the rate so far"))
        least, most = running.per_day
        told.append(_number("A day so far", amounts.between(least, most, amounts.places([most])), "on average"))
    tokens = f"{amounts.large(total.prompt_tokens)} in, {amounts.large(total.completion_tokens)} out"
    told += [
        _number("Requests", amounts.count(total.requests), None),
        _number("Tokens", amounts.large(total.tokens), tokens),
    ]
    if total.unpriced_requests:
        share = f"{amounts.share(total.unpriced_requests, total.requests)} of requests"
        told.append(_number("Unpriced tokens", amounts.large(total.unpriced_tokens), share))
    return told


def money(amount: Decimal | None) -> str:
    """Write an amount alone."""
    return amounts.NOTHING if amount is None else amounts.dollars(amount, amounts.places([amount]))


def _compared(figures: Figures) -> str | None:
    """Say how the whole period before compares; of a month that runs nothing can be said yet."""
    total = figures.sum
    if total.previous is None:
        return "nothing that has a price"
    return (
        "the whole month, at most" if figures.running else f"at most; now {amounts.change(total.cost, total.previous)}"
    )


def _number(what: str, value: Child, more: Child) -> Html:
    small = element("dd", more, class_="soft") if more else None
    return element("div", element("dt", what), element("dd", value), small)


def notices(figures: Figures) -> Html | None:
    """Say what the reader must know before trusting the amount: data that lag, or are not complete."""
    told = [*_open_end(figures), *_not_complete(figures)]
    if not told:
        return None
    return element("ul", *(element("li", one) for one in told), class_="notices", role="note")


def _open_end(figures: Figures) -> list[Html]:
    through, period = figures.through, figures.period
    if through is None:
        return [joined(["No source has been read to its end yet."])]
    if through >= period.end:
        return []
    return [joined([f"All sources are read up to {moment(through, period.tz)}; of what came later, not all is here."])]


def _not_complete(figures: Figures) -> list[Html]:
    return [
        joined([name(one.source), " is not complete: ", name(one.why_not or "no reason told", 400)])
        for one in figures.freshness.rows
        if not one.complete
    ]


def moment(when: dt.datetime | None, tz: str, *, is_short: bool = False) -> str:
    """Write a moment as a clock of the zone shows it."""
    if when is None:
        return amounts.NOTHING
    local = when.astimezone(dt.UTC if tz == "UTC" else zone(tz))
    return f"{local:%Y-%m-%d %H:%M}" if is_short else f"{said(day_of(when, tz))}, {local:%H:%M} {tz}"
