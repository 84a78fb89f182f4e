"""The notebook as Jupyter's JSON file; pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.notebook.cells import IMPORTS, SNAPSHOT, STYLE, WELCOME, Code, Text, folder, questions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.notebook.cells import Cell
    from pipeline.recipes import Recipe

#: Jupyter draws this kind of output itself. Altair's own default is a script that needs the network and is not safe
#: from what stands in the data; the kind of output that it would name instead Jupyter does not know yet.
_RENDERER = """


# Jupyter draws this itself: no script is loaded, and nothing in the data can become one.
def drawn_by_jupyter(spec, **_):
    schema = "https://vega.github.io/schema/vega-lite/v5.json"
    return {"application/vnd.vegalite.v5+json": {**spec, "$schema": schema}, "text/plain": "a chart"}


alt.renderers.register("drawn_by_jupyter", drawn_by_jupyter)
alt.renderers.enable("drawn_by_jupyter");"""
_NEWER = Text("""\
## The snapshot

It stays as it is while a run publishes the next one. Run this cell and those below again to take the newest.""")


def written(recipes: Mapping[str, Recipe], data: str) -> str:
    """Return the file's text."""
    cells = [_cell(number, cell) for number, cell in enumerate(_cells(recipes, data))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cells(recipes: Mapping[str, Recipe], data: str) -> Iterator[Cell]:
    yield WELCOME
    yield Code(IMPORTS + STYLE + _RENDERER)
    yield folder(data)
    yield _NEWER
    yield Code(SNAPSHOT)
    yield from questions(recipes)


def _cell(number: int, cell: Cell) -> dict[str, Any]:
    plain: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}}
    if isinstance(cell, Text):
        return {"cell_type": "markdown", **plain, "source": cell.markdown.splitlines(keepends=True)}
    lines = cell.source.splitlines(keepends=True)
    return {"cell_type": "code", **plain, "execution_count": None, "outputs": [], "source": lines}
