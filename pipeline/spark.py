"""The tables made on Spark, for an archive that one machine cannot rebuild; the one door of PySpark.

Each segment is read whole and flattened by the function that a load uses. What a load then does one segment after the
other, Spark does to all rows at once: the number of the segment that a row comes from says which version is the latest,
and which update is the first to close it.

The session's driver must run where this is called: files are looked for and removed by its Hadoop.
"""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import dataclass
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
    "versions": pa.schema(_KEY),
    "fetched": pa.schema(_KEY),
    "gone": pa.schema([*_KEY, *(TABLES["completions"].columns.field(name) for name in _GONE)]),
    "closed": pa.schema([*_KEY, pa.field("valid_to", TIMESTAMP)]),
}
_STAGED = "part string, rows binary"
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
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
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

    ``archive`` is the folder ``archive`` of a data folder, or the paths of its segment files, all of them: whether
    they are all only a folder tells. Any path or URL that the session's Hadoop reads. ``out`` is new or empty, and
    holds ``<table>/source=…/created_date=…/``, each file sorted, with ``_SUCCESS`` written last; what failed leaves
    nothing there, unless the driver itself was lost.
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
        staged = _Staged.of(found, files, f"{out}/{STAGING}", logprobs=logprobs)
        for name, rows in _tables(staged).items():
            if name in staged.there:
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
        for (path,) in rows.select("path").collect() if rows is not None else ():
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


@dataclass(frozen=True, slots=True)
class _Staged:
    """Every segment, flattened: a row for each part of it, whose rows are the Arrow stream of a table.

    So Spark moves a few large values while Python flattens, and sees the columns of one table at a time: rows as wide
    as all tables together cost it many times what flattening costs.
    """

    parts: DataFrame
    there: frozenset[str]
    """The parts of which any segment has rows."""
    scratch: str

    @classmethod
    def of(cls, found: _Archive, files: _Files, folder: str, *, logprobs: bool) -> _Staged:
        """Flatten every segment into ``folder``."""
        path = f"{folder}/parts"
        flat = found.files.select("path", "content").mapInArrow(_flattening(found, logprobs=logprobs), _STAGED)
        flat.write.partitionBy("part").option("compression", "uncompressed").parquet(path)
        there = frozenset(one.rpartition("=")[2] for one in files.folders(path))
        return cls(found.files.sparkSession.read.schema(_STAGED).parquet(path), there, folder)

    def rows(self, part: str) -> DataFrame:
        """Return the rows of a part, of all segments."""
        mine = self.parts.where(self.parts["part"] == part).select("rows")
        return mine.mapInArrow(_unpacked, ", ".join(f"`{one.name}` {_TYPES[one.type]}" for one in _PARTS[part]))

    def kept(self, rows: DataFrame, name: str) -> DataFrame:
        """Keep rows beside the parts: they are worked out once, and Spark knows how few they are before it joins."""
        path = f"{self.scratch}/{name}"
        rows.write.parquet(path)
        return rows.sparkSession.read.schema(rows.schema).parquet(path)


def _flattening(found: _Archive, *, logprobs: bool) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a task runs; it takes with it only what was forgotten, and the names."""
    forgotten, sources = found.forgotten, found.sources

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for path, content in zip(batch["path"].to_pylist(), batch["content"], strict=True):
                folder = path.rpartition("/")[0]
                told, source = forgotten.get(folder), sources.get(folder)
                data = content.as_buffer()
                flat = flatten_segment(data, forgotten=told, source=source, logprobs=logprobs, path=path)
                for part, rows in _parts(flat):
                    if rows.num_rows:
                        yield pa.RecordBatch.from_pydict({"part": [part], "rows": [_packed(rows)]})

    return run


def _parts(batch: Batch) -> Iterator[tuple[str, pa.Table]]:
    """Yield all that a merge needs of a batch."""
    yield from ((name, rows.replace_schema_metadata().cast(_PARTS[name])) for name, rows in batch.tables.items())
    versions = {*batch.tables["completions"]["id"].to_pylist(), *batch.replaced}
    for part, ids in (("versions", versions), ("fetched", batch.fetched)):
        yield part, _told(batch, part, pa.table({"id": pa.array(sorted(ids), TEXT)}))
    for part, name in (("gone", "completions"), ("closed", "metadata_history")):
        if name in batch.updates:
            yield part, _told(batch, part, batch.updates[name])


def _told(batch: Batch, part: str, rows: pa.Table) -> pa.Table:
    """Say which segment tells it."""
    source, segment = pa.scalar(batch.bookmark.source, TEXT), pa.scalar(batch.bookmark.segment, INTEGER)
    known = {name: rows[name] for name in rows.column_names}
    known |= {"source": pa.repeat(source, len(rows)), "segment": pa.repeat(segment, len(rows))}
    return pa.table([known[field.name] for field in _PARTS[part]], schema=_PARTS[part])


def _packed(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(rows.combine_chunks())
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _unpacked(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for rows in batch["rows"]:
            yield from pa.ipc.open_stream(rows.as_buffer())


# -- all segments at once ------------------------------------------------------------------------------------------


def _tables(staged: _Staged) -> dict[str, DataFrame]:
    """Say of each table which of the rows of all segments it holds, and how they are closed.

    What is replaced is looked for among the ids alone, and is little: rows that hold prose are sent around once, to be
    sorted, and not a second time to find the latest.
    """
    versions = _named(staged.rows("versions"))
    replaced = staged.kept(_replacing(versions), "replaced")
    refetched = staged.kept(_replacing(_named(staged.rows("fetched"))), "refetched")
    tables = {name: staged.rows(name) for name in TABLES}
    for name in ("completions", "choices", "tool_calls", "logprobs"):
        tables[name] = _without_older(tables[name], TABLES[name].identity, replaced)
    tables["messages"] = _without_older(tables["messages"], "completion_id", refetched)
    # Some come with messages, in a segment that may lie before the only version there is.
    tables["rejects"] = _without_older(tables["rejects"], "completion_id", versions)
    for name in ("organization_usage", "organization_costs"):
        tables[name] = _latest_days(tables[name])
    if "gone" in staged.there:
        tables["completions"] = _closed(tables["completions"], "id", staged.rows("gone"), _GONE)
    if "closed" in staged.there:
        history = tables["metadata_history"]
        tables["metadata_history"] = _closed(history, "completion_id", staged.rows("closed"), ["valid_to"])
    return tables


def _named(told: DataFrame) -> DataFrame:
    return told.selectExpr("source AS _source", "id AS _id", "segment AS _segment")


def _replacing(told: DataFrame) -> DataFrame:
    """Keep the last that is told of each completion of which several segments tell."""
    from pyspark.sql import Window  # noqa: PLC0415 - an extra
    from pyspark.sql import functions as sql  # noqa: PLC0415

    one = Window.partitionBy("_source", "_id")
    ends = {"_first": sql.min("_segment").over(one), "_last": sql.max("_segment").over(one)}
    return told.withColumns(ends).where("_first < _last AND _segment = _last").drop("_first", "_last")


def _without_older(rows: DataFrame, key: str, told: DataFrame) -> DataFrame:
    """Leave out what a later segment replaces."""
    from pyspark.sql import functions as sql  # noqa: PLC0415 - an extra

    is_replaced = sql.expr(f"source = _source AND {key} = _id AND segment < _segment")
    return rows.join(told, is_replaced, "left_anti")


def _latest_days(rows: DataFrame) -> DataFrame:
    """Keep of each day the rows of the last segment that has any."""
    from pyspark.sql import Window  # noqa: PLC0415 - an extra
    from pyspark.sql import functions as sql  # noqa: PLC0415

    last = sql.max("segment").over(Window.partitionBy("source", "created"))
    return rows.withColumn("_last", last).where("segment = _last").drop("_last")


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
