"""The recipe for many projects: workers export them side by side, and one folder holds and proves the union."""

from __future__ import annotations

import argparse
import runpy
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.verify import verify
from tests.cli.program import environment
from tests.e2e.place import NOW, Place, held, in_parquet, in_snapshot
from tests.schedulers.scheduler import CONFIGS

PROJECTS, WORKERS = 20, 4
RECIPE = CONFIGS / "projects" / "collect.py"


@pytest.fixture
def projects(tmp_path):
    """Serve the projects, each with completions of its own; some ids are those of other projects too."""
    with ExitStack() as opened:
        places = {}
        for number in range(PROJECTS):
            name = f"project-{number}"
            (tmp_path / name).mkdir()
            places[name] = opened.enter_context(Place(tmp_path / name))
            places[name].add(NOW - 100, 1 + number % 3)
        lines = []
        for name, place in places.items():
            source = place.source()
            lines += [f"[sources.{name}]", f'base_url = "{source.base_url}"', f'api_key = "{source.api_key}"']
        (tmp_path / "projects.toml").write_text("\n".join(lines))
        yield places


def test_a_worker_that_was_killed_is_no_success(monkeypatch):
    """Its code is what a shell would say, and so the worst of all."""
    recipe = runpy.run_path(str(RECIPE))
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, -9))
    options = argparse.Namespace(config=Path("projects.toml"), data=Path("all"))
    assert recipe["pipeline"](options, "worker-1", "run") == 137


def collect(folder, *more):
    """Run the recipe."""
    where = ["--config", folder / "projects.toml", "--data", folder / "all", "--place", folder / "elsewhere"]
    words = [sys.executable, RECIPE, *where, "--workers", WORKERS, *more]
    return subprocess.run(list(map(str, words)), env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_twenty_projects_in_four_workers(projects, tmp_path):
    """Every completion of every project is in the union once, proven, also when more come and a machine is lost."""
    assert (done := collect(tmp_path)).returncode == 0, done.stderr
    union = tmp_path / "all" / "union"
    for name, place in projects.items():
        assert held(union, name) == place.store.visible_ids()
    for place in projects.values():
        place.add(NOW - 50)
    shutil.rmtree(union)
    assert (done := collect(tmp_path)).returncode == 0, done.stderr
    shown = sorted(id_ for place in projects.values() for id_ in place.store.visible_ids())
    assert (in_parquet(union), in_snapshot(union)) == (shown, shown)
    sources = load(tmp_path / "projects.toml", environment={"PIPELINE_DATA": str(union)})
    assert verify(sources).unexplained == 0
    own = {path.name for path in (tmp_path / "all" / "worker-1" / "archive").iterdir()}
    assert own == {f"project-{number}" for number in range(0, PROJECTS, WORKERS)}


@pytest.mark.slow
def test_parts_of_it_on_other_machines(projects, tmp_path):
    """Each worker, and the union, can be started by itself; a project that fails is told, and costs no other."""
    (tmp_path / "project-1" / "key").write_text("wrong")
    codes = [collect(tmp_path, "--only-worker", number).returncode for number in range(1, WORKERS + 1)]
    assert codes == [0, 77, 0, 0]
    assert collect(tmp_path, "--only-union").returncode == 0
    union = tmp_path / "all" / "union"
    assert held(union, "project-5") == projects["project-5"].store.visible_ids()
    assert len({path.name for path in (union / "archive").iterdir()}) >= PROJECTS - 1
