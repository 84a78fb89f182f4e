"""The recipe for Prefect: the flow runs every shard, hands on the results, and retries what may pass only."""

from pipeline.sandbox.faults import Fault
from tests.e2e.place import NOW, Place, held

from .scheduler import CONFIGS, needs, run, shard

pytestmark = needs("schedulers")
FLOW = f"""
import json, os, sys
from pathlib import Path
sys.path.insert(0, "{CONFIGS / "prefect"}")
import flow
flow.export = flow.export.with_options(retry_delay_seconds=0)
told = []
for folder in os.environ["FOLDERS"].split(":"):
    flow.SETTINGS = Path(folder)
    state = flow.stored_completions(return_state=True)
    result = state.result(raise_on_failure=False)
    told.append([one["sources"][0]["new"] for one in result] if state.is_completed() else str(result))
print(json.dumps(told))
"""
#: The flow's server is a process of its own on this machine, for as long as flows run.
SERVER = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_API_URL": "",
}


def test_the_flow_runs_every_shard(shards, tmp_path):
    """Results come back in the order of shards; a 503 is tried again and passes, a refused key is asked for once."""
    folder, prod, search = shards
    (tmp_path / "third").mkdir()
    with Place(tmp_path / "third") as failing:
        failing.add(NOW - 600)
        failing.server.app.faults = (Fault("503", at=1),)
        second, third = tmp_path / "second", tmp_path / "refused"
        for path in (second, third):
            path.mkdir()
        shard(second, "prod", failing)
        shard(third, "search", search).with_suffix(".key").write_text("sk-wrong")
        folders = f"{folder}:{second}:{third}"
        told = run("schedulers", FLOW, tmp_path, FOLDERS=folders, PREFECT_HOME=tmp_path / "prefect", **SERVER)
        assert told[:2] == [[3, 2], [1]]
        assert "exit 77" in told[2]
        assert (len(held(prod.data)), len(held(search.data, "search"))) == (3, 2)
        assert sum(request.status == 401 for request in search.server.requests) == 1
