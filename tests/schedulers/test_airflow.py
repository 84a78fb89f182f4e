"""The recipe for Airflow: a real Airflow runs the DAG, a task per shard, and codes end tasks as they should."""

import sys

from pipeline.sandbox.faults import Fault
from tests.e2e.place import Place, held

from .scheduler import CONFIGS, ROOT, needs, run, shard

pytestmark = needs("airflow")
DAG = f"""
import json, os, sys
from datetime import timedelta
from pathlib import Path
from airflow.utils.db import initdb
initdb()
sys.path.insert(0, "{CONFIGS / "airflow"}")
import stored_completions
dag = stored_completions.stored_completions()
for one in dag.tasks:
    one.retries, one.retry_delay, one.retry_exponential_backoff = 1, timedelta(0), 0.0
told = []
for folder in os.environ["FOLDERS"].split(":"):
    stored_completions.SETTINGS = Path(folder)
    done = dag.test()
    ends = {{}}
    for one in done.get_task_instances(state=None):
        if one.task_id == "export":
            result = one.xcom_pull(task_ids="export", map_indexes=one.map_index)
            ends[one.map_index] = [str(one.state), one.try_number, result and result["sources"][0]["new"]]
    told.append([str(done.state), *(ends[index] for index in sorted(ends))])
print(json.dumps(told))
"""


def test_each_shard_is_a_task(shards, tmp_path):
    """The result of each run is in XCom; 77 fails its task at once, 75 lets its task be tried again."""
    folder, prod, search = shards
    command = tmp_path / "pipeline"
    command.write_text(f'#!/bin/sh\nunset PYTHONPATH\ncd {ROOT} && exec {sys.executable} -m pipeline "$@"\n')
    command.chmod(0o700)
    home, failing = tmp_path / "airflow", tmp_path / "failing"
    for path in (home, failing):
        path.mkdir()
    env = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": CONFIGS / "airflow",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": home / "logs",
        "PIPELINE": command,
        "FOLDERS": f"{folder}:{failing}",
    }
    with Place(failing) as down:
        down.server.app.faults = (Fault("503", times=0),)
        shard(failing, "down", down)
        shard(failing, "refused", search).with_suffix(".key").write_text("sk-wrong")
        told = run("airflow", DAG, tmp_path, **env)
    assert told[0] == ["success", ["success", 1, 3], ["success", 1, 2]]
    assert told[1] == ["failed", ["failed", 2, None], ["failed", 1, None]]
    assert (len(held(prod.data)), len(held(search.data, "search"))) == (3, 2)
