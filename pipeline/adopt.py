"""Completions that people saved before, taken into the archive with their origin marked.

What the API itself said always wins: an id that is held is left as it is, whatever ``created`` was saved with it. The
content policy, tombstones and the rule of once hold as for a run; nothing is claimed about what the source lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import assemble
from pipeline.archive.intake import Intake
from pipeline.archive.segments import ADOPTED, Archive, Reading
from pipeline.errors import ConfigError, FolderInUseError, TryAgainError, UsageError
from pipeline.extract.page import rows_of
from pipeline.extract.saved import Saved
from pipeline.folder import DataFolder, owned
from pipeline.handoff import Account, Page
from pipeline.result import Adopted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.config import Config, Source
    from pipeline.handoff import Row

#: Saved completions in memory at a time: their bytes, and their number. For each such group all ids held are read once.
GROUP_BYTES, GROUP_ROWS = 64 * 2**20, 100_000
#: A second behind every other.
_END = 2**63


def adopt(config: Config, path: Path, *, source: str, table: str | None = None, column: str | None = None) -> Adopted:
    """Take saved completions into the archive of ``source``; the next run loads them.

    Raises UsageError for what cannot be read as saved completions, ConfigError for a source that is not configured.
    """
    settings = next((one for one in config.sources if one.name == source), None)
    if settings is None:
        known = ", ".join(one.name for one in config.sources)
        raise ConfigError(f"there is no source {source} in the settings", hint=f"sources: {known}")
    folder = DataFolder(config.data)
    with owned(folder, share=config.share == "group"):
        return _adopt(settings, folder, _open(path, table, column))


def _adopt(source: Source, folder: DataFolder, found: Saved) -> Adopted:
    archive = Archive(folder.archive, source.name, scratch=folder.scratch)
    archive.enter()
    content = assemble.content(source)
    intake = Intake(archive, None, segment_size=source.segment_size, blobs=assemble.blobs(folder), content=content)
    reading = Reading("", Account(), origin=ADOPTED, content=content)
    held = 0
    waiting: set[str] = set()
    for group in _groups(found):
        known = waiting | _held(archive, {row.id for row in group})
        for row in group:
            if row.id in known:
                held += 1
                continue
            intake.take(Page((row,), False, 0))
            if not archive.tombstones.cover(row.id):
                known.add(row.id)
                waiting.add(row.id)
            if intake.is_full:
                intake.cut(reading)
                intake.forget_before(_END)
                waiting.clear()
    if intake.has_rows:
        intake.cut(reading)
    counts = intake.counts
    return Adopted(source.name, counts.new, held, counts.forgotten, tuple(found.skipped))


def _groups(found: Saved) -> Iterator[list[Row]]:
    """Yield saved completions, some at a time."""
    group: list[Row] = []
    size = 0
    for row in rows_of(found):
        group.append(row)
        size += len(row.body)
        if size >= GROUP_BYTES or len(group) >= GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _held(archive: Archive, ids: set[str]) -> set[str]:
    """Return which ids are held, under whatever ``created``; memory stays flat whatever that is."""
    wanted, found = pa.array(ids, pa.string()), set()
    for footer in archive.footers:
        table = archive.columns(footer.number, ["kind", "id"])
        is_held = pc.and_(pc.equal(table["kind"], "completion"), pc.is_in(table["id"], value_set=wanted))
        found.update(table.filter(is_held)["id"].to_pylist())
    return found


def _open(path: Path, table: str | None, column: str | None) -> Saved:
    """Say how to read ``path``: a DuckDB file by its table, everything else by its name."""
    return SavedInDuckDB(path, table, column) if table else Saved(path, column=column)


class SavedInDuckDB(Saved):
    """Completions in a column of a DuckDB table."""

    def __init__(self, path: Path, table: str, column: str | None) -> None:
        super().__init__(path, column=column)
        self._table = table

    def __iter__(self) -> Iterator[bytes]:
        """Read the column, row by row; raises UsageError for what is no DuckDB file."""
        try:
            with assemble.json_column(self._path, self._table, self._column) as texts:
                for number, text in enumerate(texts, 1):
                    yield from self.completions_in(text, f"{self._path}, {self._table}, row {number}")
        except FolderInUseError:
            raise
        except TryAgainError as error:
            raise UsageError(error.message, hint="--table is for a DuckDB file, and it must be whole") from error
