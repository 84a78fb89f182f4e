"""A walk from both ends of a list that meet: twice as fast where the server's answers take their time.

The walk from the newest end is the same ``Walk`` seen in a mirror: seconds are negated and the order is turned round,
so every rule holds for it too. Each walk ends at the first row of a second that the other has read whole; ids never
end a walk (walk 6). Pure decisions, no sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.extract.walk import Heard, Refusal, Request, Walk
from pipeline.handoff import Page, Row

if TYPE_CHECKING:
    from collections.abc import Generator

_TURNED = {"asc": "desc", "desc": "asc", None: None}


class Backwards:
    """A walk from the newest completion to older ones; ``since`` is the first second from which on all is read."""

    def __init__(self, *, limit: int) -> None:
        self._walk = Walk([], limit=limit)

    @property
    def since(self) -> int | None:
        """Every completion of this second and of later ones has been read, as of the first answer."""
        return None if self._walk.completed is None else -self._walk.completed

    @property
    def doubtful(self) -> list[int]:
        """Seconds that could not be shown complete."""
        return [-second for second in self._walk.doubtful]

    def end_at(self, second: int) -> None:
        """End at the first row of ``second`` or an earlier one: somebody else has read those."""
        self._walk.until = -second - 1

    def requests(self) -> Generator[Request, Heard, None]:
        """Yield each request to make and take what was heard, as ``Walk.requests``."""
        requests = self._walk.requests()
        request = next(requests)
        while True:
            heard = yield Request(request.after, request.limit, _TURNED[request.order])
            if not isinstance(heard.answer, Refusal):
                heard = Heard(_mirrored(heard.answer), heard.known)
            try:
                request = requests.send(heard)
            except StopIteration:
                return


class Meeting:
    """Two walks over one list, from its ends; where the one from the newest end cannot go on, the other goes alone.

    It does so from the first question on where it is not to be read ``from_both_ends``.

    Ask ``first`` for the questions to begin with, then tell ``hear`` each answer; it returns the next question of the
    same walk, None where there is none. ``is_over`` says that everything has been read.
    """

    def __init__(self, ahead: Walk, *, limit: int, from_both_ends: bool = True) -> None:
        self.ahead = ahead
        self.back = Backwards(limit=limit) if from_both_ends else None
        self.asked_at: int | None = None
        """Server time of the first answer from the newest end: what was visible then is what that walk shows."""
        self.is_over = False
        self._requests = {True: ahead.requests(), **({False: self.back.requests()} if self.back else {})}

    def first(self) -> list[tuple[bool, Request]]:
        """Return the first question of each walk, and whether it is the one ahead."""
        return [(is_ahead, next(requests)) for is_ahead, requests in self._requests.items()]

    def hear(self, heard: Heard, *, is_ahead: bool) -> Request | None:
        """Take an answer; raises as the walk ahead does."""
        if self.is_over or (not is_ahead and self.back is None):
            return None
        if not is_ahead and self.asked_at is None and not isinstance(heard.answer, Refusal):
            self.asked_at = heard.answer.server_time
        self._tell_each_other()
        try:
            return self._requests[is_ahead].send(heard)
        except StopIteration:
            self.is_over = True
        except PipelineError:
            if is_ahead:
                raise
            self.go_alone()
        return None

    def go_alone(self) -> None:
        """Go on without the walk from the newest end: it cannot."""
        self.back = self.ahead.until = None

    def claim(self) -> int | None:
        """Let the walk ahead claim what both have read, where they have met.

        Returns the server time of the first answer from the newest end, as of which that is true; None where only the
        walk ahead has something to claim.
        """
        if not self.is_over or self.back is None or self.back.since is None or self.asked_at is None:
            return None
        self.ahead.completed = max(self.asked_at, self.ahead.completed or self.asked_at)
        self.ahead.doubtful += [second for second in self.back.doubtful if second not in self.ahead.doubtful]
        return self.asked_at

    def _tell_each_other(self) -> None:
        if self.back is not None and self.back.since is not None:
            self.ahead.until = self.back.since - 1
        if self.back is not None and self.ahead.completed is not None:
            self.back.end_at(self.ahead.completed)


def _mirrored(page: Page) -> Page:
    return Page(tuple(map(_turned, page.rows)), page.has_more, page.server_time)


def _turned(row: Row) -> Row:
    return row if row.created is None else Row(row.id, -row.created, row.body)
