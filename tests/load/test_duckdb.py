"""The writer's DuckDB file keeps the promise of a destination, in transactions."""

from __future__ import annotations

import contextlib

import duckdb

from pipeline.load.duckdb import DuckDBDestination
from pipeline.schema import TABLES

from .conformance import Conformance
from .made import in_order


class TestDuckDB(Conformance):
    """The conformance suite on a real file."""

    failpoints = ("duckdb.deleted", "duckdb.inserted", "duckdb.committed")

    def open(self, folder):
        return DuckDBDestination(folder / ".writer" / "writer.duckdb")

    def contents(self, folder):
        with contextlib.closing(duckdb.connect(folder / ".writer" / "writer.duckdb", read_only=True)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return {name: in_order(self.rows(connection, name)) for name in TABLES}

    def rows(self, connection, name):
        table = connection.sql(f"SELECT * FROM {name}").to_arrow_reader().read_all()
        assert table.schema.names == TABLES[name].columns.names
        return table.cast(TABLES[name].columns).to_pylist(maps_as_pydicts="strict")

    def check_stopped(self, contents, before, after):
        """A transaction leaves all or nothing."""
        assert contents in (before, after)
