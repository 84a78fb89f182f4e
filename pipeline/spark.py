"""The tables made on Spark, for an archive that one machine cannot rebuild; the one door of PySpark.

Each segment is read whole and flattened by the function that a load uses. What a load then does one segment after the
other, Spark does to all rows at once: the number of the segment that a row comes from says which version is the latest,
and which update is the first to close it.

The session's driver must run where this is called: files are looked for and removed by its Hadoop.
"""

from __future__ import annotations

import contextlib
import importlib.util
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.archive import ledger, segments, tombstones
from pipeline.arrow import flatten_segment
from pipeline.errors import FolderError, UsageError
from pipeline.load.change import order
from pipeline.schema import DECIMAL, INTEGER, MAP, NUMBER, TABLES, TEXT, TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from pipeline.handoff import Batch

#: Where everything is kept, flattened once, until the tables are made of it; its name hides it from Spark's readers.
STAGING = "_staging"
#: Written last: a folder with it holds every table, whole.
SUCCESS = "_SUCCESS"
_NUMBERED = "[0-9]" * 8 + ".parquet"
_KEY = (pa.field("source", TEXT), pa.field("id", TEXT), pa.field("segment", INTEGER))
_GONE = ("gone_at", "gone_reason", "gone_last_seen", "gone_first_missed")
#: What is kept of a batch, by name: its tables, and what it says of rows in earlier segments.
_PARTS: dict[str, pa.Schema] = {name: table.columns.remove_metadata() for name, table in TABLES.items()} | {
    "fetched": pa.schema(_KEY),
    "gone": pa.schema([*_KEY, *(TABLES["completions"].columns.field(name) for name in _GONE)]),
    "closed": pa.schema([*_KEY, pa.field("valid_to", TIMESTAMP)]),
}
_TYPES = {
    TEXT: "string",
    INTEGER: "bigint",
    NUMBER: "double",
    TIMESTAMP: "timestamp",
    MAP: "map<string, string>",
    DECIMAL: "decimal(38, 15)",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.list_(INTEGER): "array<bigint>",
}
#: What a session may say otherwise, and what would then be other rows, other types, or silence about a missing segment.
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
}


def flatten(
    spark: SparkSession,
    archive: str | Sequence[str],
    out: str,
    *,
    format: str = "parquet",  # noqa: A002 - what Spark calls it
    logprobs: bool = False,
) -> None:
    """Make every table of an archive anew under ``out``, the same rows as ``pipeline rebuild parquet``.

    ``archive`` is the folder ``archive`` of a data folder, or the paths of its segment files, all of them; any path or
    URL that the session's Hadoop reads. ``out`` is new or empty, and holds ``<table>/source=…/created_date=…/``, each
    file sorted, with ``_SUCCESS`` written last; what failed leaves nothing there, unless the driver itself was lost.
    ``format`` is ``parquet``, or another one that the session has, such as ``delta`` with its jars. ``logprobs`` fills
    the table of log probabilities. Nothing may write to the archive meanwhile.

    Raises UsageError where PySpark is missing, ``out`` is not empty, the session is one of Spark Connect or does not
    know ``format``; and FolderError where segments are missing or ``forgotten.json`` or the ledger are damaged. A
    segment that cannot be read ends it with Spark's own error, which holds our sentence.
    """
    _require_pyspark()
    files = _Files(spark)
    if not files.is_empty(out):
        raise UsageError(f"{out} is not empty", hint="name a new folder, or remove what an earlier call left there")
    found = _Archive.of(spark, files, archive)
    with _set(spark, _SETTINGS), _emptied(files, out):
        _insist_on_format(spark, f"{out}/{STAGING}/format", format)
        staged = _stage(found, f"{out}/{STAGING}/parts", logprobs=logprobs)
        for name, rows in _tables(staged, f"{out}/{STAGING}/outdated").items():
            _write(rows, name, f"{out}/{name}", format)
    files.delete(f"{out}/{STAGING}")
    files.touch(f"{out}/{SUCCESS}")


def _require_pyspark() -> None:
    """Raise UsageError where what Spark needs in Python is not installed."""
    if not all(importlib.util.find_spec(name) for name in ("pyspark", "pandas")):
        raise UsageError(
            "PySpark is not installed, or pandas, without which it takes no Arrow",
            hint="install the extra pipeline[spark]: in the checkout, pip install '.[spark]'",
        )


# -- what lies where -----------------------------------------------------------------------------------------------


class _Files:
    """What Hadoop is asked for besides reading and writing tables; raises UsageError where that is not possible."""

    def __init__(self, spark: SparkSession) -> None:
        from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

        try:
            context = spark.sparkContext
        except PySparkException as error:
            raise UsageError(
                "a session of Spark Connect cannot be used", hint="call it from a job of its own, with spark-submit"
            ) from error
        self._java = context._jvm  # noqa: SLF001 - PySpark has no other way to its file systems
        self._settings = context._jsc.hadoopConfiguration()  # noqa: SLF001

    def _at(self, path: str) -> tuple[Any, Any]:
        place = self._java.org.apache.hadoop.fs.Path(path)
        return place.getFileSystem(self._settings), place

    def exists(self, path: str) -> bool:
        """Say whether something is there."""
        system, place = self._at(path)
        return bool(system.exists(place))

    def is_empty(self, path: str) -> bool:
        """Say whether nothing is there, or an empty folder."""
        system, place = self._at(path)
        return not system.exists(place) or not len(system.listStatus(place))

    def folders(self, path: str) -> list[str]:
        """Name the folders in a folder; none where it is not there."""
        system, place = self._at(path)
        there = system.listStatus(place) if system.exists(place) else ()
        return sorted(one.getPath().toString() for one in there if one.isDirectory())

    def delete(self, path: str) -> None:
        """Remove what is there, with all that it holds."""
        system, place = self._at(path)
        system.delete(place, True)

    def empty(self, path: str) -> None:
        """Remove what a folder holds, and leave the folder."""
        system, place = self._at(path)
        if system.exists(place):
            for status in system.listStatus(place):
                system.delete(status.getPath(), True)

    def touch(self, path: str) -> None:
        """Make an empty file."""
        system, place = self._at(path)
        system.create(place).close()


class _Archive:
    """The segments of an archive, and what was forgotten of it."""

    def __init__(self, files: DataFrame, forgotten: Mapping[str, bytes], sources: Mapping[str, str]) -> None:
        self.files = files
        """Path and content of each segment; listed once, so that what comes later is not seen by half."""
        self.forgotten = forgotten
        """By folder: its ``forgotten.json``, where something is still to be taken out of its segments."""
        self.sources = sources
        """By folder: the source that it is named after; none where only paths were given."""

    @classmethod
    def of(cls, spark: SparkSession, files: _Files, archive: str | Sequence[str]) -> _Archive:
        """Find the segments; raises FolderError where some are missing, or none is there."""
        is_folder = isinstance(archive, str)
        rows = _listed(spark, files, archive)
        found: dict[str, list[str]] = {}
        for (path,) in rows.select("path").collect() if rows else ():
            folder, _, name = path.rpartition("/")
            found.setdefault(folder, []).append(name)
        if rows is None or not found:
            raise FolderError(
                f"{archive} holds no segment" if is_folder else "a segment that was named is not there",
                hint="name the folder archive of a data folder, or every segment file in it",
            )
        for folder, names in found.items() if is_folder else ():
            _insist_on_whole(spark, files, folder, names)
        texts = {folder: _text(spark, files, f"{folder}/{tombstones.NAME}") for folder in found}
        told = {folder: tombstones.parse(text, f"{folder}/{tombstones.NAME}") for folder, text in texts.items() if text}
        return cls(
            rows,
            {folder: texts[folder] or b"" for folder, one in told.items() if one.pending},
            {folder: folder.rpartition("/")[2] for folder in found if is_folder},
        )


def _listed(spark: SparkSession, files: _Files, archive: str | Sequence[str]) -> DataFrame | None:
    """Return path and content of every segment, listed now; None where there is none, or one of those named is not."""
    from pyspark.errors import AnalysisException  # noqa: PLC0415 - an extra

    reader = spark.read.format("binaryFile")
    if isinstance(archive, str):
        sources = files.folders(archive)
        return reader.option("pathGlobFilter", _NUMBERED).load(sources) if sources else None
    try:
        return reader.load(list(archive))
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return None
        raise


def _text(spark: SparkSession, files: _Files, path: str) -> bytes | None:
    """Return what a small file holds; None where it is not there."""
    if not files.exists(path):
        return None
    ((text,),) = spark.read.format("binaryFile").load(path).select("content").collect()
    return bytes(text)


def _insist_on_whole(spark: SparkSession, files: _Files, folder: str, names: Iterable[str]) -> None:
    """Raise FolderError where a segment of a source is missing: what it alone holds would be left out unsaid."""
    path = f"{folder}/{ledger.NAME}"
    entries = ledger.parse(_text(spark, files, path) or b"", path)
    there = {number for name in names if (number := segments.number_of(name)) is not None}
    if numbers := segments.missing(there, max(there), entries):
        raise segments.lacking(f"{folder}/{segments.file_name(numbers[0])}")


@contextlib.contextmanager
def _set(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Change settings of the session within the block."""
    before = {name: spark.conf.get(name, None) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, old in before.items():
            spark.conf.unset(name) if old is None else spark.conf.set(name, old)


@contextlib.contextmanager
def _emptied(files: _Files, out: str) -> Iterator[None]:
    """Leave nothing of what the block wrote where it fails."""
    try:
        yield
    except BaseException:
        files.empty(out)
        raise


def _insist_on_format(spark: SparkSession, path: str, name: str) -> None:
    """Raise UsageError where the session cannot write a format: known before the work, not after it."""
    from py4j.protocol import Py4JError  # noqa: PLC0415 - comes with PySpark
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

    try:
        spark.range(0).write.format(name).save(path)
    except (PySparkException, Py4JError) as error:
        told = getattr(error, "java_exception", error)
        raise UsageError(
            f"this session cannot write {name}: {str(told).splitlines()[0]}",
            hint="start it with what the format needs, as Delta's jars, or take format='parquet'",
        ) from error


# -- flattened once ------------------------------------------------------------------------------------------------


def _stage(found: _Archive, path: str, *, logprobs: bool) -> Callable[[str], DataFrame]:
    """Flatten every segment into ``path``; return what gives each part of it back."""
    flat = found.files.select("path", "content").mapInArrow(_flattening(found, logprobs=logprobs), _wide())
    flat.write.partitionBy("part").option("compression", "zstd").parquet(path)
    staged = found.files.sparkSession.read.schema(_wide()).parquet(path)
    return lambda name: staged.where(staged["part"] == name).select(f"{name}.*")


def _flattening(found: _Archive, *, logprobs: bool) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a task runs; it takes with it only what was forgotten, and the names."""
    forgotten, sources = found.forgotten, found.sources

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for path, content in zip(batch["path"].to_pylist(), batch["content"], strict=True):
                folder = path.rpartition("/")[0]
                yield from _rows(
                    flatten_segment(
                        content.as_buffer(),
                        forgotten=forgotten.get(folder),
                        source=sources.get(folder),
                        logprobs=logprobs,
                        path=path,
                    )
                )

    return run


def _wide() -> str:
    """Describe the rows of all parts at once: the name of a part, and a struct for each, NULL but for that one."""
    structs = (f"{name} struct<{_fields(columns)}>" for name, columns in _PARTS.items())
    return ", ".join(["part string", *structs])


def _fields(columns: pa.Schema) -> str:
    return ", ".join(f"`{field.name}`: {_TYPES[field.type]}" for field in columns)


def _rows(batch: Batch) -> Iterator[pa.RecordBatch]:
    """Yield all that a merge needs of a batch."""
    for name, rows in _parts(batch):
        for part in rows.combine_chunks().to_batches():
            count = part.num_rows
            struct = pa.StructArray.from_arrays(part.columns, fields=list(_PARTS[name]))
            others = {other: pa.nulls(count, pa.struct(list(columns))) for other, columns in _PARTS.items()}
            yield pa.RecordBatch.from_pydict({"part": pa.repeat(name, count), **others, name: struct})


def _parts(batch: Batch) -> Iterator[tuple[str, pa.Table]]:
    yield from batch.tables.items()
    source, segment = batch.bookmark.source, batch.bookmark.segment
    ids = sorted(batch.fetched)
    updates = {"gone": "completions", "closed": "metadata_history"}
    told = {part: batch.updates[name] for part, name in updates.items() if name in batch.updates}
    for name, rows in {"fetched": pa.table({"id": pa.array(ids, TEXT)}), **told}.items():
        known = {column: rows[column] for column in rows.column_names}
        known |= {"source": pa.repeat(source, len(rows)), "segment": pa.repeat(pa.scalar(segment, INTEGER), len(rows))}
        yield name, pa.table([known[field.name] for field in _PARTS[name]], schema=_PARTS[name])


# -- all segments at once ------------------------------------------------------------------------------------------


def _tables(staged: Callable[[str], DataFrame], scratch: str) -> dict[str, DataFrame]:
    """Say of each table which of the rows of all segments it holds, and how they are closed."""
    versions, fetched = _ends(staged("completions")), _ends(staged("fetched"))
    replaced, refetched = _several(versions, f"{scratch}/versions"), _several(fetched, f"{scratch}/fetched")
    tables = {name: staged(name) for name in TABLES}
    tables["completions"] = _latest(_closed(tables["completions"], "id", staged("gone"), _GONE), "id")
    history = tables["metadata_history"]
    tables["metadata_history"] = _closed(history, "completion_id", staged("closed"), ["valid_to"])
    tables["messages"] = _without_older(tables["messages"], refetched)
    for name in ("choices", "tool_calls", "logprobs"):
        tables[name] = _without_older(tables[name], replaced)
    # Some come with messages, in a segment that may lie before the only version there is.
    tables["rejects"] = _without_older(tables["rejects"], versions)
    for name in ("organization_usage", "organization_costs"):
        tables[name] = _latest(tables[name], "created")
    return tables


def _latest(rows: DataFrame, key: str) -> DataFrame:
    """Keep of each key the rows of the last segment that has any."""
    from pyspark.sql import Window  # noqa: PLC0415 - an extra
    from pyspark.sql import functions as sql  # noqa: PLC0415

    last = sql.max("segment").over(Window.partitionBy("source", key))
    return rows.withColumn("_last", last).where("segment = _last").drop("_last")


def _ends(told: DataFrame) -> DataFrame:
    """Say of each completion which segments are the first and the last that tell of it."""
    from pyspark.sql import functions as sql  # noqa: PLC0415 - an extra

    keys = told.select(sql.col("source").alias("_source"), sql.col("id").alias("_id"), "segment")
    return keys.groupBy("_source", "_id").agg(sql.min("segment").alias("_first"), sql.max("segment").alias("_last"))


def _several(ends: DataFrame, path: str) -> DataFrame:
    """Keep those of which several segments tell, in ``path``: they are few, and Spark sees that before it joins.

    So the rows that hold prose are sent around once, to be sorted, and not a second time to find the latest.
    """
    ends.where("_first < _last").write.parquet(path)
    return ends.sparkSession.read.schema(ends.schema).parquet(path)


def _without_older(rows: DataFrame, ends: DataFrame) -> DataFrame:
    """Leave out what a later segment replaces."""
    from pyspark.sql import functions as sql  # noqa: PLC0415 - an extra

    is_replaced = sql.expr("source = _source AND completion_id = _id AND segment < _last")
    return rows.join(ends, is_replaced, "left_anti")


def _closed(rows: DataFrame, key: str, updates: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Set columns by the first update of a later segment, in rows where the first of them is NULL."""
    from pyspark.sql import Window  # noqa: PLC0415 - an extra
    from pyspark.sql import functions as sql  # noqa: PLC0415

    told = updates.select("source", sql.col("id").alias(key), "segment", sql.struct(*columns).alias("_told"))
    later = Window.partitionBy("source", key).orderBy("segment").rangeBetween(1, Window.unboundedFollowing)
    first = sql.first("_told", ignorenulls=True).over(later)
    both = rows.unionByName(told, allowMissingColumns=True).withColumn("_first", first).where("_told IS NULL")
    is_open = sql.col(columns[0]).isNull()
    values = {name: sql.when(is_open, sql.col("_first")[name]).otherwise(sql.col(name)) for name in columns}
    return both.select(*(values.get(name, sql.col(f"`{name}`")).alias(name) for name in rows.columns))


def _write(rows: DataFrame, name: str, path: str, file_format: str) -> None:
    """Write a table, by source and date, sorted as in the Parquet dataset; a date of many rows is in several files."""
    from pyspark.sql import functions as sql  # noqa: PLC0415 - an extra

    keys = [sql.asc_nulls_last(f"`{key}`") for key in ("source", "created_date", *order(TABLES[name]))]
    declared = rows.select(*(sql.col(f"`{column}`") for column in TABLES[name].columns.names))
    sorted_ = declared.repartitionByRange(*keys).sortWithinPartitions(*keys)
    sorted_.write.format(file_format).partitionBy("source", "created_date").option("compression", "zstd").save(path)
