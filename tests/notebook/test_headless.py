"""Both forms of the notebook run from the first cell to the last where their libraries are: .venv-notebook."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest

from pipeline.notebook.charts import CHARTS
from pipeline.notebook.write import notebook
from pipeline.recipes import recipes
from pipeline.sandbox import generate
from tests.cli.program import environment
from tests.e2e.place import NOW, Place

from .test_recipes import ask

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parents[1] / ".venv-notebook"
PYTHON = ENVIRONMENT / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ENVIRONMENT / "made").exists(),
        reason="the notebook's libraries are not here: `make .venv-notebook/made` installs them",
    ),
]
FORMS = ("marimo", "jupyter")
DRAWN = sum(bool(chart) for chart in CHARTS.values())
VEGA = "application/vnd.vegalite.v5+json"
PAYLOAD = "</script><script>document.title=1337</script><img src=x onerror=alert(1)>"
#: Knocks at no door: a request for a script or a style sheet would fail, and with it the notebook.
SEALED = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}


def call(*arguments, cwd):
    """Run something of the notebook's environment to its good end."""
    done = subprocess.run(
        [PYTHON, *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        cwd=cwd,
        env=environment(**SEALED),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(form, data, folder):
    """Write a form, run it, and return what it told."""
    out = folder / ("one.ipynb" if form == "jupyter" else "one.py")
    notebook(data, out, is_jupyter=form == "jupyter", replaces=True)
    return json.loads(call(HERE / f"run_{form}.py", out, cwd=folder))


@pytest.fixture(scope="module")
def published(request, tmp_path_factory):
    """Publish a generated month with texts that would be markup, and one in which there was nothing."""
    with Place(tmp_path_factory.mktemp(request.param)) as place:
        if request.param == "full":
            generate.month(place.store, completions=200, until=place.clock())
            words = {"role": "assistant", "content": f"a refund {PAYLOAD}"}
            choices = [{"index": 0, "message": words, "finish_reason": PAYLOAD}]
            place.add(NOW - 60, 20, model=PAYLOAD, metadata={"environment": PAYLOAD}, choices=choices)
        assert place.run().exit_code == 0
        yield place


@pytest.mark.parametrize("published", ["full"], indirect=True)
def test_marimo_draws_every_recipe(published, tmp_path):
    """Its linter finds nothing, its rows are those of the recipes, and each chart is whole."""
    told = run("marimo", published.data, tmp_path)
    assert told == {"rows": {name: len(ask(published.data, name)) for name in recipes()}, "charts": DRAWN}
    call("-m", "marimo", "check", "--strict", "one.py", cwd=tmp_path)


@pytest.mark.parametrize("published", ["full", "empty"], indirect=True)
def test_jupyter_draws_every_recipe(published, tmp_path):
    """A table for each, and a chart that Jupyter draws itself; what stands in the data is markup nowhere."""
    told = run("jupyter", published.data, tmp_path)
    tables = [one["text/html"] for one in told if "text/html" in one]
    assert len(tables) == len(recipes())
    assert [set(one) for one in told if "text/html" not in one] == [{VEGA, "text/plain"}] * DRAWN
    assert not any("<script" in table or "<img" in table for table in tables)
    if len(ask(published.data, "search")):
        assert any("&lt;script" in table for table in tables)


@pytest.mark.parametrize("form", FORMS)
def test_it_runs_while_runs_publish(form, tmp_path):
    """Snapshots that come and go beside it are in nobody's way."""
    stop, published = threading.Event(), []

    def publish(place):
        while not stop.is_set():
            place.add(NOW - 500 + len(published))
            published.append(place.run().exit_code)

    with Place(tmp_path) as place:
        place.add(NOW - 600, 5)
        assert place.run().exit_code == 0
        beside = threading.Thread(target=publish, args=(place,))
        beside.start()
        try:
            told = run(form, place.data, tmp_path)
        finally:
            stop.set()
            beside.join()
    assert told
    assert len(published) > 1
    assert set(published) == {0}
