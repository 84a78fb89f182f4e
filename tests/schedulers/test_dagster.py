"""The recipe for Dagster: assets materialize, tell their rows, are checked for their age, and fail as they should."""

from .scheduler import CONFIGS, needs, run, shard

pytestmark = needs("schedulers")
MATERIALIZE = f"""
import json, sys, dagster as dg
sys.path.insert(0, "{CONFIGS / "dagster"}")
from definitions import SHARDS, defs, failure
dg.Definitions.validate_loadable(defs)
with dg.DagsterInstance.ephemeral() as instance:
    done = dg.materialize([part for shard in SHARDS for part in shard], instance=instance, raise_on_error=False)
    told = {{
        event.asset_key.to_user_string(): {{name: one.value for name, one in event.materialization.metadata.items()}}
        for event in done.get_asset_materialization_events()
    }}
    checks = {{one.asset_key.to_user_string(): one.passed for one in done.get_asset_check_evaluations()}}
    ends = {{event.step_key: event.event_type_value for event in done.all_node_events if event.event_type_value in
        ("STEP_FAILURE", "STEP_UP_FOR_RETRY", "STEP_SUCCESS")}}
kinds = [type(failure(75, "")).__name__, type(failure(77, "")).__name__, failure(77, "").allow_retries]
print(json.dumps({{"told": told, "checks": checks, "ends": ends, "kinds": kinds}}))
"""


def test_each_shard_is_an_asset(shards, tmp_path):
    """Rows, what was new and whether it is complete are its metadata; data that are too old fail its check.

    77 is a failure without retries, 75 asks for another try; the other shards are materialized all the same.
    """
    folder, _, search = shards
    search.clock.advance(-3 * 86_400)
    search.add(int(search.clock()) - 600, 2)
    shard(folder, "refused", search).with_suffix(".key").write_text("sk-wrong")
    told = run("schedulers", MATERIALIZE, tmp_path, PIPELINE_SETTINGS=folder)
    whole = {"changed": 0, "complete": True}
    assert told["told"] == {
        "completions_prod": {"dagster/row_count": 3, "new": 3, **whole},
        "completions_search": {"dagster/row_count": 2, "new": 2, **whole},
    }
    assert told["checks"] == {"completions_prod": True, "completions_search": False}
    assert told["ends"]["completions_refused"] == "STEP_FAILURE"
    assert told["kinds"] == ["RetryRequested", "Failure", False]
