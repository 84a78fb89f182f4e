"""The recipe for dlt loads what was published, once each, into a DuckDB file of dlt's own."""

import pipeline
from tests.e2e.place import in_snapshot

from .scheduler import CONFIGS, needs, run

pytestmark = needs("schedulers")
LOAD = f"""
import json, sys, dlt
sys.path.insert(0, "{CONFIGS / "dlt"}")
from completions import completions
loaded = dlt.destinations.duckdb("loaded.duckdb")
target = dlt.pipeline("test", destination=loaded, dataset_name="llm", pipelines_dir="state")
target.run(completions(is_all="all" in sys.argv)).raise_on_failed_jobs()
with target.sql_client() as client, client.execute_query(
    "SELECT source, id, cast(epoch(created) AS bigint), total_tokens, metadata::varchar FROM completions ORDER BY id"
) as rows:
    print(json.dumps(rows.fetchall()))
"""


def test_each_completion_is_loaded_once(shards, tmp_path):
    """A first load brings all, a second what is new and what was late; none is there twice."""
    _, place, _ = shards
    now = int(place.clock())
    place.add(now - 500, metadata={"team": "search"})
    for late, new in ((0, 0), (2, 1)):
        place.add(now - 3600, late)
        place.add(now - 400, new)
        place.run()
        rows = run("schedulers", LOAD, tmp_path, PIPELINE_DATA=place.data)
        assert sorted(row[1] for row in rows) == in_snapshot(place.data)
    assert len(rows) == 7
    assert {(row[0], row[3]) for row in rows} == {("prod", 3)}
    assert any("search" in (row[4] or "") for row in rows)
    parts = pipeline.iter_arrow(data=place.data)
    assert {(row["id"], int(row["created"].timestamp())) for part in parts for row in part.to_pylist()} == {
        (row[1], row[2]) for row in rows
    }
