"""The Parquet dataset keeps the promise of a destination, and can be read at any moment."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.load.parquet import ParquetDestination
from pipeline.schema import TABLES

from .conformance import Conformance
from .made import in_order

PARTITIONS = ds.partitioning(pa.schema([("source", pa.string()), ("created_date", pa.date32())]), flavor="hive")


class TestParquet(Conformance):
    """The conformance suite on real files."""

    failpoints = ("files.renamed", "parquet.manifest")
    slow_failpoints = ("parquet.merged", "files.written", "files.synced")

    def open(self, folder):
        return ParquetDestination(folder / "parquet", folder / "scratch")

    def contents(self, folder):
        return {name: in_order(self.rows(folder / "parquet" / name, name)) for name in TABLES}

    def rows(self, folder, name):
        files = ds.dataset(folder, format="parquet", partitioning=PARTITIONS) if folder.exists() else None
        if not files or not files.files:
            return []
        return files.to_table(columns=TABLES[name].columns.names).to_pylist(maps_as_pydicts="strict")
