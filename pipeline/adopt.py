"""Completions that people saved before, taken into the archive with their origin marked.

What the API itself said always wins: an id that is held is left as it is. The content policy, tombstones and the rule
of once hold as for a run; nothing is claimed about what the source lists.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pipeline import assemble
from pipeline.archive.intake import Intake
from pipeline.archive.segments import ADOPTED, Archive, Reading
from pipeline.errors import ConfigError
from pipeline.extract.page import rows_of
from pipeline.extract.saved import Saved
from pipeline.folder import DataFolder, owned
from pipeline.handoff import Account, Page
from pipeline.result import Adopted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.config import Config, Source

#: Saved completions compared with what is held at a time.
ROWS = 1000


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
    for page in _pages(found):
        known = intake.known(page)
        held += sum(row.id in known for row in page.rows)
        intake.take(Page(tuple(row for row in page.rows if row.id not in known), False, 0))
        if intake.is_full:
            intake.cut(reading)
    if intake.has_rows:
        intake.cut(reading)
    counts = intake.counts
    return Adopted(source.name, counts.new, held, counts.forgotten, tuple(found.skipped))


def _pages(found: Saved) -> Iterator[Page]:
    rows = iter(found)
    while bodies := list(islice(rows, ROWS)):
        yield Page(tuple(rows_of(bodies)), False, 0)


def _open(path: Path, table: str | None, column: str | None) -> Saved:
    """Say how to read ``path``: a DuckDB file by its table, everything else by its name."""
    return SavedInDuckDB(path, table, column) if table else Saved(path, column=column)


class SavedInDuckDB(Saved):
    """Completions in a column of a DuckDB table."""

    def __init__(self, path: Path, table: str, column: str | None) -> None:
        super().__init__(path, column=column)
        self._table = table

    def __iter__(self) -> Iterator[bytes]:
        """Read the column, row by row."""
        with assemble.json_column(self._path, self._table, self._column) as texts:
            for number, text in enumerate(texts, 1):
                yield from self.completions_in(text, f"{self._path}, {self._table}, row {number}")
