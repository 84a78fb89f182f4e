"""Airflow 3: every night one task per shard, each a run of the command.

A shard is a settings file with a data folder of its own (``data = "/srv/completions/prod"``); put them all into one
folder. The command may live in an environment of its own, so that Airflow and it need not agree on any library.

    PIPELINE              the command; /opt/pipeline/bin/pipeline
    PIPELINE_SETTINGS     the folder of settings files; /etc/pipeline
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

COMMAND = os.environ.get("PIPELINE", "/opt/pipeline/bin/pipeline")
SETTINGS = Path(os.environ.get("PIPELINE_SETTINGS", "/etc/pipeline"))
#: Called wrongly, refused, configured wrongly: no retry mends that.
IN_VAIN = {2, 77, 78}


@dag(
    schedule="15 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10), "retry_exponential_backoff": 2.0},
)
def stored_completions() -> None:
    """Export what is new of every shard; a run goes on where the last one was, so no interval is asked for."""

    @task
    def shards() -> list[str]:
        return sorted(map(str, SETTINGS.glob("*.toml")))

    @task(max_active_tis_per_dag=4, execution_timeout=timedelta(hours=5))
    def export(settings: str) -> dict[str, Any]:
        """Return the result of a run: it goes to XCom, and holds counts and times, no content and no key."""
        call = [COMMAND, "run", "--config", settings, "--json", "--max-runtime", "4h"]
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as running:
            try:
                told, _ = running.communicate()
            except BaseException:  # the task is stopped: let the run end politely too
                running.terminate()
                raise
        if running.returncode in IN_VAIN:
            raise AirflowFailException(f"exit {running.returncode}: see the log above, and run `pipeline doctor`")
        if running.returncode:
            raise AirflowException(f"exit {running.returncode}: what was read is kept, the next try goes on from there")
        return json.loads(told.splitlines()[-1])

    export.expand(settings=shards())


stored_completions()
