"""Puts the parts together: Config to sources and destinations, opened and closed in one place."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.archive.blobs import Blobs
from pipeline.archive.content import Content
from pipeline.archive.segments import sources
from pipeline.cost import table
from pipeline.errors import ConfigError, PipelineError
from pipeline.folder import DataFolder
from pipeline.secret import check_reference, fetch, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from os import PathLike

    import duckdb
    import pyarrow as pa

    from pipeline.config import Config, Source
    from pipeline.cost.settings import Cost
    from pipeline.extract.client import Client
    from pipeline.extract.organization import Organization
    from pipeline.extract.retry import Retry
    from pipeline.handoff import Account, Destination
    from pipeline.load.delta import DeltaDestination
    from pipeline.load.parquet import ParquetDestination
    from pipeline.load.reading import Answer
    from pipeline.load.snapshot import PublishResult
    from pipeline.stopping import Stop

#: Modes with share = "group" (storage 9); files are born private otherwise.
_SHARED_FOLDER, _SHARED_FILE = 0o750, 0o640
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
#: Nobody writes the snapshot, its owner neither.
_SHARED_SNAPSHOT, _PRIVATE_SNAPSHOT = 0o440, 0o400


def blobs(folder: DataFolder) -> Blobs:
    """Open the store of large binary content."""
    return Blobs(folder.blobs, folder.scratch)


def content(source: Source) -> Content:
    """Return what of a source's bodies is kept."""
    return Content(source.content, source.metadata_keys)


def client(
    source: Source, account: Account | None, stop: Stop, complain: Callable[[Retry], None] = lambda _: None
) -> Client:
    """Open a source; raises RefusedError where its key is missing."""
    from pipeline.extract.client import Client, Endpoint  # noqa: PLC0415 - what asks no server stays without HTTP
    from pipeline.extract.page import Filters  # noqa: PLC0415
    from pipeline.extract.retry import Policy  # noqa: PLC0415
    from pipeline.extract.transport import Address  # noqa: PLC0415

    at_once = max(source.messages_at_once, source.sweep_walks)
    endpoint = Endpoint(
        source=source.name,
        address=Address(
            source.base_url,
            timeout=source.timeout,
            connect_timeout=source.connect_timeout,
            page_time=source.page_time,
            page_size=source.page_size,
            ca_file=source.ca_file,
        ),
        organization=source.organization,
        project=source.project,
        filters=Filters(source.model, source.metadata),
        policy=Policy(attempts=source.retry_attempts, seconds=source.retry_time),
    )
    key = resolve(source.api_key, source=source.name)
    return Client(
        endpoint,
        key,
        account=account,
        sleep=stop.sleep,
        guard=stop.interruptible,
        at_once=at_once,
        complain=complain,
    )


def organization(config: Config, stop: Stop) -> Organization:
    """Open the organization; raises ConfigError where no admin key is named, RefusedError where there is none."""
    from pipeline.extract.organization import Organization  # noqa: PLC0415 - as above

    settings = config.organization
    if settings.admin_key is None:
        raise ConfigError(
            "no admin key is named, and only one of those may read usage and costs",
            hint="make one in the organization's settings, and name where it is: [organization] "
            'admin_key = "env:OPENAI_ADMIN_KEY"; without settings the variable alone will do',
        )
    key = fetch(settings.admin_key, owner="organization", setting="organization.admin_key")
    return Organization(settings.base_url, key, sleep=stop.sleep, guard=stop.interruptible)


@contextlib.contextmanager
def destination(name: str, config: Config, folder: DataFolder) -> Iterator[Destination]:
    """Open one destination and close it again, whatever happens."""
    opened = _destination(name, config, folder)
    try:
        yield opened
    finally:
        opened.close()


def destination_names(config: Config) -> list[str]:
    """Return the destinations that are switched on."""
    return [name for name in ("parquet", "duckdb", "delta") if getattr(config, name)]


def destination_beside(name: str, config: Config, folder: DataFolder) -> Destination:
    """Open a new, empty destination beside the one that serves."""
    return _destination(name, config, folder, folder.beside)


def clear_beside(folder: DataFolder) -> None:
    """Remove what was made beside; only the owner of the folder may."""
    files.remove(folder.beside)


def bookmarks(config: Config, folder: DataFolder) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Yield what each destination that can be read says it holds: the last segment by source.

    In a place that others may write to as well, only of the sources that have an archive here.
    """
    from pipeline.load import compare  # noqa: PLC0415 - only where something is made anew

    yield "parquet", compare.bookmarks_of_parquet(folder.parquet)
    for path in (folder.warehouse, folder.snapshot):
        with contextlib.suppress(PipelineError):
            yield "duckdb", compare.bookmarks_of_duckdb(path) if path.exists() else {}
    if config.delta or folder.delta.exists():
        with contextlib.suppress(PipelineError):
            opened = delta(config, folder)
            known = opened.bookmarks()
            ours = known if opened.place.is_ours else known.keys() & set(sources(folder.archive))
            yield "delta", {source: known[source] for source in ours}


def is_outdated(name: str, config: Config, folder: DataFolder) -> bool:
    """Tell whether a destination that readers see cannot be gone on with, and must be made anew beside it."""
    if name == "duckdb":
        return False  # readers see the snapshot, which serves until the next one is published
    if name == "delta":
        with contextlib.suppress(PipelineError):  # told where it is loaded
            return delta(config, folder).is_outdated
        return False
    return _parquet(config, folder, folder.parquet).is_outdated


def _destination(name: str, config: Config, folder: DataFolder, beside: Path | None = None) -> Destination:
    if name == "duckdb":
        from pipeline.load.duckdb import DuckDBDestination  # noqa: PLC0415 - only where it is switched on

        path = (beside or folder.private) / folder.warehouse.name
        return DuckDBDestination(path, logprobs=config.logprobs, cost=config.cost)
    if name == "delta":
        return delta(config, folder, anew=beside is not None)
    return _parquet(config, folder, (beside or folder.root) / folder.parquet.name)


def _parquet(config: Config, folder: DataFolder, root: Path) -> ParquetDestination:
    from pipeline.load.parquet import ParquetDestination  # noqa: PLC0415 - only where it is switched on

    shared = config.share == "group"
    return ParquetDestination(
        root,
        folder.scratch,
        folder_mode=_SHARED_FOLDER if shared else _PRIVATE_FOLDER,
        file_mode=_SHARED_FILE if shared else _PRIVATE_FILE,
        logprobs=config.logprobs,
    )


def delta(config: Config, folder: DataFolder, *, anew: bool = False) -> DeltaDestination:
    """Open the Delta tables where the settings say, ``anew`` to stage what will take their place; touches nothing yet.

    Raises ConfigError where deltalake is not installed, and RefusedError where a key is missing.
    """
    try:
        from pipeline.load.delta import DeltaDestination, connect  # noqa: PLC0415 - only where it is switched on
    except ImportError as error:
        raise ConfigError(
            "Delta tables need deltalake, which is not installed", hint="in the checkout: pip install '.[delta]'"
        ) from error
    from pipeline.load.place import Place, is_url  # noqa: PLC0415 - as above

    shared = config.share == "group"
    is_ours = not isinstance(config.delta, str)
    root = str(folder.delta.absolute()) if is_ours else _delta_root(str(config.delta))
    place = Place(
        root,
        connect,
        options=delta_options(config) if is_url(root) else {},
        is_ours=is_ours,
        scratch=folder.scratch if is_ours else None,
        folder_mode=_SHARED_FOLDER if shared else _PRIVATE_FOLDER,
        file_mode=_SHARED_FILE if shared else _PRIVATE_FILE,
    )
    return DeltaDestination(place, logprobs=config.logprobs, anew=anew)


def _delta_root(named: str) -> str:
    """Return a place that the settings name as a URL, or as an absolute path."""
    from pipeline.load.place import is_url  # noqa: PLC0415 - only where it is switched on

    return named if is_url(named) else str(Path(named.removeprefix("file://")).expanduser().absolute())


def is_delta_elsewhere(config: Config, folder: DataFolder) -> bool:
    """Tell whether the settings have the Delta tables outside of ``delta/`` in the data folder, by whatever name."""
    if not isinstance(config.delta, str):
        return False
    root = Path(_delta_root(config.delta))
    return not (root.is_absolute() and root.resolve().is_relative_to(folder.delta.resolve()))  # a URL is not absolute


def delta_options(config: Config) -> dict[str, str]:
    """Fetch what delta-rs is told of a place; raises RefusedError where a key that is named is missing."""
    return {
        name: value
        if check_reference(value)
        else fetch(value, owner="destination delta", setting=f"destinations.delta_options.{name}").reveal()
        for name, value in config.delta_options.items()
    }


def publish(  # noqa: PLR0913 - each has a name
    config: Config,
    folder: DataFolder,
    *,
    anew: bool = False,
    is_ready: bool = False,
    is_whole: bool = False,
    forgets: bool = False,
) -> PublishResult:
    """Publish what the closed writer holds as the snapshot that readers open; ``anew`` also where it looks the same.

    ``is_ready`` says that the writer's file was open since the folder is owned, and is closed; ``is_whole`` that it has
    caught up with every archive; ``forgets`` that nothing may stay of what was published before. Raises TryAgainError
    where it has not, and readers would see less than now.
    """
    from pipeline.load import snapshot  # noqa: PLC0415 - only where DuckDB is switched on

    return snapshot.publish(
        folder.warehouse,
        folder.snapshot,
        versions=folder.published,
        scratch=folder.scratch,
        mode=_SHARED_SNAPSHOT if config.share == "group" else _PRIVATE_SNAPSHOT,
        logprobs=config.logprobs,
        cost=config.cost,
        anew=anew,
        is_ready=is_ready,
        is_whole=is_whole,
        forgets=forgets,
    )


def open_snapshot(data: str | PathLike[str]) -> duckdb.DuckDBPyConnection:
    """Open the newest published snapshot of a data folder, read-only."""
    from pipeline.load import reading  # noqa: PLC0415 - importing pipeline must stay light

    return reading.connect(_snapshot(Path(data)))


def read_arrow(
    data: str | PathLike[str], table: str, since: datetime | None, until: datetime | None
) -> Iterator[pa.Table]:
    """Read a table of the newest published snapshot, between two times of creation."""
    from pipeline.load import reading  # noqa: PLC0415 - as above

    return reading.arrow(_snapshot(Path(data)), table, since, until)


def _snapshot(data: Path) -> Path:
    """Name the snapshot of a data folder; raises FolderError where there is no folder, for a name may be mistyped."""
    folder = DataFolder(data)
    if not folder.snapshot.parent.is_dir():
        folder.insist()
    return folder.snapshot


def query_snapshot(
    data: Path, sql: str, values: Mapping[str, str | int | None] | None = None, *, cost: Cost | None = None
) -> AbstractContextManager[Answer]:
    """Ask the newest published snapshot, without access to anything else; ``values`` stand for ``$name``.

    With ``cost`` its prices are those of today's program and settings, as they would be after the next run.
    """
    from pipeline.load import reading  # noqa: PLC0415 - as above

    prices = None if cost is None else table.rows(cost)
    return reading.query(_snapshot(data), sql, values or {}, prices=prices)


def asking(config: Config) -> AbstractContextManager[Callable[[str], Answer]]:
    """Ask the newest published snapshot several questions of our own, at today's prices."""
    from pipeline.load import reading  # noqa: PLC0415 - as above

    return reading.asking(_snapshot(config.data), prices=table.rows(config.cost))


def json_column(file: Path, table: str, column: str | None) -> AbstractContextManager[Iterator[bytes]]:
    """Read a column of a DuckDB file of somebody else's."""
    from pipeline.load import reading  # noqa: PLC0415 - as above

    return reading.json_column(file, table, column)
