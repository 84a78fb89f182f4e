"""What the spans that were read add up to; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.handoff import Span


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


def _inside(second: int, span: Span) -> bool:
    return (span.start is None or span.start < second) and second <= span.end
