"""What the spans that were read add up to; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.handoff import Span, Sweep


def position(spans: Iterable[Span]) -> int | None:
    """Return the end of the contiguous coverage from the beginning of the list; None where there is none.

    Spans found elsewhere (from the other end, in a sweep) do not move it until the gap before them is read.
    """
    end: int | None = None
    for span in sorted(spans, key=lambda span: (span.start is not None, span.start or 0)):
        if span.start is None:
            end = max(end, span.end) if end is not None else span.end
        elif end is not None and span.start <= end:
            end = max(end, span.end)
    return end


def doubtful(spans: Iterable[Span]) -> list[int]:
    """Return the seconds that no later reading has shown complete, of ``spans`` in the order they were read."""
    seconds: set[int] = set()
    for span in spans:
        seconds = {second for second in seconds if not _inside(second, span)} | set(span.possibly_incomplete)
    return sorted(seconds)


def latest_sweep(spans: Iterable[Span]) -> tuple[Sweep | None, list[Span]]:
    """Return the sweep with the highest number and what it has read so far, in the order it was read."""
    read = [span for span in spans if span.sweep]
    newest = max((span.sweep for span in read if span.sweep), key=lambda sweep: sweep.number, default=None)
    return newest, [span for span in read if span.sweep == newest]


def is_swept(sweep: Sweep, spans: Iterable[Span]) -> bool:
    """Tell whether a sweep has read everything up to its goal."""
    end = position(spans)
    return end is not None and end >= sweep.goal


def unread(spans: Iterable[Span], goal: int) -> Iterator[tuple[int | None, int]]:
    """Yield what lies between the beginning and ``goal`` and is not in ``spans``, oldest first: (start, end]."""
    end: int | None = None
    for span in sorted(spans, key=lambda span: (span.start is not None, span.start or 0)):
        if span.start is not None and (end is None or span.start > end):
            yield end, span.start
        end = span.end if end is None else max(end, span.end)
    if end is None or end < goal:
        yield end, goal


def last_read(spans: Iterable[Span], second: int, *, before: Sweep | None = None) -> int | None:
    """Return the server time at which a second was last read, but for the sweep ``before`` which this is asked."""
    read = (span.asked_at for span in spans if _inside(second, span) and (before is None or span.sweep != before))
    return max(read, default=None)


def _inside(second: int, span: Span) -> bool:
    return (span.start is None or span.start < second) and second <= span.end
