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
import stat
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote

from pipeline import files
from pipeline.errors import ConfigError, FolderError, RefusedError, ServerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Temp files older than this were left by somebody who was killed.
_LEFT = 24 * 3600
_TEMP = ".temp"
#: A URL that holds nothing of a key, and is of a store that lasts.
_URL = re.compile(r"(?!memory:)[a-z][a-z0-9+.-]*://[^\s?#@/:]+(?::\d+)?(?:/[^?#@]*)?")


class Found(NamedTuple):
    """What a place says of an object."""

    size: int
    """Bytes."""
    age: float
    """Seconds since it was put there."""


class Place(Protocol):
    """Where objects are; every method raises PipelineError where the place does not answer or does not let us."""

    def there(self, prefix: str) -> dict[str, Found]:
        """Return the objects under ``prefix``, a name that ends with a slash, by name, sorted."""
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
    scheme, is_url, rest = url.partition("://")
    if is_url and scheme != "file":
        # A key may hold a slash, and then looks like a path.
        if not _URL.fullmatch(url):
            raise UsageError(
                f"{scheme[:8]}://… names more than a place",
                hint="leave user, password and query out: keys come from the environment, such as AWS_ACCESS_KEY_ID",
            )
        return Bucket(url)
    if is_url and rest and not rest.startswith("/"):
        raise UsageError("a file: URL names another machine", hint="three slashes name a folder here: file:///mnt/copy")
    path = Path(unquote(rest) if is_url else url)
    if not path.name:
        raise UsageError("no place is named", hint="name a folder, or a URL such as s3://bucket/prefix")
    return Folder(path)


class Folder:
    """A folder, private, made with the first object."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def there(self, prefix: str) -> dict[str, Found]:
        """Return the files under a prefix."""
        found = {}
        with files.explained(self.root):
            for path in sorted((self.root / prefix).rglob("*")):
                with contextlib.suppress(FileNotFoundError):  # somebody removed it meanwhile
                    told = path.stat()
                    if stat.S_ISREG(told.st_mode):
                        name = path.relative_to(self.root).as_posix()
                        found[name] = Found(told.st_size, time.time() - told.st_mtime)
        return found

    def read(self, name: str) -> bytes | None:
        """Return an object; None where there is none."""
        with files.explained(self.root):
            try:
                return (self.root / name).read_bytes()
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> None:
        """Write a file whole, as in the data folder."""
        path = self.root / name
        with self._written(path, content) as new:
            new.replace(path)

    def put_new(self, name: str, content: bytes) -> bool:
        """Write a file and give it a name that nobody has."""
        path = self.root / name
        with self._written(path, content) as new:
            try:
                os.link(new, path)  # unlike a rename, this never takes the place of what is there
            except FileExistsError:
                return False
        return True

    @contextlib.contextmanager
    def _written(self, path: Path, content: bytes) -> Iterator[Path]:
        """Write a temp file that is nobody else's, on whatever machine; what the block names it is durable after it."""
        scratch = self.root / _TEMP
        if not self.root.parent.is_dir():
            raise FolderError(f"there is no folder {self.root.parent}", hint="mount it, or make it first")
        with files.explained(path):
            files.make_folder(path.parent)
            self._clear(files.make_folder(scratch))
            new = scratch / f"{uuid.uuid4().hex}.tmp"
            try:
                files.write_whole(new, content, scratch=scratch)
                yield new
                files.sync_folder(path.parent)
            finally:
                new.unlink(missing_ok=True)

    @staticmethod
    def _clear(scratch: Path) -> None:
        for left in scratch.glob("*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFT:
                    left.unlink()

    def remove(self, name: str) -> None:
        """Remove a file."""
        path = self.root / name
        with files.explained(path), contextlib.suppress(FileNotFoundError):
            path.unlink()
            files.sync_folder(path.parent)

    def url(self, name: str) -> str:
        """Name the file."""
        return str((self.root / name).resolve())


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

    def there(self, prefix: str) -> dict[str, Found]:
        """Return the objects under a prefix."""
        now = datetime.now(UTC)
        with self._explained():
            every = (one for page in self._store.list(self._at, prefix) for one in page)
            found = {one["path"]: Found(one["size"], (now - one["last_modified"]).total_seconds()) for one in every}
        return dict(sorted(found.items()))

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
