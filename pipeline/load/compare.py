"""What a destination holds against what it should: counts, ids and contents, table by table, in flat memory.

Rows are compared by a hash over all columns, summed by source and date; only where the sums differ are rows named.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pipeline.cost import table as prices
from pipeline.errors import FolderError
from pipeline.load import manifest, parts
from pipeline.load.duckdb import damage_told, explained, in_little_memory, read_only
from pipeline.load.tables import quoted
from pipeline.schema import TABLES, digest
from pipeline.seal import unseal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from pipeline.load.delta import DeltaDestination
    from pipeline.schema import Table

#: Rows and groups that are named; all are counted.
_NAMED = 3
_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that a destination holds otherwise than it should."""

    where: str
    """A file, or a table with source and date."""
    message: str


class Parquet:
    """The Parquet dataset, as something to compare."""

    def __init__(self, root: Path) -> None:
        self.path = root
        self._told = manifest.told(root)

    @property
    def is_being_loaded(self) -> bool:
        """Whether a load was interrupted: some files are as before it and some as after it."""
        return bool(self._told and self._told.unfinished)

    def bookmarks(self) -> Mapping[str, int]:
        """Return the last segment by source that the manifest claims; nothing where it cannot be read."""
        return self._told.bookmarks if self._told else {}

    def differences_of_files(self, *, logprobs: bool) -> Iterator[Difference]:
        """Compare the files with the manifest: names, sizes, hashes, and nothing besides."""
        return compare_files(self.path, logprobs=logprobs)

    def tables(self) -> dict[str, str]:
        """Return by table what to compare: its files; a table without any is empty."""
        types = "hive_types = {'source': VARCHAR, 'created_date': DATE}"
        found = {}
        for name in TABLES:
            pattern = f"{name}/source=*/created_date=*/{parts.PATTERN}"
            files = quoted(f"{glob.escape(str(self.path))}/{pattern}")
            there = f"read_parquet({files}, hive_partitioning = true, {types})"
            found[name] = there if next(self.path.glob(pattern), None) else f"(FROM {name} LIMIT 0)"
        return found


class DuckDB:
    """A DuckDB file, the writer's or the snapshot, as something to compare."""

    is_being_loaded = False

    def __init__(self, file: Path) -> None:
        self.path = file

    def bookmarks(self) -> Mapping[str, int]:
        """Return the last segment by source that the file claims; raises PipelineError where it cannot be read."""
        with contextlib.closing(read_only(self.path)) as connection, damage_told(self.path):
            rows = connection.execute("SELECT source, segment FROM bookmarks").fetchall()
        if len(rows) != len(dict(rows)):
            raise FolderError(f"{self.path} tells more than one bookmark of a source")
        return dict(rows)

    def differences_of_files(self, *, logprobs: bool) -> Iterator[Difference]:
        """Return nothing: the file is compared by its tables and views."""
        del logprobs
        return iter(())

    def is_copy_of(self, file: Path) -> bool:
        """Whether it is the same byte for byte, and no log says more than that file: then it shows the same.

        DuckDB looks for a log beside what a link leads to.
        """
        logs = (path.with_name(f"{path.name}.wal") for path in (self.path, self.path.resolve(), file))
        return not any(log.exists() for log in logs) and _sha256_of(self.path) == _sha256_of(file)

    @staticmethod
    def tables() -> dict[str, str]:
        """Return by table what to compare: the tables of the attached file, ``actual``."""
        return {name: f"actual.main.{name}" for name in TABLES}


class Delta:
    """The Delta tables, as something to compare: of some sources, for others may write there as well."""

    def __init__(self, tables: DeltaDestination, sources: Sequence[str]) -> None:
        self.path = tables.place.root
        self._tables = tables
        self._sources = sources

    @property
    def is_being_loaded(self) -> bool:
        """Whether a load was interrupted between two tables."""
        return self._tables.is_being_loaded(self._sources)

    def bookmarks(self) -> Mapping[str, int]:
        """Return the last segment by source that all tables claim."""
        known = self._tables.bookmarks()
        return {source: known[source] for source in known if self._tables.place.is_ours or source in self._sources}

    def differences_of_files(self, *, logprobs: bool) -> Iterator[Difference]:
        """Name the tables that are missing, or of another layout."""
        del logprobs
        for uri in self._tables.missing():
            yield Difference(uri, "is not there, or was written with another layout")

    def registered(self, connection: DuckDBPyConnection) -> dict[str, str]:
        """Let a connection read the tables through Arrow; return by table what to compare."""
        for name, dataset in self._tables.datasets().items():
            connection.register(f"delta_{name}", dataset)
        named = ", ".join(map(quoted, self._sources)) or "NULL"
        where = "true" if self._tables.place.is_ours else f"source IN ({named})"
        return {name: f"(FROM delta_{name} WHERE {where})" for name in TABLES}


Place = Parquet | DuckDB | Delta


def bookmarks_of_parquet(root: Path) -> Mapping[str, int]:
    """Return the last segment by source that the manifest claims; nothing where it cannot be read."""
    return Parquet(root).bookmarks()


def bookmarks_of_duckdb(file: Path) -> Mapping[str, int]:
    """Return the last segment by source that a DuckDB file claims; raises PipelineError where it cannot be read."""
    return DuckDB(file).bookmarks()


def compare_files(root: Path, *, logprobs: bool = False) -> Iterator[Difference]:
    """Compare the files of the Parquet dataset with its manifest: names, sizes, hashes, and nothing besides."""
    try:
        told = unseal((root / manifest.NAME).read_bytes(), manifest.Manifest)
    except FileNotFoundError:
        yield Difference(str(root / manifest.NAME), "is not there")
        return
    except msgspec.MsgspecError as error:
        yield Difference(str(root / manifest.NAME), f"cannot be read: {error}")
        return
    if told.schema != digest(logprobs=logprobs):
        yield Difference(str(root / manifest.NAME), "was written with another layout")
    there = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {manifest.NAME}
    for path in sorted(there | told.files.keys()):
        if path not in there:
            yield Difference(str(root / path), "is not there")
        elif path not in told.files:
            yield Difference(str(root / path), "is not one of the dataset's files")
        elif _sha256_of(root / path) != told.files[path].sha256:
            yield Difference(str(root / path), "is not what was written: its SHA-256 differs")


class Expected:
    """The tables made anew, with which every place is compared; opened once, for that takes longer than most answers.

    Raises PipelineError where they cannot be read.
    """

    def __init__(self, file: Path, *, scratch: Path) -> None:
        self._file = file
        self._connection = read_only(file)
        self._connection.execute(f"SET temp_directory = {quoted(str(scratch))}")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Return by source how many completions, versions and gone completions there are."""
        sql = """
            SELECT source, count(*),
                (SELECT count(*) FROM metadata_history AS history WHERE history.source = one.source), count(gone_at)
            FROM completions AS one GROUP BY source
        """
        with explained(self._file):
            return {source: tuple(counted) for source, *counted in self._connection.execute(sql).fetchall()}

    def differences(self, place: Place) -> Iterator[Difference]:
        """Compare every table and view with the place's; raises PipelineError where that cannot be read."""
        with damage_told(place.path), contextlib.ExitStack() as attached:
            if isinstance(place, DuckDB):
                self._connection.execute(f"ATTACH {quoted(str(place.path))} AS actual (READ_ONLY)")
                attached.callback(self._connection.execute, "DETACH actual")
                yield from _compare_views(self._connection)
                yield from _compare_prices(self._connection)
            relations = place.registered(self._connection) if isinstance(place, Delta) else place.tables()
            yield from in_little_memory(self._connection, partial(_compare_tables, self._connection, relations))


def _compare_views(connection: DuckDBPyConnection) -> Iterator[Difference]:
    """Name the views that are missing, extra or not as this version makes them."""
    sql = """
        SELECT coalesce(expected.view_name, found.view_name)
        FROM (FROM duckdb_views() WHERE database_name = current_database() AND NOT internal) AS expected
        FULL JOIN (FROM duckdb_views() WHERE database_name = 'actual' AND NOT internal) AS found USING (view_name)
        WHERE expected.sql IS DISTINCT FROM found.sql ORDER BY ALL
    """
    for (name,) in connection.execute(sql).fetchall():
        yield Difference(name, "the view is missing, extra or not what this version makes")


def _compare_prices(connection: DuckDBPyConnection) -> Iterator[Difference]:
    """Count the prices that are missing, extra or changed: they come with the program and from the settings."""
    sql = """
        SELECT count(*) FROM (
            (FROM prices EXCEPT ALL FROM actual.main.prices) UNION ALL (FROM actual.main.prices EXCEPT ALL FROM prices)
        )
    """
    ((count,),) = connection.execute(sql).fetchall()
    if count:
        yield Difference(prices.NAME, f"{count} rows are missing, extra or changed")


def _compare_tables(connection: DuckDBPyConnection, relations: Mapping[str, str]) -> list[Difference]:
    found = (_compare_table(connection, TABLES[name], relation) for name, relation in relations.items())
    return [difference for differences in found for difference in differences]


def _compare_table(connection: DuckDBPyConnection, table: Table, relation: str) -> list[Difference]:
    columns = ", ".join(f'"{name}"' for name in table.columns.names)
    groups = f"""
        SELECT source, created_date FROM ({_sums(columns, table.name)}) AS expected
        FULL JOIN ({_sums(columns, relation)}) AS found USING (source, created_date)
        WHERE (expected.rows, expected.total) IS DISTINCT FROM (found.rows, found.total)
        ORDER BY ALL
    """
    differing = connection.execute(groups).fetchall()
    found = [_named(connection, table, relation, columns, source, date) for source, date in differing[:_GROUPS]]
    if len(differing) > _GROUPS:
        found.append(Difference(table.name, f"{len(differing) - _GROUPS} more dates differ"))
    return found


def _sums(columns: str, relation: str) -> str:
    return f"""
        SELECT source, created_date, count(*) AS rows, sum(hash({columns})::HUGEINT) AS total
        FROM {relation} GROUP BY source, created_date
    """


def _named(  # noqa: PLR0913, PLR0917 - what one query is made of
    connection: DuckDBPyConnection, table: Table, relation: str, columns: str, source: str, date: object
) -> Difference:
    """Name the first rows that are missing, extra or changed in one group."""
    where = "WHERE source = $source AND created_date = $date"
    rows = f'SELECT "{table.identity}" AS name, hash({columns}) AS content FROM'
    both = {"expected": f"{rows} {table.name} {where}", "found": f"{rows} {relation} {where}"}
    names = {}
    for side, other in (("expected", "found"), ("found", "expected")):
        sql = f"SELECT name FROM ({both[side]} EXCEPT ALL {both[other]}) ORDER BY name"
        names[side] = [str(name) for (name,) in connection.execute(sql, {"source": source, "date": date}).fetchall()]
    missing, extra = names["expected"], names["found"]
    changed = sorted({*missing} & {*extra})
    told = [
        ("changed", changed),
        ("missing", [name for name in missing if name not in changed]),
        ("extra", [name for name in extra if name not in changed]),
    ]
    says = "; ".join(f"{len(ids)} {what}: {_few(ids)}" for what, ids in told if ids)
    return Difference(f"{table.name}, {source}, {date}", f"{table.identity} {says}")


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _few(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
