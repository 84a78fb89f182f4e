"""Keeps every stored chat completion, exactly once: API to archive, Parquet and DuckDB.

``run(config)`` exports what is new; ``connect(data)`` opens the published snapshot for reading, ``iter_arrow`` hands it
out as Arrow tables. ``flatten_segment`` is the transform alone, for an archive that one machine cannot load;
``pipeline.spark.flatten`` runs it on Spark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from os import PathLike

    import duckdb
    import pyarrow as pa

    from pipeline.config import Config
    from pipeline.handoff import Batch
    from pipeline.result import Progress, RunResult

__all__ = ["connect", "flatten_segment", "iter_arrow", "run"]


def run(
    config: Config,
    *,
    only: Sequence[str] = (),
    max_pages: int | None = None,
    max_runtime: float | None = None,
    observe: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Export what is new in every source of ``config``, load it and publish the snapshot.

    ``only`` names the sources to ask. ``max_pages`` bounds the pages of each source beyond what earlier runs had read,
    ``max_runtime`` the seconds in which anything is asked; a source that a limit ended says so (``limited``), and the
    next run goes on from there. A failing source is told in the result (``sources``, ``exit_code``) and does not stop
    the others. Raises FolderInUseError, FolderError, RefusedError or DiskFullError where the data folder cannot be
    used at all, and UsageError for a name in ``only`` that no source has.
    ``observe`` is called with a Progress after every page, and after the input messages of every completion.
    """
    from pipeline.nightly import Asked, export  # noqa: PLC0415 - importing pipeline must stay light

    asked = Asked(only=tuple(only), max_pages=max_pages, max_runtime=max_runtime)
    return export(config, asked=asked, observe=observe)


def connect(data: str | PathLike[str] = "data") -> duckdb.DuckDBPyConnection:
    """Open the newest published snapshot of a data folder, read-only, never in a run's way.

    The connection keeps showing the snapshot it was opened on, also while a run publishes the next; call ``connect``
    again to see the newer one. Raises FolderError where nothing was published yet.
    """
    from pipeline.assemble import open_snapshot  # noqa: PLC0415 - importing pipeline must stay light

    return open_snapshot(data)


def iter_arrow(
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    data: str | PathLike[str] = "data",
    table: str = "completions",
) -> Iterator[pa.Table]:
    """Hand out the published rows created from ``since`` on and before ``until``, as Arrow tables of some 2,000 rows.

    They come from one snapshot, the newest at the call, whatever is published meanwhile; memory stays flat, and order
    is not promised. Columns and types are those of ``pipeline schema``. ``table`` is any with a column ``created``;
    rows whose ``created`` could not be read come only where neither bound is given. Raises FolderError where nothing
    was published yet, UsageError for another table, or a bound without a time zone, and TryAgainError where texts are
    too long for the 1.1 GB that DuckDB is given: 2,000 in a row of some 400 KB each.

    What became visible late, and what a sweep found edited or gone, is older than the newest ``created``: who takes
    only what is new reads some time back as well, and now and then all.
    """
    from pipeline.assemble import read_arrow  # noqa: PLC0415 - importing pipeline must stay light

    return read_arrow(data, table, since, until)


def flatten_segment(
    data: bytes | pa.Buffer,
    *,
    forgotten: bytes | None = None,
    source: str | None = None,
    logprobs: bool = False,
    path: str = "the segment",
) -> Batch:
    """Flatten the bytes of one segment file of the archive into Arrow tables: pure, and the very function of a load.

    ``tables`` of the Batch has every table of ``pipeline schema``, of those types, one version per completion and
    segment. ``replaced``, ``fetched`` and ``updates`` say what the segment does to rows of earlier segments of its
    source: a completion's rows replace all of its older ones, ``messages`` only where ``fetched`` names it.
    ``forgotten`` are the bytes of ``forgotten.json`` beside the segment, where there is one: without it, what an
    unfinished ``pipeline forget`` still has to take out of the segments comes out again. ``source`` stands in for the
    name that the segment gives, ``path`` for it in errors. ``logprobs`` fills the table of log probabilities.
    Raises FolderError where the bytes are no segment, or one of a newer version, or ``forgotten`` is damaged.
    """
    from pipeline import arrow  # noqa: PLC0415 - importing pipeline must stay light

    return arrow.flatten_segment(data, forgotten=forgotten, source=source, logprobs=logprobs, path=path)
