"""What the first export of a source is about to do: both ends of its list are asked, and nothing is written.

The API tells no total, so the number of completions is estimated from how densely they lie at the two ends.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.errors import DiskFullError, PipelineError
from pipeline.extract.walk import NARROWER, Refusal, Request

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.extract.client import Client
    from pipeline.handoff import Account, Page

#: Disk for each byte received: measured 1.4 for archive, Parquet and the two DuckDB files on bodies of 2 kB; DuckDB
#: compresses small bodies worse.
DISK_PER_BYTE = 2.0


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a list, as they were shown."""

    account: Account
    pages: tuple[Page, ...]
    """The oldest page first; one, or none, where the server does not answer this way."""
    limit: int
    seconds: float
    """For one request, on average."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What the first export of a source is expected to take."""

    source: str
    oldest: int
    newest: int
    completions: int
    is_counted: bool
    """Whether the whole list fitted a page; an estimate otherwise."""
    requests: int
    seconds: float
    bytes: int
    """Of bodies."""
    disk: int
    free: int
    basis: str

    def __str__(self) -> str:
        about = "" if self.is_counted else "about "
        span = " to ".join(
            datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d") for second in (self.oldest, self.newest)
        )
        return (
            f"{self.source}: first export, {about}{self.completions:,} completions from {span}: about "
            f"{self.requests:,} requests, {self.seconds:,.0f} s, {self.disk / 1e6:,.1f} MB of disk "
            f"({self.free / 1e9:,.1f} GB free); {self.basis}"
        )

    def insist_on_space(self, folder: Path) -> None:
        """Raise DiskFullError where the disk would be full before the export is done."""
        if self.disk > self.free:
            raise DiskFullError(
                f"source {self.source}: its first export needs about {self.disk / 1e9:,.1f} GB of disk at {folder}, "
                f"and {self.free / 1e9:,.1f} GB are free ({self.basis})",
                hint="free some space, or name a data folder on a larger disk with --data",
            )


def look(client: Client, limit: int) -> Ends:
    """Ask for the oldest and the newest page."""
    began = time.monotonic()
    pages = [_page(client, limit, "asc")]
    with contextlib.suppress(PipelineError):  # what was shown is kept; the walk will meet the failure and tell of it
        pages.append(_page(client, limit, "desc"))
    shown = tuple(page for page in pages if page is not None)
    return Ends(client.account, shown, limit, (time.monotonic() - began) / len(pages))


def _page(client: Client, limit: int, order: str) -> Page | None:
    """Ask for one end; with smaller limits where the server refuses, and None where it takes none of them."""
    for size in (limit, *(narrower for narrower in NARROWER if narrower < limit)):
        answer = client.list(Request(None, size, order))
        if not isinstance(answer, Refusal):
            return answer
    return None


def estimate(source: str, ends: Ends, folder: Path) -> Preview | None:
    """Work out what the whole list will take; None where there is nothing, or nothing to go by."""
    rows = {row.id: row for page in ends.pages for row in page.rows}
    seconds = [row.created for row in rows.values() if row.created is not None]
    if not seconds:
        return None
    is_counted = not any(page.has_more for page in ends.pages)
    completions = len(rows) if is_counted else max(len(rows), _by_density(ends.pages, max(seconds) - min(seconds)))
    size = sum(len(row.body) for row in rows.values()) / len(rows)
    requests = math.ceil(completions / max(1, ends.limit - 1))
    return Preview(
        source=source,
        oldest=min(seconds),
        newest=max(seconds),
        completions=completions,
        is_counted=is_counted,
        requests=requests,
        seconds=requests * ends.seconds,
        bytes=int(completions * size),
        disk=int(completions * size * DISK_PER_BYTE),
        free=shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free,
        basis=f"judged by {len(rows)} completions at the two ends of the list, {size:,.0f} bytes each",
    )


def _by_density(pages: tuple[Page, ...], span: int) -> int:
    """Spread the density of the shown pages over the whole span."""
    count, covered = 0, 0
    for page in pages:
        seconds = [row.created for row in page.rows if row.created is not None]
        count += len(seconds)
        covered += max(seconds, default=0) - min(seconds, default=0) + 1
    return round(span * count / max(1, covered))
