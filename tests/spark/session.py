"""Spark as its users have it: a Python of its own, real Java, two threads; and the comparison with a local rebuild."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from pipeline.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SEALED = ROOT / "tests" / "schedulers" / "sealed"
#: Seconds; Java starts, and compiles a plan for every table.
PATIENCE = 580
#: Few tasks for few rows, and Java's quick compiler alone. Zone, timestamps and silence are as nobody wants them.
SETTINGS = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "3",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.sql.session.timeZone": "America/St_Johns",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.parquet.outputTimestampType": "INT96",
    "spark.sql.files.ignoreMissingFiles": "true",
}


def python(name: str) -> Path:
    """Return the Python of an environment."""
    return ROOT / f".venv-{name}" / "bin" / "python"


def needs(name: str, *programs: str) -> list[Any]:
    """Mark tests that need an environment and programs: they are slow, and skipped where one is not."""
    missing = [program for program in programs if shutil.which(program) is None]
    reason = f"not here: {', '.join([f'.venv-{name} (`make .venv-{name}/made` installs it)', *missing])}"
    is_there = (ROOT / f".venv-{name}" / "made").exists() and not missing
    return [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.skipif(not is_there, reason=reason)]


def run(name: str, folder: Path, *command: object, **env: str) -> str:
    """Run a program of an environment, sealed; return what it wrote to stdout."""
    left = folder / "left-the-machine"
    told = {
        "PATH": f"{python(name).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": f"{SEALED}:{ROOT}",
        "LEFT_THE_MACHINE": str(left),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "spark"),
        "DO_NOT_TRACK": "1",
        **env,
    }
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=told,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert not left.exists(), left.read_text()
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def submit(folder: Path, *arguments: object) -> None:
    """Run the job as a cluster would be given it, on this machine."""
    (folder / "settings").write_text("".join(f"{name} {value}\n" for name, value in SETTINGS.items()))
    job, master = CONFIGS / "spark" / "submit.sh", SETTINGS["spark.master"]
    run("spark", folder, "sh", job, *arguments, MASTER=master, SETTINGS=str(folder / "settings"))


def told_by(folder: Path, script: str) -> Any:
    """Run a script with a session named ``spark``; return what it printed last, as JSON."""
    settings = "".join(f".config({name!r}, {value!r})" for name, value in SETTINGS.items())
    begin = f"from pyspark.sql import SparkSession\nspark = SparkSession.builder{settings}.getOrCreate()\n"
    return json.loads(run("spark", folder, python("spark"), "-c", begin + script).splitlines()[-1])


def different(one: Path, other: Path) -> dict[str, Any]:
    """Compare two datasets, every table row for row and column for column; return where they differ."""
    with contextlib.closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {name: rows for name in TABLES if (rows := _different(connection, name, one, other))}


def counted(root: Path) -> dict[str, int]:
    """Count the rows of every table of a dataset."""
    with contextlib.closing(duckdb.connect()) as connection:
        tables = {name: _relation(name, root) for name in TABLES}
        return {name: connection.sql(f"SELECT count(*) FROM {rows}").fetchall()[0][0] for name, rows in tables.items()}


def unsorted(root: Path) -> list[Path]:
    """Name the files of completions that are not sorted by created and id."""
    with contextlib.closing(duckdb.connect()) as connection:
        return [file for file in _files("completions", root) if not _is_sorted(connection, file)]


def _is_sorted(connection: duckdb.DuckDBPyConnection, file: Path) -> bool:
    sql = "SELECT created, id FROM read_parquet(?)"
    rows = connection.execute(sql, [str(file)]).fetchall()
    return rows == connection.execute(f"{sql} ORDER BY created NULLS LAST, id", [str(file)]).fetchall()


def _different(connection: duckdb.DuckDBPyConnection, name: str, one: Path, other: Path) -> list[Any]:
    left, right = _relation(name, one), _relation(name, other)
    types = [connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall() for rows in (left, right)]
    if types[0] != types[1]:
        return [types]
    missing = connection.execute(f"SELECT * FROM {left} EXCEPT ALL SELECT * FROM {right}").fetchall()
    return missing + connection.execute(f"SELECT * FROM {right} EXCEPT ALL SELECT * FROM {left}").fetchall()


def _relation(name: str, root: Path) -> str:
    """Name the rows of a table, in the order of the declared columns; none where there is no file."""
    columns = ", ".join(f'"{column}"' for column in TABLES[name].columns.names)
    if not next(_files(name, root), None):
        return "(SELECT 1 AS nothing WHERE false)"
    files = f"read_parquet('{root}/{name}/*/*/*.parquet', hive_partitioning = true, union_by_name = true)"
    return f"(SELECT {columns} FROM {files})"


def _files(name: str, root: Path) -> Iterator[Path]:
    return (root / name).glob("*/*/*.parquet")
