"""How far back a source still lists, and what that means for what has not been seen yet; pure.

Seconds are those of the server's clock. The horizon is learned from the oldest completion listed: where older ones are
held, it is where the list ends; where none are, the source may list further back than anything it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.usual import Past

#: The interval assumed until two runs have shown one: the README asks for a run a day.
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Horizon:
    """What one look at the oldest completion listed tells."""

    asked_at: int
    oldest: int | None
    """``created`` of the oldest completion listed; None where nothing is listed."""
    is_known: bool
    """Whether something older is held: the list ends there because older ones went."""
    longest: int | None = None
    """The greatest age at which any former run still saw something listed, in seconds."""

    @property
    def age(self) -> int | None:
        """Seconds back that the source still lists."""
        return None if self.oldest is None else max(0, self.asked_at - self.oldest)

    @property
    def reached(self) -> int | None:
        """The greatest age at which anything was ever listed, as far as is known."""
        return max((age for age in (self.longest, self.age) if age is not None), default=None)

    @property
    def is_as_ever(self) -> bool:
        """Whether the list still reaches about as far back as it ever did: half as far, for traffic is uneven.

        Where it does not, a project may have been emptied or switched, and age is no excuse for what is missed.
        """
        return self.age is not None and 2 * self.age >= (self.longest or 0)

    def explains(self, created: int) -> bool:
        """Tell whether age alone explains that a completion is not listed any more: nothing as old is, or ever was."""
        if self.oldest is not None and created >= self.oldest:
            return False
        return self.reached is not None and self.asked_at - created >= self.reached

    def reason(self, created: int | None) -> str:
        """Say why a completion that is not found went."""
        return "expired" if created is not None and self.explains(created) else "deleted"

    def safety(self, interval: int) -> int | None:
        """Return the seconds that the next run may be late before something unseen could expire."""
        return None if self.age is None else self.age - interval


def lost(position: int | None, began: int | None, oldest: int | None) -> tuple[int, int] | None:
    """Return the span in which completions may have expired before they were first seen.

    ``position`` is how far the former runs had read, ``began`` where this walk could begin: None is the beginning,
    because nothing that was held before ``position`` is listed any more; ``oldest`` is where the list begins now.
    """
    if position is None or began is not None or oldest is None or oldest <= position + 1:
        return None
    return position, oldest


def interval(history: Sequence[Past], now: int) -> int:
    """Return the longest time between two recent runs, the one of ``now`` among them; a day until there were two."""
    ends = [now, *(past.data_through // 1_000_000 for past in history if past.data_through is not None)]
    return max((end - before for end, before in pairwise(ends) if end > before), default=DAY)


def longest(history: Iterable[Past]) -> int | None:
    """Return the greatest age at which any run still saw something listed; ``history`` is newest first.

    Each record carries what those before it saw, so that the newest is enough; older versions left none that do.
    """
    reached: int | None = None
    for past in history:
        ages = (reached, past.horizon, past.longest_horizon)
        reached = max((age for age in ages if age is not None), default=None)
        if past.longest_horizon is not None:
            break
    return reached
