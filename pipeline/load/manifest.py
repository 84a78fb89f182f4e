"""The Parquet dataset's manifest: which files are whole, and up to which segment they hold everything.

It is written after the files that it speaks of. It is believed only while the files are as it says.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import pyarrow.parquet as pq

from pipeline import files, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "manifest.json"
FORMAT = 1
DATA = "data.parquet"


class File(msgspec.Struct, frozen=True):
    """One data file, as it was written."""

    sha256: str
    rows: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """What the dataset holds."""

    format: int = FORMAT
    schema: str = msgspec.field(default_factory=schema.digest)
    bookmarks: dict[str, int] = {}
    """Last segment by source."""
    unfinished: frozenset[str] = frozenset()
    """Folders (``source=…/created_date=…``) that a load is writing: after a crash the next one rewrites them too."""
    files: dict[str, File] = {}
    """By path relative to the root."""


def read(root: Path, layout: str | None = None) -> Manifest:
    """Return the manifest if the dataset is as it says, and of this layout, else one that holds nothing."""
    manifest = told(root)
    current = manifest and (manifest.format, manifest.schema) == (FORMAT, layout or schema.digest())
    return manifest if manifest and current and _describes(manifest, root) else Manifest()


def told(root: Path) -> Manifest | None:
    """Return what the manifest says, true or not; None where there is none that can be read."""
    try:
        return msgspec.json.decode((root / NAME).read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def is_of_another_layout(root: Path, layout: str) -> bool:
    """Tell whether a dataset lies there that another version, or another setting, has made."""
    manifest = told(root)
    return manifest is not None and (manifest.format, manifest.schema) != (FORMAT, layout)


def write(manifest: Manifest, root: Path, *, scratch: Path, mode: int) -> None:
    """Replace the manifest."""
    text = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
    files.write_whole(root / NAME, text + b"\n", scratch=scratch, mode=mode)


def describe(path: Path) -> File:
    """Say what a data file is by what lies there."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return File(sha256=sha256, rows=pq.read_metadata(path).num_rows, bytes=path.stat().st_size)


def data_files(root: Path) -> Iterator[Path]:
    """List the data files that lie there; nothing else under the root is ours."""
    return root.glob(f"*/source=*/created_date=*/{DATA}")


def _describes(manifest: Manifest, root: Path) -> bool:
    """Compare names and sizes, apart from unfinished folders: a lost, added or cut file cannot go unnoticed."""
    there = {str(path.relative_to(root)): path.stat().st_size for path in data_files(root)}
    told = {path: file.bytes for path, file in manifest.files.items()}
    finished = {path for path in there.keys() | told.keys() if _folder(path) not in manifest.unfinished}
    return all(there.get(path) == told.get(path) for path in finished)


def _folder(path: str) -> str:
    """Return the ``source=…/created_date=…`` part of a data file's relative path."""
    return path.split("/", 1)[1].rsplit("/", 1)[0]
