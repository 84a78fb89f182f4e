"""The wheel is whole, and works with the core's packages alone, on every Python that it is for and that is found."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.cli.program import environment
from tests.e2e.place import KEY, NOW, Place

ROOT = Path(__file__).parents[1]
CORES = ROOT / ".venv-core"
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel as a release would."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run([sys.executable, *build], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_package(wheel):
    """Modules, SQL, prices and style sheets: all that lies in the package, and nothing else."""
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if ".dist-info/" not in name}
    lying = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "pipeline").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == lying


def test_the_pythons_are_those_that_are_named():
    """The project names the oldest Python that is tried, and the Makefile tries all of them."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert oldest == f">={PYTHONS[0]}"
    assert f"VERSIONS := {' '.join(PYTHONS)}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_where_nothing_else_is(wheel, tmp_path, version):
    """Without a checkout and without extras: run, status, verify, cost, query, report; the demo says what it lacks."""
    core = CORES / version / "bin"
    if not core.exists():
        pytest.skip(f"no Python {version} was found here: make .venv-core/made")
    subprocess.run(
        [core / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel],
        check=True,
        capture_output=True,
    )

    def pipeline(*arguments):
        told = environment(OPENAI_BASE_URL=place.server.base_url, OPENAI_API_KEY=KEY)
        return subprocess.run(
            [core / "pipeline", *arguments], cwd=tmp_path, env=told, capture_output=True, text=True, check=False
        )

    with Place(tmp_path) as place:
        place.add(NOW - 600, 5, usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})
        ran = pipeline("run", "--json")
    assert (ran.returncode, json.loads(ran.stdout)["sources"][0]["new"]) == (0, 5), ran.stderr
    asked = pipeline("query", "SELECT count(*) AS held FROM completions", "--format", "json")
    assert json.loads(asked.stdout) == [{"held": 5}], asked.stderr
    for command in (
        ["status"],
        ["verify"],
        ["cost", "--by", "model"],
        ["report", "--out", "report.html"],
        ["schema"],
        ["config", "init"],
        ["rebuild", "all"],
    ):
        done = pipeline(*command)
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), (command, done.stderr)
    lacking = pipeline("demo")
    assert (lacking.returncode, "pipeline[sandbox]" in lacking.stderr) == (2, True), lacking.stderr
