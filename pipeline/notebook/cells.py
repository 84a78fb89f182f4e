"""What is in the notebook, whatever its form: texts and code, made of the recipes; pure.

The data folder is the only thing that comes from outside, and stands in the code as a literal.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING

from pipeline.notebook.charts import CHARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Text:
    """Words, as Markdown."""

    markdown: str


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of Python whose last line is shown."""

    source: str
    uses: tuple[str, ...] = ()
    """Names that earlier pieces made; what is imported does not count."""
    makes: tuple[str, ...] = ()
    """Names that later pieces use."""


Cell = Text | Code

TITLE = "Stored completions"
WELCOME = Text(f"""\
# {TITLE}

The questions that people ask most, over the snapshot that `pipeline run` publishes. Each is some SQL, its rows and a
chart: change them as you like. What stands for `$name` in SQL is a parameter, never a part of its text.""")

IMPORTS = """\
import altair as alt
import pandas as pd
import pipeline
"""
#: Looks that all charts share; every row that was asked for is drawn.
STYLE = """\

pd.options.display.max_rows = 10
pd.options.display.html.use_mathjax = False
alt.data_transformers.enable("default", max_rows=None)


@alt.theme.register("pipeline", enable=True)
def style():
    return {
        "config": {
            "view": {"stroke": None},
            "title": {"anchor": "start", "fontSize": 15, "subtitleColor": "gray", "offset": 12},
            "axis": {"labelLimit": 320, "titleFontWeight": "normal"},
            "axisQuantitative": {"tickCount": 8},
            "legend": {"labelLimit": 320, "titleLimit": 320},
            "range": {"category": {"scheme": "tableau20"}},
        }
    }"""

SNAPSHOT = """\
connection = pipeline.connect(DATA)


def ask(sql, **values):
    return connection.execute(sql, values).df()"""


def questions(recipes: Mapping[str, Recipe]) -> Iterator[Cell]:
    """Yield what is said, asked and drawn of each recipe."""
    for name, chart in CHARTS.items():
        recipe = recipes[name]
        yield Text(f"## {recipe.title}\n\n{recipe.explanation}")
        yield Code(_asked(recipe), uses=("ask",), makes=(name,))
        if chart:
            yield Code(chart, uses=(name,))


def folder(data: str) -> Code:
    """Say where the data are."""
    return Code(f"DATA = {data!r}", makes=("DATA",))


def _asked(recipe: Recipe) -> str:
    """Write the code that asks a recipe; its SQL goes without what the text above it says."""
    _, _, sql = recipe.sql.split("\n", 2)
    values = "".join(f"    {one.name}={one.begins!r},\n" for one in recipe.values)
    text = indent(f'r"""\n{sql}\n""",\n', "    ")
    return f"{recipe.name} = ask(\n{text}{values})\n{recipe.name}"
