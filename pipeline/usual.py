"""What a run would usually find: a run that finds far less says so, before somebody misses the rows; pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Runs looked back on; more would keep a level that is long gone.
RUNS = 10
#: Fewer rates than this are no habit, and fewer completions than this are chance.
LEAST_RATES, LEAST_EXPECTED = 3, 20
#: A run below this share of the usual number is worth the operator's eye.
SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Past:
    """What a former run left on record."""

    data_through: int | None
    """Microseconds since 1970, by the server's clock."""
    new: int
    horizon: int | None = None
    """Seconds back that the source still listed."""
    longest_horizon: int | None = None
    """The greatest of all runs up to this one."""
    is_end: bool = True
    """Whether the run had come to its end; else another record of it follows, unless it was killed."""


def expected(history: Sequence[Past], through: int) -> float | None:
    """Return how many new completions are usual up to ``through`` (microseconds); None where there is no habit yet.

    ``history`` is newest first. The usual rate is the median of completions per time between two runs, so that
    neither the first export nor a run started twice within a minute counts as a habit.
    """
    ends = [(past.data_through, past.new) for past in history if past.data_through is not None]
    rates = [new / (end - before) for (end, new), (before, _) in pairwise(ends) if end > before]
    if len(rates) < LEAST_RATES:
        return None
    return median(rates) * max(0, through - ends[0][0])


def is_unusual(new: int, usual: float | None) -> bool:
    """Tell whether a run found far less than usual."""
    return usual is not None and usual >= LEAST_EXPECTED and new < SHARE * usual
