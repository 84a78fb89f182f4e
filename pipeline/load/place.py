"""Where the Delta tables lie: a folder, or whatever is behind a URL, and the little that is done to data files there.

In a folder a file is durable, and has its mode, before any table refers to it; behind a URL that is the server's part.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem, SubTreeFileSystem

from pipeline import files
from pipeline.load.merge import write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

_LOG = "_delta_log"
#: Where files are written that have no ``scratch`` of their own; what begins so is nothing that readers look for.
_TEMP = "_temp"
#: Delta Lake names each version by this many digits.
_DIGITS = 20
#: Stands in the names of files that delta-rs has not put in their place yet.
_BEING_WRITTEN = "#"


def is_url(root: str) -> bool:
    """Tell whether tables lie behind a URL and not in a folder of this machine."""
    return "://" in root and urlsplit(root).scheme != "file"


@dataclass(frozen=True, slots=True)
class Place:
    """A root with one folder per table."""

    root: str
    """A URL, or the path of a folder."""
    connect: Callable[[str, Mapping[str, str]], FileSystem] = field(repr=False)
    """Opens what is behind a URL."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """How the server is reached; keys are among them."""
    is_ours: bool = False
    """Whether nobody else writes there: what nothing refers to may go, and what is damaged."""
    scratch: Path | None = None
    """Temp files on the same file system; None is a folder in the root."""
    folder_mode: int = files.FOLDER_MODE
    file_mode: int = files.FILE_MODE

    @property
    def folder(self) -> Path | None:
        """The root, where it is a folder."""
        if is_url(self.root):
            return None
        return Path(self.root)

    def uri(self, table: str) -> str:
        """Name a table as delta-rs takes it."""
        return str(self.folder / table) if self.folder else f"{self.root.rstrip('/')}/{table}"

    def hide_in(self, text: str) -> str:
        """Return ``text`` without the values of options, should a library have repeated one."""
        for value in sorted(self.options.values(), key=len, reverse=True):
            text = text.replace(value, "***") if len(value) >= _LONG_ENOUGH else text
        return text

    def prepare(self, table: str) -> None:
        """Make a table's folder."""
        if self.folder:
            self._make_folder(self.folder / table / _LOG)

    def change_modes(self) -> None:
        """Give all that was written under another ``share`` setting today's modes."""
        root = self.folder if self.is_ours else None
        if root and root.exists() and root.stat().st_mode & 0o777 != self.folder_mode:
            for path in root.rglob("*"):
                path.chmod(self.folder_mode if path.is_dir() else self.file_mode)
            root.chmod(self.folder_mode)  # last, so that it is redone where it is interrupted

    def write(self, table: str, path: str, first: pa.Table, others: Iterable[pa.Table]) -> int:
        """Write a data file and return its size; in a folder it is durable then."""
        if (root := self.folder) is None:
            filesystem = self._filesystem(table)
            with filesystem.open_output_stream(path) as out:
                write(first, others, out)
            return int(filesystem.get_file_info(path).size)
        target = root / table / path
        self._make_folder(target.parent)
        with files.replacing(target, scratch=self.scratch or root / _TEMP, mode=self.file_mode) as temp:
            write(first, others, temp)
        return target.stat().st_size

    @contextlib.contextmanager
    def opened(self, table: str, path: str) -> Iterator[pq.ParquetFile]:
        """Open a data file."""
        with (
            self._filesystem(table).open_input_file(path) as source,
            pq.ParquetFile(source, pre_buffer=self.folder is None) as file,
        ):
            yield file

    def data_files(self, table: str) -> list[str]:
        """List every data file that lies there, whether or not the table refers to it."""
        found = self._filesystem(table).get_file_info(FileSelector("", recursive=True, allow_not_found=True))
        paths = [one.path.lstrip("/") for one in found if one.is_file]
        return sorted(path for path in paths if path.endswith(".parquet") and not path.startswith(_LOG))

    def delete(self, table: str, paths: Iterable[str]) -> None:
        """Delete data files; what is gone already is no error."""
        filesystem = self._filesystem(table)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                filesystem.delete_file(path)

    def clear(self, prefixes: Collection[str], *, seconds: float = 0) -> None:
        """Remove temp files that a killed write left in the root: of some sources, and unchanged for some time.

        Files in ``scratch`` are removed by whoever holds the data folder.
        """
        for left in (self.folder / _TEMP).glob("*.tmp") if self.folder else ():
            with contextlib.suppress(FileNotFoundError):  # whoever wrote it may have been quicker
                if left.name.partition(".")[0] in prefixes and time.time() - left.stat().st_mtime >= seconds:
                    left.unlink()

    def discard(self, table: str) -> None:
        """Remove the log of a table in a folder; data files stay, for some may be staged."""
        if self.folder:
            shutil.rmtree(self.folder / table / _LOG)

    def settle(self, table: str, version: int) -> None:
        """Make a version of a table's log, which delta-rs leaves to the kernel, durable and give it its mode."""
        if (root := self.folder) is None:
            return
        log = root / table / _LOG
        for name in os.listdir(log):  # noqa: PTH208 - a Path for each of a thousand names costs more than the rest
            if _BEING_WRITTEN in name:  # by another one, and gone at any moment
                continue
            if name.startswith("_last") or name[:_DIGITS] >= f"{version:0{_DIGITS}}":
                (log / name).chmod(self.file_mode)
                files.sync_file(log / name)
        for folder in (log, log.parent, root):
            files.sync_folder(folder)

    def _filesystem(self, table: str) -> FileSystem:
        if self.folder:
            return SubTreeFileSystem(str(self.folder / table), LocalFileSystem())
        return self.connect(self.uri(table), self.options)

    def _make_folder(self, path: Path) -> None:
        """Make a folder of the root, and those above it, with the root's mode."""
        if not path.is_dir():
            if path != self.folder:
                self._make_folder(path.parent)
            files.make_folder(path).chmod(self.folder_mode)


#: Shorter values ("true", "etag") are no secrets, and would tear words apart.
_LONG_ENOUGH = 8
