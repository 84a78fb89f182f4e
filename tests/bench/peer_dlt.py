"""dlt, REST client and pipeline, to one destination: ``python -m tests.bench.peer_dlt URL FOLDER duckdb|filesystem``.

In the peers' environment; prints how many completions it loaded. Its defaults, but for two settings: nothing nested is
made a table of its own, and the files to load are Parquet, which halves its time to DuckDB.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

if TYPE_CHECKING:
    from collections.abc import Iterator


@dlt.resource(name="completions", write_disposition="append", max_table_nesting=0)
def completions(url: str) -> Iterator[Any]:
    """Yield the pages."""
    paginator = JSONResponseCursorPaginator(cursor_path="last_id", cursor_param="after", has_more_path="has_more")
    client = RESTClient(base_url=url, paginator=paginator)
    yield from client.paginate("/chat/completions", params={"order": "asc", "limit": 100}, data_selector="data")


def main(url: str, folder: Path, destination: str) -> int:
    """Extract, normalise and load; return how many completions came."""
    targets = {
        "duckdb": lambda: dlt.destinations.duckdb(str(folder / "export.duckdb")),
        "filesystem": lambda: dlt.destinations.filesystem(bucket_url=(folder / "export").as_uri()),
    }
    pipeline = dlt.pipeline(
        f"bench_{destination}",
        destination=targets[destination](),
        dataset_name="bench",
        pipelines_dir=str(folder / "pipelines"),
    )
    pipeline.run(completions(url), loader_file_format="parquet").raise_on_failed_jobs()
    return int(pipeline.last_trace.last_normalize_info.row_counts["completions"])


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
