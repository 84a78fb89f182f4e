"""The recipe for Airflow: a real Airflow runs the DAG, a task per shard, and codes end tasks as they should."""

import sys

import pytest

from pipeline.sandbox.faults import Fault
from tests.e2e.place import held

from .scheduler import CONFIGS, ROOT, needs, run

pytestmark = needs("airflow")
MIGRATE = """
from airflow.utils.db import initdb
initdb()
print("true")
"""
DAG = f"""
import json, sys
from datetime import timedelta
sys.path.insert(0, "{CONFIGS / "airflow"}")
import stored_completions
dag = stored_completions.stored_completions()
for one in dag.tasks:
    one.retries, one.retry_delay, one.retry_exponential_backoff = 1, timedelta(0), 0.0
done = dag.test()
told = {{}}
for one in done.get_task_instances():
    result = one.xcom_pull(task_ids="export", map_indexes=one.map_index) if one.task_id == "export" else None
    new = result and result["sources"][0]["new"]
    told[f"{{one.task_id}} {{one.map_index}}"] = [str(one.state), one.try_number, new]
print(json.dumps({{"state": str(done.state), "told": told}}))
"""


@pytest.fixture
def home(tmp_path):
    """Make a database for Airflow and a command that starts the program; hands out the environment."""
    command = tmp_path / "pipeline"
    command.write_text(f'#!/bin/sh\nunset PYTHONPATH\ncd {ROOT} && exec {sys.executable} -m pipeline "$@"\n')
    command.chmod(0o700)
    folder = tmp_path / "airflow"
    env = {
        "AIRFLOW_HOME": folder,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": CONFIGS / "airflow",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": folder / "logs",
        "PIPELINE": command,
    }
    folder.mkdir()
    run("airflow", MIGRATE, tmp_path, **env)
    return env


def test_each_shard_is_a_task(shards, tmp_path, home):
    """The result of each run is in XCom; 77 fails its task at once, 75 lets its task be tried again."""
    folder, prod, search = shards
    told = run("airflow", DAG, tmp_path, PIPELINE_SETTINGS=folder, **home)
    assert told["state"] == "success"
    assert {name: told["told"][name][0::2] for name in ("export 0", "export 1")} == {
        "export 0": ["success", 3],
        "export 1": ["success", 2],
    }
    assert (len(held(prod.data)), len(held(search.data, "search"))) == (3, 2)
    prod.server.app.faults = (Fault("401", times=0),)
    search.server.app.faults = (Fault("503", times=0),)
    told = run("airflow", DAG, tmp_path, PIPELINE_SETTINGS=folder, **home)
    assert told["told"]["export 0"][:2] == ["failed", 1]
    assert told["told"]["export 1"][:2] == ["failed", 2]
