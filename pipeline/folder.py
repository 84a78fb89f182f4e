"""The data folder: its layout, whether it is ours, and the one run that may write in it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.errors import FolderError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: share = "group": the analyst is not the cron user. Passage through the folder, reading of what is published.
_PASSAGE = 0o710


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Where everything lies in a data folder."""

    root: Path

    @property
    def archive(self) -> Path:
        """Segments, by source; private."""
        return self.root / "archive"

    @property
    def parquet(self) -> Path:
        """The Parquet dataset, by table."""
        return self.root / "parquet"

    @property
    def delta(self) -> Path:
        """The Delta tables, unless the settings name another place."""
        return self.root / "delta"

    @property
    def snapshot(self) -> Path:
        """The published DuckDB file: what notebooks open; a link to the newest of what was published."""
        return self.root / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """Where the published DuckDB files lie, each in a folder of its own."""
        return self.root / ".published"

    @property
    def private(self) -> Path:
        """The writer's own: its DuckDB file, temp files, the lock."""
        return self.root / ".writer"

    @property
    def warehouse(self) -> Path:
        """The writer's DuckDB file."""
        return self.private / "warehouse.duckdb"

    @property
    def spilled(self) -> Path:
        """What DuckDB puts aside while it loads; emptied by whoever takes the lock, for a killed load leaves it."""
        return self.private / f"{self.warehouse.name}.tmp"

    def footers(self, source: str) -> Path:
        """Name the file that remembers the footers of a source's segments."""
        return self.private / "footers" / f"{source}.json"

    @property
    def troubles(self) -> Path:
        """What did not work in former runs, and since when."""
        return self.private / "troubles.json"

    @property
    def blobs(self) -> Path:
        """Large binary content, by SHA-256; private."""
        return self.root / "blobs"

    @property
    def beside(self) -> Path:
        """Where destinations are made anew, beside the ones that serve on; emptied by whoever takes the lock."""
        return self.private / "beside"

    @property
    def scratch(self) -> Path:
        """Temp files on the same file system, emptied by whoever takes the lock."""
        return self.private / "temp"

    @property
    def exists(self) -> bool:
        """Whether anything is there; raises FolderError for what is not ours, DiskError where its disk fails."""
        try:
            inside = {path.name for path in self.root.iterdir()}
        except FileNotFoundError:
            if self.root.is_symlink():
                raise FolderError(
                    f"{self.root} is a link to {self.root.readlink()}, which is not there",
                    hint="mount or make it, or name another folder with --data",
                ) from None
            return False
        except NotADirectoryError as error:
            raise FolderError(f"{self.root} is a file, not a folder", hint="name a folder with --data") from error
        except PermissionError as error:
            raise RefusedError(f"not allowed to read {self.root}", hint="run as its owner") from error
        except OSError as error:
            if told := files.failing(error, self.root):
                raise told from error
            raise
        if inside and not inside & {self.archive.name, self.private.name}:
            raise FolderError(
                f"{self.root} is not a data folder: it holds other files and no archive",
                hint="name an empty or new folder with --data",
            )
        return bool(inside)

    def insist(self) -> None:
        """Raise FolderError where there is no data folder yet."""
        if not self.exists:
            raise FolderError(
                f"there is no data folder at {self.root}",
                hint="look at --data and PIPELINE_DATA; the first `pipeline run` makes it",
            )


@contextlib.contextmanager
def owned(folder: DataFolder, *, share: bool = False) -> Iterator[int]:
    """Own the data folder for a run: it is ours, private, locked, and free of temp files of a killed run.

    Hands out the locked file.
    """
    _ = folder.exists
    with files.explained(folder.root):
        files.make_folder(folder.root)
        _refuse_what_others_put_there(folder)
        with files.locked(folder.private / "lock") as lock:
            if share:
                folder.root.chmod(_PASSAGE)
            files.clear_scratch(files.make_folder(folder.scratch))
            files.remove(folder.beside)
            files.remove(folder.spilled)
            yield lock


def _refuse_what_others_put_there(folder: DataFolder) -> None:
    """Raise RefusedError where a folder or link lies in it that is neither its owner's nor ours: it could lead away."""
    trusted = {0, os.geteuid(), folder.root.stat().st_uid}
    ours = (folder.private, folder.archive, folder.blobs, folder.parquet, folder.delta)
    for path in (*ours, folder.published, folder.snapshot):
        if os.path.lexists(path) and path.lstat().st_uid not in trusted:
            raise RefusedError(
                f"{path} was put there by another user (uid {path.lstat().st_uid})",
                hint=f"look at it, take it away, and let nobody else write in {folder.root}",
            )
