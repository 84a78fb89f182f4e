"""What DuckDB's messages mean: its errors have no codes, and one class covers a full disk, a lock and damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import DiskFullError, FolderInUseError, PipelineError, RefusedError, TryAgainError

if TYPE_CHECKING:
    from pathlib import Path


class DamagedError(TryAgainError):
    """The file is no whole DuckDB file."""


_REBUILT = "run again: it is rebuilt from the archive"
_FREE_SPACE = "free some space and run again; everything committed before is intact"
_LONG_TEXTS = (
    "free memory and run again; archive and Parquet hold all of it, and destinations.duckdb = false goes without"
)
#: Words of a message, the error it becomes, what is said before the file's name, and what to do.
_MEANINGS: tuple[tuple[str, type[PipelineError], str, str], ...] = (
    ("Could not set lock", FolderInUseError, "another process has opened", "close it there, then run again"),
    ("No space left", DiskFullError, "no space left while writing", _FREE_SPACE),
    ("quota exceeded", DiskFullError, "no space left while writing", _FREE_SPACE),
    ("File too large", DiskFullError, "no space left while writing", _FREE_SPACE),
    ("Permission denied", RefusedError, "not allowed to open", "run as the owner of the data folder"),
    ("Read-only file system", RefusedError, "not allowed to write", "name another data folder with --data"),
    ("Corrupt", DamagedError, "damaged:", _REBUILT),
    ("not a valid DuckDB", DamagedError, "not a DuckDB file:", _REBUILT),
    ("Could not read enough bytes", DamagedError, "cut short:", _REBUILT),
    ("WAL does not match", DamagedError, "damaged log of", _REBUILT),
    ("could not allocate block", TryAgainError, "too little memory for the longest texts of", _LONG_TEXTS),
    ("failed to allocate data", TryAgainError, "too little memory for the longest texts of", _LONG_TEXTS),
    ("failed to pin block", TryAgainError, "too little memory for the longest texts of", _LONG_TEXTS),
)


def meaning(message: str, path: Path | str) -> PipelineError | None:
    """Return the error that ``message`` stands for, where it is one of the known ones."""
    for words, kind, sentence, hint in _MEANINGS:
        if words in message:
            return kind(f"{sentence} {path}", hint=hint)
    return None
