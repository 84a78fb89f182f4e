"""The notebook as marimo's Python file; pure."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from pipeline.notebook.cells import IMPORTS, SNAPSHOT, STYLE, TITLE, WELCOME, Code, Text, folder, questions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.notebook.cells import Cell
    from pipeline.recipes import Recipe

#: The version of marimo that this form is tested with; another one reads it as well.
_MADE_WITH = "0.25.2"
_NEWER = Text("""\
## The snapshot

It stays as it is while a run publishes the next one. Press the button to take the newest.""")


def written(recipes: Mapping[str, Recipe], data: str) -> str:
    """Return the file's text."""
    imports = IMPORTS.replace("import pandas", "import marimo as mo\nimport pandas")
    setup = indent(imports + STYLE, "    ", lambda line: bool(line.strip()))
    app = f'import marimo\n\n__generated_with = "{_MADE_WITH}"\napp = marimo.App(width="medium", app_title="{TITLE}")'
    parts = (
        f"{app}\n\nwith app.setup:\n{setup}\n",
        *map(_cell, _cells(recipes, data)),
        'if __name__ == "__main__":\n    app.run()\n',
    )
    return "\n\n".join(parts)


def _cells(recipes: Mapping[str, Recipe], data: str) -> Iterator[Cell]:
    yield WELCOME
    yield folder(data)
    yield _NEWER
    yield Code('newest = mo.ui.run_button(label="Take the newest snapshot")\nnewest', makes=("newest",))
    yield Code(f"newest.value\n{SNAPSHOT}", uses=("DATA", "newest"), makes=("ask",))
    yield from questions(recipes)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Text):
        return _function(f'mo.md(r"""\n{cell.markdown}\n""")', (), (), "(hide_code=True)")
    return _function(cell.source, cell.uses, cell.makes)


def _function(source: str, uses: tuple[str, ...], makes: tuple[str, ...], how: str = "") -> str:
    returned = f" ({', '.join(makes)}{',' * (len(makes) == 1)})" if makes else ""
    body = indent(source, "    ", lambda line: bool(line.strip()))
    return f"@app.cell{how}\ndef _({', '.join(uses)}):\n{body}\n    return{returned}\n"
