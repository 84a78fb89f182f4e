"""Splits one answer of the Usage or Costs API into days as received; pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import msgspec

from pipeline.extract.page import BadPageError

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Days:
    """One page of days."""

    bodies: tuple[tuple[dt.date, bytes], ...]
    """Each UTC day and its JSON text, byte for byte, in the order sent."""
    next_page: str | None
    """What to ask with for the page behind it; None is the end."""
    claims_more: bool
    """Whether the server says that more follows, also where it does not say how to ask for it."""


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool
    next_page: str | None = None


class _Head(msgspec.Struct):
    start_time: int
    end_time: int
    results: list[msgspec.Raw]


_envelope = msgspec.json.Decoder(_Envelope)
_head = msgspec.json.Decoder(_Head)


def decode_days(body: bytes) -> Days:
    """Split a page into days; raises BadPageError for what is not one, or whose buckets are not UTC days."""
    try:
        page = _envelope.decode(body)
        bodies = tuple((_day(_head.decode(raw)), bytes(raw)) for raw in page.data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadPageError(f"the body is not a page of days: {error}") from error
    return Days(bodies, (page.next_page or None) if page.has_more else None, page.has_more)


def _day(head: _Head) -> dt.date:
    """Return the day of a bucket; the last one may end early, where it is not over."""
    if head.start_time % _DAY or not 0 < head.end_time - head.start_time <= _DAY:
        raise BadPageError("the body holds a bucket that is no UTC day")
    try:
        return dt.datetime.fromtimestamp(head.start_time, dt.UTC).date()
    except (ValueError, OverflowError, OSError) as error:
        raise BadPageError("the body holds a bucket that is no UTC day") from error
