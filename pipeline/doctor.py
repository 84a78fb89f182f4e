"""The examination before the first night: asks the server and looks at the data folder, and changes nothing.

Each check says what it found; a problem comes with its one-line remedy. What cannot be told is "unknown", with why.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline import assemble
from pipeline.errors import ConfigError, PipelineError
from pipeline.extract.walk import WIDER, Refusal, Request
from pipeline.folder import DataFolder
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.config import Config, Source
    from pipeline.extract.client import Client
    from pipeline.handoff import Page, Row

OK, PROBLEM, UNKNOWN = "ok", "problem", "unknown"
#: A doctor does not wait for minutes.
_ATTEMPTS, _SECONDS = 2, 20.0
#: A clock further off than this shifts what counts as late.
_SKEW_SECONDS = 30
#: Pages looked through for two completions of one second, to tell how the server continues.
_PAGES = 5
_NOBODY = "no-such-model-of-anybody"
_LITTLE_SPACE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    where: str
    """The source, or what of this machine."""
    check: str
    state: str
    """ok, problem or unknown."""
    found: str
    remedy: str = ""
    exit_code: int = 0


def examine(config: Config) -> Iterator[Check]:
    """Look at every source, at the data folder and at the libraries; yields each check as it is done."""
    for source in config.sources:
        yield from _source(source)
    yield from _folder(DataFolder(config.data))
    yield _duckdb()


# -- the server ----------------------------------------------------------------------------------------------------


def _source(source: Source) -> Iterator[Check]:
    """Ask a source; where it does not let us in, one check says so and the others are left out."""
    quick = replace(source, retry_attempts=_ATTEMPTS, retry_time=_SECONDS)
    try:
        with assemble.client(quick, None, Stop()) as client:
            page = _first(client)
            yield Check(source.name, "key and list", OK, f"the server lists completions ({len(page.rows)} on a page)")
            yield _account(source, client)
            yield _clock(source, page)
            yield _default_order(source, client)
            yield _after(source, client, page)
            yield _largest_limit(source, client)
        yield _filters(quick, page)
    except PipelineError as error:
        yield Check(source.name, "key and list", PROBLEM, error.message, error.hint, error.exit_code)


def _first(client: Client) -> Page:
    answer = client.list(Request(None, 20))
    if isinstance(answer, Refusal):
        raise ConfigError(f"the server refuses the list: {answer.status} {answer.message}", hint="check the filters")
    return answer


def _account(source: Source, client: Client) -> Check:
    told = client.account
    if told.organization is None and told.project is None:
        return Check(source.name, "account", UNKNOWN, "the server names neither organization nor project")
    return Check(source.name, "account", OK, f"organization {told.organization}, project {told.project}")


def _clock(source: Source, page: Page) -> Check:
    skew = round(page.server_time - time.time())
    if abs(skew) <= _SKEW_SECONDS:
        return Check(source.name, "clock", OK, f"within {_SKEW_SECONDS} s of the server's")
    return Check(
        source.name,
        "clock",
        PROBLEM,
        f"{abs(skew)} s {'behind' if skew > 0 else 'ahead of'} the server's",
        "set the clock (NTP)",
    )


def _default_order(source: Source, client: Client) -> Check:
    answer = client.list(Request(None, 20, order=None))
    seconds = _seconds(answer)
    if isinstance(answer, Refusal) or len(set(seconds)) < 2:  # noqa: PLR2004 - two differ, one does not
        return Check(source.name, "default order", UNKNOWN, "fewer than two seconds are listed")
    order = "newest first" if seconds[0] > seconds[-1] else "oldest first"
    return Check(source.name, "default order", OK, f"{order}; every request names its order anyway")


def _after(source: Source, client: Client, page: Page) -> Check:
    """Ask behind the first of two rows of one second: an exact server shows the second, the real service does not."""
    for _ in range(_PAGES):
        for first, second in zip(page.rows, page.rows[1:], strict=False):
            if first.created is not None and first.created == second.created:
                return _after_pair(source, client.list(Request(first.id, 20)), first)
        answer = client.list(Request(page.rows[-1].id, 100)) if page.rows else page
        if isinstance(answer, Refusal) or not answer.rows:
            break
        page = answer
    return Check(source.name, "after", UNKNOWN, "no two completions of one second were found to try it on")


def _after_pair(source: Source, answer: Page | Refusal, first: Row) -> Check:
    if isinstance(answer, Refusal):
        return Check(source.name, "after", UNKNOWN, f"the server answered {answer.status}")
    is_exact = any(row.created == first.created and row.id != first.id for row in answer.rows)
    if is_exact:
        return Check(source.name, "after", OK, "continues exactly behind a row")
    return Check(
        source.name, "after", OK, "skips the rest of a row's second, as the recorded service; the walk allows for it"
    )


def _largest_limit(source: Source, client: Client) -> Check:
    for limit in (*WIDER, 1):
        if isinstance(client.list(Request(None, limit)), Refusal):
            continue
        if limit >= source.limit:
            return Check(source.name, "largest limit", OK, f"{limit} of those tried ({', '.join(map(str, WIDER))})")
        return Check(
            source.name, "largest limit", PROBLEM, f"{limit}, and limit is {source.limit}", f"set limit = {limit}", 78
        )
    return Check(source.name, "largest limit", UNKNOWN, "no limit was taken")


def _filters(source: Source, page: Page) -> Check:
    """Ask for a model and for metadata that nobody has: a server that shows rows all the same ignores filters."""
    if not page.rows:
        return Check(source.name, "filters", UNKNOWN, "nothing is listed to filter")
    nobody = {
        "model": replace(source, model=_NOBODY, metadata={}),
        "metadata": replace(source, model=None, metadata={_NOBODY: _NOBODY}),
    }
    ignored = [name for name, asking in nobody.items() if _ignores(asking)]
    if not ignored:
        return Check(source.name, "filters", OK, "model and metadata are honoured")
    is_used = (source.model and "model" in ignored) or (source.metadata and "metadata" in ignored)
    found = f"ignored: {' and '.join(ignored)}"
    if is_used:
        return Check(source.name, "filters", PROBLEM, found, "remove them from this source", 78)
    return Check(source.name, "filters", OK, f"{found}; this source uses none of them")


def _ignores(source: Source) -> bool:
    """Tell whether rows come that do not pass the filter, which the client refuses."""
    try:
        with assemble.client(source, None, Stop()) as client:
            client.list(Request(None, 20))
    except ConfigError:
        return True
    return False


def _seconds(answer: Page | Refusal) -> list[int]:
    rows = () if isinstance(answer, Refusal) else answer.rows
    return [row.created for row in rows if row.created is not None]


# -- this machine --------------------------------------------------------------------------------------------------


def _folder(folder: DataFolder) -> Iterator[Check]:
    try:
        exists = folder.exists
    except PipelineError as error:
        yield Check("machine", "data folder", PROBLEM, error.message, error.hint, error.exit_code)
        return
    nearest = next(path for path in (folder.root, *folder.root.absolute().parents) if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        yield Check("machine", "data folder", OK, f"{folder.root} {'is one' if exists else 'can be made'}")
    else:
        yield Check("machine", "data folder", PROBLEM, f"not allowed to write in {nearest}", "run as its owner", 77)
    yield _disk(nearest)


def _disk(path: Path) -> Check:
    free = shutil.disk_usage(path).free
    found = f"{free / 1e9:,.1f} GB free"
    if free > _LITTLE_SPACE:
        return Check("machine", "disk", OK, found)
    return Check("machine", "disk", PROBLEM, found, "free some space: a run stops before the disk is full", 75)


def _duckdb() -> Check:
    version = importlib.metadata.version("duckdb")
    return Check("machine", "duckdb", OK, f"{version} writes files that DuckDB 1.4, 1.5 and 2 open")
