"""dlt: what `pipeline run` has published goes on to any destination; in an environment that holds `pipeline` too.

    PIPELINE_DATA   the data folder; ./data without it

Each load takes what was created since the last one and reads `LATE` again; rows are merged by source and id, so that
nothing counts twice. What a sweep found edited or gone is older: `python completions.py --all` loads everything again,
weekly say.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import dlt

import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import pyarrow as pa

#: Seconds; as long as the overlap of the export, for rows that became visible late.
LATE = 6 * 3600


@dlt.resource(name="completions", primary_key=("source", "id"), write_disposition="merge")
def completions(
    created: dlt.sources.incremental[datetime] = dlt.sources.incremental("created", lag=LATE),  # noqa: B008
    is_all: bool = False,
) -> Iterator[pa.Table]:
    """Hand out the completions of the published snapshot, as Arrow tables."""
    since = None if is_all else created.last_value
    yield from pipeline.iter_arrow(since, data=os.environ.get("PIPELINE_DATA", "data"))


if __name__ == "__main__":
    target = dlt.pipeline("stored_completions", destination="duckdb", dataset_name="llm")
    print(target.run(completions(is_all="--all" in sys.argv)))
