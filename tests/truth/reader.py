"""Reads what is published, over and over, as analysts do, and tells at the end what it saw that must never be seen.

``python -m tests.truth.reader snapshot FOLDER`` watches every data folder inside FOLDER until its standard input ends.
"""

import json
import select
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

ATTEMPTS = 3
#: Seconds between two looks: who looks all the time makes what is looked at twice as slow, even at the lowest priority.
PAUSE = 0.2
#: Beside a data folder: nothing more happens there; and which completions may go.
DONE, LEAVING = "done", "leaving"
TWICE = "SELECT source, id FROM {} GROUP BY ALL HAVING count(*) > 1"
WITHOUT_CHOICE = "SELECT id FROM completions ANTI JOIN choices ON completion_id = completions.id"


def snapshot(data):
    """Look into the snapshot; return the ids there and what is wrong, None where none was published yet."""
    file = data / "warehouse.duckdb"
    if not file.exists():
        return None
    with closing(duckdb.connect(file, read_only=True)) as connection:
        ids = {id_ for (id_,) in connection.sql("SELECT id FROM completions").fetchall()}
        wrong = connection.sql(TWICE.format("completions")).fetchall() + connection.sql(WITHOUT_CHOICE).fetchall()
    return ids, wrong


def parquet(data):
    """Look into the Parquet dataset by a plain glob; None where it holds no file yet.

    Each file is opened once, as pyarrow does. DuckDB opens a file several times for one query, so one that meets the
    instant of a rename mixes two versions of it and gives up; asked again it answers (see the README).
    """
    files = sorted((data / "parquet" / "completions").rglob("*.parquet"))
    if not files:
        return None
    ids = Counter(id_ for file in files for id_ in pq.ParquetFile(file).read(["id"])["id"].to_pylist())
    return ids.keys(), [id_ for id_, count in ids.items() if count > 1] + asked_of_duckdb(data)


def asked_of_duckdb(data):
    """Ask DuckDB over the same glob; an error must be gone when asked again."""
    sql = TWICE.format(f"read_parquet('{data}/parquet/completions/**/*.parquet')")
    for attempt in range(ATTEMPTS):
        try:
            with closing(duckdb.connect()) as connection:
                return connection.execute(sql).fetchall()
        except duckdb.Error:
            if attempt == ATTEMPTS - 1:
                raise
    return []


def leaving(data):
    """Return the completions that may be missed: they are being forgotten."""
    with suppress(FileNotFoundError):
        return set((data.parent / LEAVING).read_text(encoding="utf-8").split())
    return set()


def watch(look, parent):
    """Look into every data folder until told to stop; return how often it saw something, and what was wrong."""
    looks, problems, held = 0, [], {}
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        for data in (path for path in parent.glob("*/data") if not (path.parent / DONE).exists()):
            try:
                seen = look(data)
            except duckdb.Error as error:
                problems.append(f"{data}: {type(error).__name__}: {error}")
                continue
            if seen is not None:
                ids, wrong = seen
                looks += 1
                missed = sorted(held.get(data, set()) - ids - leaving(data))
                problems += [f"{data}: {what}" for what in (*wrong, *(f"{id_} is gone" for id_ in missed))]
                held[data] = set(ids)
            elif data in held:
                problems.append(f"{data}: it was there and is gone")
    return {"looks": looks, "problems": problems}


if __name__ == "__main__":
    json.dump(watch({"snapshot": snapshot, "parquet": parquet}[sys.argv[1]], Path(sys.argv[2])), sys.stdout)
