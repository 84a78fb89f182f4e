"""A writer's DuckDB file with completions put in by hand, to ask its cost views."""

from __future__ import annotations

import datetime as dt
from contextlib import closing, contextmanager

import duckdb
import pyarrow as pa

from pipeline.cost.settings import Cost
from pipeline.load.duckdb import DuckDBDestination
from pipeline.schema import TABLES

DAY = dt.date(2026, 11, 20)


def completion(number, *, day=DAY, at=None, **values):
    """Make a row of the table completions; what is not told is NULL."""
    created = at or dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC)
    told = {
        "source": "prod",
        "id": f"c{number}",
        "created": created,
        "created_unix": int(created.timestamp()),
        "created_date": created.astimezone(dt.UTC).date(),
        "model": "gpt-4.1-2025-04-14",
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "metadata": [],
        "segment": 1,
        "first_seen": created,
        "fetched_at": created,
        "content_hash": "",
        "origin": "api",
        **values,
    }
    usage = (told["prompt_tokens"], told["completion_tokens"])
    told.setdefault("total_tokens", None if None in usage else sum(usage))
    return {name: told.get(name) for name in TABLES["completions"].columns.names}


@contextmanager
def warehouse(path, rows, cost=None):
    """Open a file that holds these completions."""
    DuckDBDestination(path, cost=cost or Cost()).close()
    with closing(duckdb.connect(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("incoming", pa.Table.from_pylist(list(rows), schema=TABLES["completions"].columns))
        connection.execute("INSERT INTO completions BY NAME FROM incoming")
        connection.unregister("incoming")
        yield connection
