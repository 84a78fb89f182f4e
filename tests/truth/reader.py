"""Reads what is published, over and over, as analysts do, and tells at the end what it saw that must never be seen.

``python -m tests.truth.reader snapshot FOLDER`` watches every data folder inside FOLDER until its standard input ends.
"""

import json
import select
import sys
from contextlib import closing
from pathlib import Path

import duckdb

PAUSE = 0.02
#: Beside a data folder: nothing more happens there.
DONE = "done"
TWICE = "SELECT source, id FROM {} GROUP BY ALL HAVING count(*) > 1"
WITHOUT_CHOICE = "SELECT id FROM completions ANTI JOIN choices ON completion_id = completions.id"


def snapshot(data):
    """Look into the snapshot; None where none was published yet."""
    file = data / "warehouse.duckdb"
    if not file.exists():
        return None
    with closing(duckdb.connect(file, read_only=True)) as connection:
        return connection.sql(TWICE.format("completions")).fetchall() + connection.sql(WITHOUT_CHOICE).fetchall()


def parquet(data):
    """Look into the Parquet dataset by a plain glob; None where it holds no file yet."""
    files = f"{data}/parquet/completions/**/*.parquet"
    with closing(duckdb.connect()) as connection:
        if not connection.sql(f"SELECT file FROM glob('{files}')").fetchall():
            return None
        return connection.sql(TWICE.format(f"read_parquet('{files}')")).fetchall()


def watch(look, parent):
    """Look into every data folder until told to stop; return how often it saw something, and what was wrong."""
    looks, problems, seen = 0, [], set()
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        for data in (path for path in parent.glob("*/data") if not (path.parent / DONE).exists()):
            try:
                wrong = look(data)
            except duckdb.Error as error:
                wrong = [f"{type(error).__name__}: {error}"]
            if wrong is None and data in seen:
                wrong = ["it was there and is gone"]
            if wrong is not None:
                looks += 1
                seen.add(data)
            problems += [f"{data}: {what}" for what in wrong or ()]
    return {"looks": looks, "problems": problems}


if __name__ == "__main__":
    json.dump(watch({"snapshot": snapshot, "parquet": parquet}[sys.argv[1]], Path(sys.argv[2])), sys.stdout)
