"""What `pipeline report` does: ask the snapshot, write one HTML file."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import assemble, costs, files
from pipeline.cost import question, summary
from pipeline.cost.figures import Row, gather
from pipeline.cost.page import MARK, page
from pipeline.cost.period import Period, read_month, zone
from pipeline.cost.query import VIEW, Asked
from pipeline.cost.question import METADATA
from pipeline.cost.views import by_completion
from pipeline.errors import RefusedError, UsageError
from pipeline.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.config import Config
    from pipeline.cost.settings import Cost
    from pipeline.costs import Ask

#: A report says what it is within its first bytes.
_BEGINNING = 1024
#: Metadata keys that one report has room for.
MOST_TAGS = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report is asked to be about."""

    since: dt.date | None = None
    until: dt.date | None = None
    month: str | None = None
    """Such as 2026-10; instead of days."""
    tz: str = "UTC"
    price_set: str | None = None
    tags: tuple[str, ...] = ()
    """Metadata keys; none: those that the settings allow."""
    with_content: bool = False
    """Whether the most expensive completions show how what was asked and answered begins."""


def report(config: Config, wanted: Wanted, out: Path) -> str:
    """Write the report and say in a line what it tells; raises UsageError where ``out`` is something else."""
    refuse_to_overwrite(out)
    with assemble.asking(config) as ask:
        through = costs.reached(ask)
        asked = _asked(ask, config, wanted, _period(wanted, through))
        price_set = wanted.price_set or costs.price_sets(ask)[-1]
        tags = _tags(wanted.tags or config.cost.tags)
        figures = gather(
            lambda sql: _rows(ask, sql), asked, through=through, tags=tags, with_content=wanted.with_content
        )
    text = page(figures, made=dt.datetime.now(dt.UTC), version=__version__, price_set=price_set)
    files.write_out(out, text.encode())
    return f"{out}: {figures.period}, {summary.headline(figures)}"


def _period(wanted: Wanted, through: dt.datetime | None) -> Period:
    zone(wanted.tz)
    if wanted.month is None:
        return Period.of(wanted.since, wanted.until, wanted.tz, through or dt.datetime.now(dt.UTC))
    if wanted.since or wanted.until:
        raise UsageError("a month and days were asked for", hint="--month, or --since and --until")
    return read_month(wanted.month, wanted.tz)


def _asked(ask: Ask, config: Config, wanted: Wanted, period: Period) -> Asked:
    """Say how costs are asked for; where the settings are others than those of the last run, they count."""
    is_as_published = wanted.price_set is None and _is_published(ask, config.cost)
    return Asked(period, config.cost, costs.known(ask, wanted.price_set), is_as_published)


def _is_published(ask: Ask, cost: Cost) -> bool:
    """Tell whether the view of the snapshot is that of these settings, as DuckDB itself writes both."""
    ask(f"CREATE TEMP VIEW ours AS {by_completion(cost)}")
    # DuckDB 1 writes types in two ways, with and without a blank or quotes.
    query = """replace(replace(regexp_replace(sql, '^.*? AS ', ''), ', ', ','), '"', '')"""
    told = ask(f"SELECT {query} FROM duckdb_views() WHERE view_name IN ('ours', '{VIEW}')")
    ours, *published = [text for (text,) in told.rows]
    return published == [ours]


def _tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys to tell cost by, each once."""
    known = tuple(dict.fromkeys(tags))
    if len(known) > MOST_TAGS:
        raise UsageError(
            f"{len(known):,} metadata keys are more than a report has room for",
            hint=f"name up to {MOST_TAGS} with --tag",
        )
    for key in known:
        question.check((f"{METADATA}{key}",))
    return known


def _rows(ask: Ask, sql: str) -> list[Row]:
    answer = ask(sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def refuse_to_overwrite(out: Path) -> None:
    """Raise UsageError where ``out`` cannot be a report, or is a file of another kind."""
    hint = "name another file with --out"
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", hint=hint)
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_file() or not _is_report(out):
        raise UsageError(f"{out} is there and is no report", hint=hint)


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(_BEGINNING)
    except PermissionError as error:
        raise RefusedError(f"not allowed to read {path}", hint="name another file with --out") from error
