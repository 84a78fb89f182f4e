"""The recipe for Airflow: a real Airflow runs the DAG, one mapped task per shard, and codes end tasks as they should."""

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
sys.path.insert(0, "{CONFIGS / "airflow"}")
import stored_completions
dag = stored_completions.stored_completions()
done = dag.test()
told = {{}}
for one in done.get_task_instances():
    result = one.xcom_pull(task_ids="export", map_indexes=one.map_index) if one.task_id == "export" else None
    told[f"{{one.task_id}} {{one.map_index}}"] = [str(one.state), result and result["sources"][0]["new"]]
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
    """The result of each run is in XCom; 77 fails its task without a retry, 75 lets its task be tried again."""
    folder, prod, search = shards
    told = run("airflow", DAG, tmp_path, PIPELINE_SETTINGS=folder, **home)
    assert told["state"] == "success"
    assert told["told"] == {"shards -1": ["success", None], "export 0": ["success", 3], "export 1": ["success", 2]}
    assert (len(held(prod.data)), len(held(search.data, "search"))) == (3, 2)
    prod.server.app.faults = (Fault("401", times=0),)
    search.server.app.faults = (Fault("503", times=0),)
    told = run("airflow", DAG, tmp_path, PIPELINE_SETTINGS=folder, **home)
    assert told["told"]["export 0"][0] == "failed"
    assert told["told"]["export 1"][0] == "up_for_retry"
