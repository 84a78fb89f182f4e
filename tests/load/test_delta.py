"""Delta tables keep the promise of a destination, and are read by others."""

from __future__ import annotations

import pytest

from pipeline.schema import TABLES

from .conformance import Conformance
from .made import in_order

pytest.importorskip("deltalake", reason="deltalake is not here: `make test-all` runs these tests in .venv-delta")

from deltalake import DeltaTable

from pipeline.load.delta import DeltaDestination, connect
from pipeline.load.place import Place


def place(folder, **more):
    return Place(str(folder / "delta"), connect, is_ours=True, scratch=folder / ".writer", **more)


class TestDelta(Conformance):
    """The conformance suite on a folder of real Delta tables."""

    failpoints = ("delta.written", "delta.committed", "files.renamed")

    def open(self, folder):
        return DeltaDestination(place(folder))

    def contents(self, folder):
        return {name: in_order(rows_of(folder / "delta" / name, name)) for name in TABLES}


def rows_of(root, name, options=None):
    """Read the newest version of a table as another program would; what is not there holds nothing."""
    if not DeltaTable.is_deltatable(str(root), options or None):
        return []
    table = DeltaTable(str(root), storage_options=options or None).to_pyarrow_dataset().to_table()
    return table.select(TABLES[name].columns.names).cast(TABLES[name].columns).to_pylist(maps_as_pydicts="strict")
