"""Prefect: a flow with one task per shard; in an environment that holds `pipeline` too.

A shard is a settings file with a data folder of its own (``data = "/srv/completions/prod"``), in the folder that
PIPELINE_SETTINGS names; /etc/pipeline without it. `python flow.py` serves the flow every night.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import flow, task

import pipeline
from pipeline.config import load
from pipeline.errors import PipelineError

SETTINGS = Path(os.environ.get("PIPELINE_SETTINGS", "/etc/pipeline"))
#: Called wrongly, refused, configured wrongly: no retry mends that.
IN_VAIN = {2, 77, 78}


class ExportError(Exception):
    """A run that ended with another code than 0."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"exit {code}: {why}")
        self.code = code


def may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Tell whether a retry is worth while."""
    error = state.result(raise_on_failure=False)
    return getattr(error, "code", 1) not in IN_VAIN


@task(retries=3, retry_delay_seconds=[60, 600, 3600], retry_condition_fn=may_pass, timeout_seconds=5 * 3600)
def export(settings: Path) -> dict[str, object]:
    """Run a shard, and return the result: counts and times, no content and no key."""
    try:
        result = pipeline.run(load(settings, os.environ), max_runtime=4 * 3600)
    except PipelineError as error:
        raise ExportError(error.exit_code, str(error)) from error
    if result.exit_code:
        told = [one.why_not for one in result.sources] + [one.error for one in result.destinations]
        raise ExportError(result.exit_code, "; ".join(filter(None, told)))
    return result.as_dict()


@flow
def stored_completions() -> list[dict[str, object]]:
    """Export what is new of every shard; one that fails does not stop the others."""
    return export.map(sorted(SETTINGS.glob("*.toml"))).result()


if __name__ == "__main__":
    stored_completions.serve(cron="15 3 * * *")
