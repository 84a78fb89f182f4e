"""Tables of the report: a caption, heads for rows and columns, exact amounts behind the rounded ones; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.cost import amounts
from pipeline.cost.markup import Child, Html, element, joined, name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from decimal import Decimal

    from pipeline.cost.figures import Figures, Line

    Cell = Callable[[Line], Child]


#: Rows beyond which a table is folded at first.
_LONG = 14


@dataclass(frozen=True, slots=True)
class Column:
    """A column, by its head."""

    head: Child
    is_number: bool = True


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Child]], *, last: Sequence[Child] = ()
) -> Html:
    """Return a table whose first column names its rows; ``last`` is the row of sums."""
    heads = [element("th", one.head, scope="col", class_=_kind(one)) for one in columns]
    body = element("tbody", *(_row(columns, row) for row in rows))
    foot = element("tfoot", _row(columns, last)) if last else None
    drawn = element("table", element("caption", caption), element("thead", element("tr", *heads)), body, foot)
    return element("div", drawn, class_="scroll", role="region", tabindex="0", aria_label=caption)


def _row(columns: Sequence[Column], cells: Sequence[Child]) -> Html:
    first, *others = zip(columns, cells, strict=True)
    return element(
        "tr",
        element("th", first[1], scope="row", class_=_kind(first[0])),
        *(element("td", cell, class_=_kind(column)) for column, cell in others),
    )


def _kind(column: Column) -> str | None:
    return "number" if column.is_number else None


def money(amount: Decimal | None, digits: int = amounts.CENTS) -> Html | str:
    """Show an amount rounded, and keep it exact in the page."""
    if amount is None:
        return amounts.NOTHING
    return element("data", amounts.dollars(amount, digits), value=f"{amount:f}")


def tokens(number: int | None) -> str:
    """Show a number of tokens; what usage does not tell is not 0."""
    return "not told" if number is None else amounts.count(number)


def lines(caption: str, what: Child, rows: Sequence[Line], figures: Figures, *, label: Cell | None = None) -> Html:
    """Return the table of sums by something, with the columns that tell anything."""
    told = _columns(rows, figures)
    named = label or (lambda line: name(line.label))
    cells = [[named(line), *(cell(line) for _, cell in told)] for line in rows]
    columns = [Column(what, is_number=False), *(Column(head) for head, _ in told)]
    return table(caption, columns, cells, last=["Total", *(cell(figures.sum) for _, cell in told)])


def _columns(rows: Sequence[Line], figures: Figures) -> list[tuple[str, Cell]]:
    """Return the columns that some row has something in, each with how a row tells it."""
    total, digits = figures.sum, amounts.places(line.cost for line in rows)
    columns: list[tuple[str, Cell]] = []
    if total.cost != total.cost_min:
        columns.append(("At least", lambda line: money(line.cost_min, digits)))
    columns += [
        ("At most", lambda line: money(line.cost, digits)),
        ("Share", lambda line: amounts.share(line.cost, total.cost or 0) if line.cost is not None else amounts.NOTHING),
    ]
    if any(line.previous is not None for line in rows):
        columns.append((f"{figures.period.previous()}", lambda line: money(line.previous, digits)))
        columns += [("Change", lambda line: amounts.change(line.cost, line.previous))] if figures.is_compared else []
    columns += [
        ("Requests", lambda line: amounts.count(line.requests)),
        ("Tokens in", lambda line: amounts.count(line.prompt_tokens)),
        ("Tokens out", lambda line: amounts.count(line.completion_tokens)),
    ]
    if total.unpriced_requests:
        columns.append(("Unpriced requests", lambda line: amounts.count(line.unpriced_requests)))
    return columns


def behind(drawn: Html, *sql: str, rows: int = 1, summary: str = "Table") -> Html:
    """Put the table and the SQL of a figure under it, each to be folded; a long table is folded at first."""
    is_open = rows <= _LONG
    folded = element("details", element("summary", summary), drawn, class_="data", open="" if is_open else None)
    return joined([folded, sql_details(*sql)])


def sql_details(*queries: str) -> Html:
    """Show queries, folded."""
    drawn = (element("pre", element("code", query), tabindex="0") for query in queries)
    return element("details", element("summary", "SQL"), *drawn, class_="sql")
