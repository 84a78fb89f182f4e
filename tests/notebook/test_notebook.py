"""What `pipeline notebook` writes: both forms of the same cells, bound to the data folder, over nothing of yours."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from pipeline.notebook import jupyter, marimo
from pipeline.notebook.charts import CHARTS
from pipeline.recipes import recipes
from tests.cli.program import assert_one_message, pipeline
from tests.cost.reported import snapshot
from tests.cost.warehouse import completion

RECIPES = recipes()
ODD = "/srv/it's \"\"\" {odd}\\n\n# ''' $name \N{SNOWMAN}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Make a data folder with a snapshot."""
    return snapshot(tmp_path_factory.mktemp("notebook") / "data", [completion(1)])


def code(form, data="data"):
    """Return the code of a form as one Python text."""
    if form == "marimo":
        return marimo.written(RECIPES, data)
    cells = json.loads(jupyter.written(RECIPES, data))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def asked(text):
    """Return what is asked: by the name of the rows, the SQL without blanks at its lines' ends, and the values."""
    calls = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    ]
    calls = [node for node in calls if getattr(node.value.func, "id", "") == "ask"]
    return {
        node.targets[0].id: (
            [line.strip() for line in node.value.args[0].value.strip().splitlines()],
            {one.arg: one.value.value for one in node.value.keywords},
        )
        for node in calls
    }


@pytest.mark.parametrize("form", ["marimo", "jupyter"])
def test_each_form_asks_every_recipe(form):
    """The SQL is that of the recipe, but for the title and sentence that stand above the cell."""
    assert asked(code(form)) == {
        name: (
            [line.strip() for line in RECIPES[name].sql.splitlines()[2:]],
            {value.name: value.begins for value in RECIPES[name].values},
        )
        for name in RECIPES
    }
    assert list(asked(code(form))) == list(CHARTS)


@pytest.mark.parametrize("form", ["marimo", "jupyter"])
def test_the_data_folder_is_a_literal(form):
    """Whatever its name holds, the notebook finds it, and none of it is code."""
    assigned = [node for node in ast.walk(ast.parse(code(form, ODD))) if isinstance(node, ast.Assign)]
    (value,) = [node.value for node in assigned if getattr(node.targets[0], "id", "") == "DATA"]
    assert ast.literal_eval(value) == ODD


@pytest.mark.slow
def test_it_is_bound_to_the_folder_as_an_absolute_path(data, tmp_path):
    """It is written into the current folder, private, and says how it is opened."""
    done = pipeline("notebook", data.name, cwd=data.parent)
    assert_one_message(done, 0, "marimo edit pipeline_notebook.py")
    written = data.parent / "pipeline_notebook.py"
    assert f"DATA = {str(data)!r}" in written.read_text(encoding="utf-8")
    assert written.stat().st_mode & 0o777 == 0o600
    done = pipeline("notebook", "--jupyter", cwd=tmp_path, PIPELINE_DATA=str(data))
    assert_one_message(done, 0, "jupyter lab pipeline_notebook.ipynb")
    assert str(data) in (tmp_path / "pipeline_notebook.ipynb").read_text(encoding="utf-8")


@pytest.mark.slow
def test_nothing_is_replaced_unless_asked(data, tmp_path):
    """2 where a file is there, which stays; with --force it is replaced, but never a folder."""
    out = tmp_path / "mine.py"
    out.write_text("mine", encoding="utf-8")
    assert_one_message(pipeline("notebook", data, "--out", out), 2, "is there already", "--force")
    assert out.read_text(encoding="utf-8") == "mine"
    assert_one_message(pipeline("notebook", data, "--out", out, "--force"), 0)
    assert out.read_text(encoding="utf-8").startswith("import marimo")
    assert_one_message(pipeline("notebook", data, "--out", tmp_path / "no" / "x.py"), 2, "there is no folder")
    assert_one_message(pipeline("notebook", data, "--out", tmp_path, "--force"), 2)


def test_before_anything_was_published(tmp_path):
    """78 with what to do, and no file."""
    assert_one_message(pipeline("notebook", tmp_path, cwd=tmp_path), 78, "nothing was published", "pipeline run")
    assert list(Path(tmp_path).iterdir()) == []
