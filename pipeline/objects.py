"""Places for objects outside the data folder: an object store or a folder; each object is put whole or not at all.

    Place
    ├── Folder      a path: another disk, or one behind a network
    └── Bucket      a URL of an object store, s3://bucket/prefix and the like; the one door of obstore

Names have slashes. An object is never changed, and of two that put the same new name at once one is told no: that is
all that a place must be able to do.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from pipeline import files
from pipeline.errors import ConfigError, RefusedError, ServerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Temp files older than this were left by somebody who was killed.
_LEFT = 24 * 3600
_TEMP = ".temp"


class Place(Protocol):
    """Where objects are; every method raises PipelineError where the place does not answer or does not let us."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of the objects under ``prefix``, a name that ends with a slash, sorted."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return an object; None where there is none."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Keep an object, durably; where one of that name is there it is replaced."""
        ...

    def put_new(self, name: str, content: bytes) -> bool:
        """Keep an object, durably, if there is none of that name; say so. Of several at once one is told yes."""
        ...

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        ...

    def url(self, name: str) -> str:
        """Name an object for others."""
        ...


def place(url: str) -> Place:
    """Open what a URL or a path names; raises UsageError for a URL with a key in it, ConfigError for an unknown one."""
    parts = urlsplit(url)
    if len(parts.scheme) > 1 and parts.scheme != "file":
        if parts.username or parts.password or parts.query:
            raise UsageError(
                f"{parts.scheme}://… names more than a place",
                hint="leave user, password and query out: keys come from the environment, such as AWS_ACCESS_KEY_ID",
            )
        return Bucket(url)
    path = Path(parts.path if parts.scheme else url)
    if not path.name:
        raise UsageError("no place is named", hint="name a folder, or a URL such as s3://bucket/prefix")
    return Folder(path)


class Folder:
    """A folder, private, made with the first object."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def names(self, prefix: str) -> list[str]:
        """Return the names under a prefix."""
        with files.explained(self._root):
            there = (path for path in (self._root / prefix).rglob("*") if path.is_file())
            return sorted(path.relative_to(self._root).as_posix() for path in there)

    def read(self, name: str) -> bytes | None:
        """Return an object; None where there is none."""
        with files.explained(self._root):
            try:
                return (self._root / name).read_bytes()
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole, as in the data folder."""
        path = self._root / name
        with files.explained(path):
            files.make_folder(path.parent)
            files.write_whole(path, content, scratch=self._root / _TEMP)

    def put_new(self, name: str, content: bytes) -> bool:
        """Write a file and give it a name that nobody has."""
        path, scratch = self._root / name, self._root / _TEMP
        with files.explained(path):
            files.make_folder(path.parent)
            self._clear(files.make_folder(scratch))
            new = scratch / f"{path.name}.{uuid.uuid4().hex}.tmp"
            try:
                files.write_whole(new, content, scratch=scratch)
                os.link(new, path)  # unlike a rename, this never takes the place of what is there
                files.sync_folder(path.parent)
            except FileExistsError:
                return False
            finally:
                new.unlink(missing_ok=True)
        return True

    @staticmethod
    def _clear(scratch: Path) -> None:
        for left in scratch.glob("*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFT:
                    left.unlink()

    def remove(self, name: str) -> None:
        """Remove a file."""
        with files.explained(self._root):
            (self._root / name).unlink(missing_ok=True)

    def url(self, name: str) -> str:
        """Name the file."""
        return str((self._root / name).resolve())


class Bucket:
    """A prefix in an object store; its address and keys come from the environment that its own tools read too."""

    def __init__(self, url: str) -> None:
        try:
            import obstore  # noqa: PLC0415 - an extra
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                f"{url} needs a package that is not installed",
                hint="in the checkout: pip install '.[remote]'; a folder needs nothing more",
            ) from error
        self._url = url.rstrip("/")
        self._store = obstore
        with self._explained():
            self._at = from_url(self._url)

    def __str__(self) -> str:
        return self._url

    def names(self, prefix: str) -> list[str]:
        """Return the names under a prefix."""
        with self._explained():
            return sorted(one["path"] for page in self._store.list(self._at, prefix) for one in page)

    def read(self, name: str) -> bytes | None:
        """Return an object; None where there is none."""
        with self._explained():
            try:
                return bytes(self._store.get(self._at, name).bytes())
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> None:
        """Put an object in one request: whoever is killed leaves no half of it, nor parts that nobody lists."""
        with self._explained():
            self._store.put(self._at, name, content, use_multipart=False)

    def put_new(self, name: str, content: bytes) -> bool:
        """Put an object on condition that there is none (If-None-Match)."""
        with self._explained():
            try:
                self._store.put(self._at, name, content, mode="create", use_multipart=False)
            except (self._store.exceptions.AlreadyExistsError, self._store.exceptions.PreconditionError):
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._explained(), contextlib.suppress(FileNotFoundError):
            self._store.delete(self._at, name)

    def url(self, name: str) -> str:
        """Name the object."""
        return f"{self._url}/{name}"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Translate what the store says into an error that says what to do; without what may carry a signature."""
        told = self._store.exceptions
        try:
            yield
        except (told.PermissionDeniedError, told.UnauthenticatedError) as error:
            raise RefusedError(
                f"{self._url} refuses: {_first_line(error)}",
                hint="look at the keys in the environment, and their rights",
            ) from None
        except FileNotFoundError as error:
            raise ConfigError(f"{self._url} is not there: {_first_line(error)}", hint="make the bucket first") from None
        except (told.NotSupportedError, told.InvalidPathError, told.UnknownConfigurationKeyError) as error:
            raise ConfigError(f"{self._url} cannot be used: {_first_line(error)}", hint="name another place") from None
        except told.GenericError as error:
            text = _first_line(error)
            if "404 Not Found" in text:
                raise ConfigError(f"{self._url} is not there: {text}", hint="make the bucket first") from None
            if "URL" in text:
                raise ConfigError(f"{self._url} names no object store: {text}", hint="s3://bucket/prefix") from None
            raise ServerError(
                f"{self._url} does not answer: {text}", hint="is its address right (AWS_ENDPOINT_URL)? Then try again"
            ) from None


def _first_line(error: Exception) -> str:
    """Say what went wrong without the rest, and without the query of a URL, where signatures are."""
    return re.sub(r"\?\S+", "", str(error).partition("\n")[0])
