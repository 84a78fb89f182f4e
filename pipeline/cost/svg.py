"""Charts as SVG, drawn here and not in the reader's browser; pure.

Lengths along the time axis are percentages and text has one size, so that a chart fits a phone and a page of paper
without being scaled. Colours are classes of the style sheet, which knows light, dark and paper. Nothing is a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from pipeline.cost.markup import Html, element, joined, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Heights in pixels: of the plot, of what is above it for a label, and of the axis below.
_PLOT, _HEAD, _FOOT = 180, 22, 24
#: Of the room of one step of time, how much its bar takes.
_BAR = Decimal("0.76")
#: Ticks of an axis: at most so many, at steps that people count in.
_TICKS = 4
_STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
_ROW, _THICK = 44, 10
#: Letters of a name beside its value: on a desk, and on a phone.
_WIDE, _NARROW = 48, 18
_WHOLE = Decimal(100)


@dataclass(frozen=True, slots=True)
class Says:
    """What a chart says to who does not see it."""

    key: str
    """Unique in the page."""
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Written:
    """How amounts are written."""

    tick: Callable[[Decimal], str]
    """Beside the axis."""
    value: Callable[[Decimal], str]
    """Upon a column."""


@dataclass(frozen=True, slots=True)
class Step:
    """A place on the time axis."""

    label: str
    """Below the axis; empty for most."""
    told: str
    """What a pointer on it shows."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time, stacked upon the series before."""

    kind: str
    """Class of the style sheet."""
    values: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A named amount between two bounds."""

    label: str
    least: Decimal
    most: Decimal
    value: str
    short: str
    """The same for a phone."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole."""

    kind: str
    label: str
    value: Decimal


def columns(
    says: Says, steps: Sequence[Step], stack: Sequence[Series], written: Written, line: Sequence[Decimal] = ()
) -> Html:
    """Draw stacked columns over time, the highest with its amount, and a line to compare them with."""
    sums = [sum((series.values[place] for series in stack), Decimal(0)) for place in range(len(steps))]
    ticks = scale(max([*sums, *line], default=Decimal(0)))
    top = ticks[-1]
    return _drawing(
        says,
        _HEAD + _PLOT + _FOOT,
        *(_gridline(tick, top, written) for tick in ticks),
        *(_column(place, steps, stack, top) for place in range(len(steps)) if sums[place]),
        _line(line, len(steps), top) if line else None,
        _highest(sums, top, written),
        *(_below(place, len(steps), step.label) for place, step in enumerate(steps) if step.label),
        kind="columns",
    )


def bars(says: Says, rows: Sequence[Bar]) -> Html:
    """Draw a bar for each row: solid up to the lower bound, pale up to the upper one."""
    top = max((row.most for row in rows), default=Decimal(0)) or Decimal(1)
    return _drawing(says, _ROW * len(rows), *(_row(place, row, top) for place, row in enumerate(rows)), kind="bars")


def strip(says: Says, shares: Sequence[Share]) -> Html:
    """Draw parts of a whole side by side."""
    whole = sum((share.value for share in shares), Decimal(0)) or Decimal(1)
    drawn, at = [], Decimal(0)
    for share in shares:
        width = _WHOLE * share.value / whole
        block = _rectangle(_percent(at), "0", _percent(width), "26", share.kind)
        drawn.append(element("g", element("title", share.label), block))
        at += width
    return _drawing(says, 26, *drawn, kind="strip")


def scale(most: Decimal) -> tuple[Decimal, ...]:
    """Return the ticks of an axis from 0 to at least the largest value."""
    if most <= 0:
        return (Decimal(0), Decimal(1))
    rough = most / _TICKS
    power = Decimal(1).scaleb(rough.adjusted())
    step = next(step * power for step in _STEPS if step * power >= rough)
    count = int((most / step).to_integral_value(ROUND_CEILING))
    return tuple(step * number for number in range(count + 1))


def _drawing(says: Says, height: int, *children: Html | None, kind: str) -> Html:
    return element(
        "svg",
        element("title", says.title, id=f"{says.key}-title"),
        element("desc", says.text, id=f"{says.key}-desc"),
        *children,
        class_=f"chart {kind}",
        width="100%",
        height=str(height),
        role="img",
        aria_labelledby=f"{says.key}-title {says.key}-desc",
    )


def _gridline(tick: Decimal, top: Decimal, written: Written) -> Html:
    y = _pixels(_height(tick, top))
    label = element("text", written.tick(tick), x="-8", y=y, dy="4", text_anchor="end", class_="tick")
    return joined([element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid" if tick else "axis"), label])


def _column(place: int, steps: Sequence[Step], stack: Sequence[Series], top: Decimal) -> Html:
    """Draw one stack, from the ground up."""
    drawn, below = [element("title", steps[place].told)], Decimal(0)
    width = _WHOLE / len(steps)
    x, wide = _percent(width * (place + (1 - _BAR) / 2)), _percent(width * _BAR)
    for series in stack:
        if value := series.values[place]:
            y = _height(below + value, top)
            drawn.append(_rectangle(x, _pixels(y), wide, _pixels(_height(below, top) - y), series.kind))
            below += value
    return element("g", *drawn)


def _line(values: Sequence[Decimal], steps: int, top: Decimal) -> Html:
    """Draw a line through the middle of the columns, in a frame of its own whose width is that of the page."""
    points = " ".join(f"{2 * place + 1},{_pixels(_height(value, top))}" for place, value in enumerate(values))
    return element(
        "svg",
        element("polyline", points=points, class_="before", vector_effect="non-scaling-stroke"),
        x="0",
        y="0",
        width="100%",
        height=str(_HEAD + _PLOT),
        viewBox=f"0 0 {2 * steps} {_HEAD + _PLOT}",
        preserveAspectRatio="none",
    )


def _highest(sums: Sequence[Decimal], top: Decimal, written: Written) -> Html | None:
    """Write the largest value upon its column."""
    if not any(sums):
        return None
    place = max(range(len(sums)), key=lambda one: sums[one])
    middle = _WHOLE * (2 * place + 1) / (2 * len(sums))
    anchor = "start" if middle < 10 else "end" if middle > 90 else "middle"  # noqa: PLR2004 - percent of the width
    y = _pixels(_height(sums[place], top) - 6)
    return element("text", written.value(sums[place]), x=_percent(middle), y=y, text_anchor=anchor, class_="value")


def _below(place: int, steps: int, label: str) -> Html:
    middle = _percent(_WHOLE * (2 * place + 1) / (2 * steps))
    y = str(_HEAD + _PLOT + 17)
    return element("text", label, x=middle, y=y, text_anchor="middle", class_="tick")


def _row(place: int, row: Bar, top: Decimal) -> Html:
    y = _ROW * place
    wide, narrow = shown(row.label, _WIDE), shown(row.label, _NARROW)
    solid = _rectangle("0", str(y + 22), _percent(_WHOLE * row.least / top), str(_THICK), "least")
    pale = _WHOLE * (row.most - row.least) / top
    return element(
        "g",
        element("title", f"{shown(row.label, 200)}: {row.value}"),
        element("text", wide, x="0", y=str(y + 14), class_="name wide"),
        element("text", narrow, x="0", y=str(y + 14), class_="name narrow"),
        element("text", row.value, x="100%", y=str(y + 14), text_anchor="end", class_="value wide"),
        element("text", row.short, x="100%", y=str(y + 14), text_anchor="end", class_="value narrow"),
        element("line", x1="0", x2="100%", y1=str(y + 27), y2=str(y + 27), class_="grid"),
        solid,
        _rectangle(_percent(_WHOLE * row.least / top), str(y + 22), _percent(pale), str(_THICK), "most")
        if pale
        else None,
    )


def _rectangle(x: str, y: str, width: str, height: str, kind: str) -> Html:
    return element("rect", x=x, y=y, width=width, height=height, class_=kind)


def _height(value: Decimal, top: Decimal) -> Decimal:
    return _HEAD + _PLOT * (1 - value / top)


def _pixels(value: Decimal) -> str:
    return f"{value:.2f}"


def _percent(value: Decimal) -> str:
    return f"{value:.3f}%"
