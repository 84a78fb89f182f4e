"""The recipe for Daft: the public function, called by another engine, gives the rows of a local rebuild."""

import contextlib

import duckdb

from pipeline.config import Config
from pipeline.folder import DataFolder
from pipeline.repair import repair
from pipeline.schema import TABLES

from .chance import Chance
from .session import CONFIGS, needs, python, run

pytestmark = needs("daft")
#: Come with later segments, which the recipe leaves out.
CLOSING = {"gone_at", "gone_reason", "gone_last_seen", "gone_first_missed"}


def test_the_latest_versions_are_those_of_a_rebuild(tmp_path):
    """Of each completion the latest version, but for what later segments say of it."""
    folder = DataFolder(tmp_path / "data")
    folder.scratch.mkdir(parents=True)
    Chance(folder, "chance", 5).segments(30)
    repair(Config(data=folder.root, duckdb=False), "parquet")
    run("daft", tmp_path, python("daft"), CONFIGS / "daft" / "flatten.py", folder.archive, tmp_path / "out")
    columns = ", ".join(f'"{name}"' for name in TABLES["completions"].columns.names if name not in CLOSING)
    local = f"read_parquet('{folder.parquet}/completions/*/*/*.parquet', hive_partitioning = true)"
    with contextlib.closing(duckdb.connect()) as connection:
        ours, daft = (
            connection.sql(f"SELECT {columns} FROM {rows} ORDER BY ALL").fetchall()
            for rows in (local, f"read_parquet('{tmp_path}/out/*.parquet')")
        )
    assert ours
    assert daft == ours
