"""Dagster: one asset per shard, its rows and how fresh they are; in an environment that holds `pipeline` too.

A shard is a settings file with a data folder of its own (``data = "/srv/completions/prod"``), in the folder that
PIPELINE_SETTINGS names; /etc/pipeline without it.
"""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

import pipeline
from pipeline.config import load
from pipeline.errors import PipelineError

SETTINGS = Path(os.environ.get("PIPELINE_SETTINGS", "/etc/pipeline"))
#: What may pass: try again later, and incomplete.
MAY_PASS = {3, 75}
FRESH = timedelta(hours=26)


def shard(settings: Path) -> tuple[dg.AssetsDefinition, dg.AssetChecksDefinition]:
    """Make the asset of a settings file, and the check that its data are young enough."""
    name = f"completions_{settings.stem}".replace("-", "_")

    @dg.asset(name=name, group_name="stored_completions", freshness_policy=dg.FreshnessPolicy.time_window(FRESH))
    def completions() -> dg.MaterializeResult:
        config = load(settings, os.environ)
        try:
            result = pipeline.run(config, max_runtime=4 * 3600)
        except PipelineError as error:
            raise failure(error.exit_code, str(error)) from error
        if result.exit_code:
            told = [one.why_not for one in result.sources] + [one.error for one in result.destinations]
            raise failure(result.exit_code, "; ".join(filter(None, told)))
        with closing(pipeline.connect(config.data)) as snapshot:
            (rows,) = snapshot.execute("SELECT count(*) FROM completions").fetchone()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows,
                "new": sum(one.new for one in result.sources),
                "changed": sum(one.changed for one in result.sources),
                "complete": all(one.complete for one in result.sources),
            }
        )

    @dg.asset_check(asset=completions)
    def fresh() -> dg.AssetCheckResult:
        """Whether every source is read up to a time that is not long ago: a run may succeed and read little."""
        with closing(pipeline.connect(load(settings, os.environ).data)) as snapshot:
            through = dict(snapshot.execute("SELECT source, data_through FROM freshness").fetchall())
        oldest = min((one for one in through.values() if one), default=None)
        is_fresh = bool(through) and all(through.values()) and datetime.now(UTC) - oldest <= FRESH
        return dg.AssetCheckResult(passed=is_fresh, metadata={"data_through": str(oldest)})

    return completions, fresh


def failure(code: int, why: str) -> Exception:
    """Tell what may pass from what no retry mends."""
    if code in MAY_PASS:
        return dg.RetryRequested(max_retries=3, seconds_to_wait=600)
    return dg.Failure(f"exit {code}: {why}", allow_retries=False)


SHARDS = [shard(settings) for settings in sorted(SETTINGS.glob("*.toml"))]
EXPORT = dg.define_asset_job("export", dg.AssetSelection.groups("stored_completions"))

defs = dg.Definitions(
    assets=[asset for asset, _ in SHARDS],
    asset_checks=[check for _, check in SHARDS],
    jobs=[EXPORT],
    schedules=[dg.ScheduleDefinition(job=EXPORT, cron_schedule="15 3 * * *", execution_timezone="UTC")],
)
