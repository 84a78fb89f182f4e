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
from pipeline.errors import CheckFailedError, ConfigError, PipelineError, ServerError
from pipeline.extract.walk import WIDER, Refusal, Request
from pipeline.folder import DataFolder
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.config import Config, Source
    from pipeline.extract.client import Client
    from pipeline.handoff import Page, Row

    Look = Callable[[Source, Client, Page], "Check"]

OK, PROBLEM, UNKNOWN = "ok", "problem", "unknown"
_UNREACHED = "check base_url, the network and the proxy, or ask again later"
#: A doctor does not wait for minutes.
_ATTEMPTS, _SECONDS = 2, 20.0
#: A clock further off than this shifts what counts as late.
_SKEW_SECONDS = 30
#: Pages looked through for two completions of one second, to tell how the server continues.
_PAGES = 5
#: Rows that a look at the list needs.
_ROWS = 20
_HONOURED = "honoured"
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
    if config.delta:
        yield _delta(config)


# -- the server ----------------------------------------------------------------------------------------------------


def _source(source: Source) -> Iterator[Check]:
    """Ask a source; where it does not let us in, one check says so and the others are left out."""
    attempts, seconds = min(_ATTEMPTS, source.retry_attempts), min(_SECONDS, source.retry_time)
    quick = replace(source, retry_attempts=attempts, retry_time=seconds)
    try:
        with assemble.client(quick, None, Stop()) as client:
            page = _first(quick, client)
            yield Check(source.name, "key and list", OK, f"the server lists completions ({len(page.rows)} on a page)")
            for name, look in _LOOKS.items():
                yield _looked(name, look, quick, client, page)
    except PipelineError as error:
        yield _failed(source.name, "key and list", error)


def _looked(name: str, look: Look, source: Source, client: Client, page: Page) -> Check:
    """Look at one thing; that it could not be looked at is told under its name and hides no other."""
    try:
        return look(source, client, page)
    except PipelineError as error:
        return _failed(source.name, name, error)


def _failed(where: str, check: str, error: PipelineError) -> Check:
    remedy = _UNREACHED if isinstance(error, ServerError) else error.hint
    return Check(where, check, PROBLEM, error.message, remedy, error.exit_code)


def _first(source: Source, client: Client) -> Page:
    answer = client.list(Request(None, min(_ROWS, source.limit)))
    if isinstance(answer, Refusal):
        raise ConfigError(
            f"the server refuses the list: {answer.status} {answer.message}", hint="check limit and filters"
        )
    return answer


def _account(source: Source, client: Client, _: Page) -> Check:
    told = client.account
    if told.organization is None and told.project is None:
        return Check(source.name, "account", UNKNOWN, "the server names neither organization nor project")
    return Check(source.name, "account", OK, f"organization {told.organization}, project {told.project}")


def _clock(source: Source, _: Client, page: Page) -> Check:
    skew = round(page.server_time - time.time())
    if abs(skew) <= _SKEW_SECONDS:
        return Check(source.name, "clock", OK, f"within {_SKEW_SECONDS} s of the server's")
    return Check(
        source.name,
        "clock",
        PROBLEM,
        f"{abs(skew)} s {'behind' if skew > 0 else 'ahead of'} the server's",
        "set the clock (NTP)",
        CheckFailedError.exit_code,
    )


def _default_order(source: Source, client: Client, _: Page) -> Check:
    answer = client.list(Request(None, min(_ROWS, source.limit), order=None))
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
                return _after_pair(source, client.list(Request(first.id, source.limit)), first)
        answer = client.list(Request(page.rows[-1].id, source.limit)) if page.rows else page
        if isinstance(answer, Refusal) or not answer.rows:
            break
        page = answer
    return Check(source.name, "after", UNKNOWN, "no two completions of one second were found to try it on")


def _after_pair(source: Source, answer: Page | Refusal, first: Row) -> Check:
    if isinstance(answer, Refusal):
        return Check(source.name, "after", UNKNOWN, f"the server answered {answer.status}")
    if any(row.id == first.id for row in answer.rows):
        return Check(
            source.name, "after", UNKNOWN, "the server shows the very row again that it was to continue behind"
        )
    if any(row.created == first.created for row in answer.rows):
        return Check(source.name, "after", OK, "continues exactly behind a row")
    return Check(
        source.name, "after", OK, "skips the rest of a row's second, as the recorded service; the walk allows for it"
    )


def _largest_limit(source: Source, client: Client, _: Page) -> Check:
    tried = sorted({*WIDER, source.limit, 1}, reverse=True)
    for limit in tried:
        if isinstance(client.list(Request(None, limit)), Refusal):
            continue
        if limit >= source.limit:
            return Check(source.name, "largest limit", OK, f"{limit} of those tried ({', '.join(map(str, tried))})")
        return Check(
            source.name, "largest limit", PROBLEM, f"{limit}, and limit is {source.limit}", f"set limit = {limit}", 78
        )
    return Check(source.name, "largest limit", UNKNOWN, "no limit was taken")


def _filters(source: Source, client: Client, page: Page) -> Check:
    """Ask for a model and for metadata that nobody has: a server that shows rows all the same ignores filters."""
    if not page.rows:
        return Check(source.name, "filters", UNKNOWN, "nothing is listed to filter")
    told = {
        "model": _told(replace(source, model=_NOBODY, metadata={}), client),
        "metadata": _told(replace(source, model=None, metadata={_NOBODY: _NOBODY}), client),
    }
    found = ", ".join(f"{name} {what}" for name, what in told.items())
    used = {"model": source.model, "metadata": source.metadata}
    if any(used[name] and told[name] != _HONOURED for name in told):
        return Check(source.name, "filters", PROBLEM, found, "remove what is not honoured from this source", 78)
    return Check(source.name, "filters", OK, found)


def _told(filtering: Source, client: Client) -> str:
    """Say what the server does with filters; the client refuses rows that do not pass them."""
    try:
        with assemble.client(filtering, None, Stop()) as asking:
            answer = asking.list(Request(None, min(_ROWS, filtering.limit)))
    except ConfigError:
        _first(filtering, client)  # raises where it was not the filter's fault
        return "ignored"
    return f"refused ({answer.status})" if isinstance(answer, Refusal) else _HONOURED


def _seconds(answer: Page | Refusal) -> list[int]:
    rows = () if isinstance(answer, Refusal) else answer.rows
    return [row.created for row in rows if row.created is not None]


_LOOKS: dict[str, Look] = {
    "account": _account,
    "clock": _clock,
    "default order": _default_order,
    "after": _after,
    "largest limit": _largest_limit,
    "filters": _filters,
}


# -- this machine --------------------------------------------------------------------------------------------------


def _folder(folder: DataFolder) -> Iterator[Check]:
    try:
        exists = folder.exists
    except PipelineError as error:
        yield _failed("machine", "data folder", error)
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


def _delta(config: Config) -> Check:
    """Look at the Delta tables, or at the place where they are to be."""
    try:
        opened = assemble.delta(config, DataFolder(config.data))
        held = opened.bookmarks()
    except PipelineError as error:
        return Check("machine", "delta", PROBLEM, error.message, error.hint, error.exit_code)
    version = importlib.metadata.version("deltalake")
    return Check("machine", "delta", OK, f"deltalake {version} reads {opened.place.root}: {len(held)} source(s) held")
