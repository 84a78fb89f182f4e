"""The report as one HTML page: no script, nothing from elsewhere, every value from the data escaped; pure."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from pipeline.cost import grounds, sections, summary
from pipeline.cost.markup import Html, element

if TYPE_CHECKING:
    import datetime as dt

    from pipeline.cost.figures import Figures

#: By this a report is known again, so that nothing else is ever overwritten.
MARK = '<meta name="generator" content="pipeline report">'
_HEAD = f"""<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
{MARK}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
"""
_TITLE = "What the tokens cost"


def page(figures: Figures, *, made: dt.datetime, version: str, price_set: str) -> str:
    """Return the complete file."""
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    title = f"{_TITLE}: {figures.period}, {summary.headline(figures)}"
    head = element("head", Html(_HEAD), element("title", title), element("style", Html(style)))
    told = (*sections.all_of(figures), *grounds.all_of(figures, price_set))
    body = element("body", element("main", _top(figures), *told, _foot(figures, made, version)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _top(figures: Figures) -> Html:
    days = element("small", f"days of {figures.period.tz}")
    return element(
        "header",
        element("p", _TITLE, class_="kicker"),
        element("h1", str(figures.period), " ", days),
        element("p", summary.headline(figures), class_="headline"),
        summary.lead(figures),
        summary.grounds(figures),
        summary.notices(figures),
        summary.key_numbers(figures),
    )


def _foot(figures: Figures, made: dt.datetime, version: str) -> Html:
    told = f"Made by pipeline {version}, {summary.moment(made, figures.period.tz)}. "
    return element("footer", told, "The SQL runs on the published snapshot: in `pipeline query`, or in a notebook.")
