"""Walks a sandbox store in process, without sockets, keeping what it is shown, as the archive would."""

import itertools
from collections.abc import Callable

from pipeline.extract.meeting import Meeting
from pipeline.extract.page import decode
from pipeline.extract.walk import Heard, Refusal, Request, Walk
from pipeline.handoff import Anchor
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.listing import ApiError, Query
from pipeline.sandbox.shape import Shape
from pipeline.sandbox.store import Store

NOW = 1_758_000_000
#: Far more than any walk of these tests needs: one that asks more often will never end.
ENOUGH = 4000


class Served:
    """A store, what was kept of it, and every request made."""

    def __init__(self, shape: Shape | None = None, seed: int = 0) -> None:
        self.clock = Clock(NOW)
        self.store = Store(self.clock, shape, seed)
        self.kept: dict[str, int] = {}
        self.requests: list[Request] = []
        self._numbers = itertools.count()

    def add(self, second: int, count: int = 1, foreign: int = 0) -> list[str]:
        """Store some completions of one second, the first of them somebody else's."""
        return [
            self.store.add(
                {"id": f"id-{next(self._numbers)}", "created": second, "object": "chat.completion"},
                foreign=number < foreign,
            )
            for number in range(count)
        ]

    def walk(
        self, anchors: list[Anchor] | None = None, *, limit: int, meddle: Callable[[int], None] = lambda _: None
    ) -> Walk:
        """Walk to the end; ``meddle`` is called with the number of each request before it is answered."""
        walk = Walk(anchors or [], limit=limit)
        requests = walk.requests()
        heard = None
        while True:
            try:
                request = next(requests) if heard is None else requests.send(heard)
            except StopIteration:
                return walk
            self.requests.append(request)
            assert len(self.requests) < ENOUGH, "the walk does not end"
            meddle(len(self.requests))
            heard = self.answer(request)

    def meet(
        self, *, limit: int, meddle: Callable[[int], None] = lambda _: None, turn: Callable[[], bool] = lambda: False
    ) -> Walk:
        """Walk from both ends until they meet; ``turn`` says whether the older of two questions is answered last."""
        meeting = Meeting(Walk([], limit=limit), limit=limit)
        asked = meeting.first()
        while asked:
            is_ahead, request = asked.pop(-1 if turn() else 0)
            self.requests.append(request)
            assert len(self.requests) < ENOUGH, "the walks do not end"
            meddle(len(self.requests))
            following = meeting.hear(self.answer(request), is_ahead=is_ahead)
            asked += [] if following is None else [(is_ahead, following)]
        meeting.claim()
        return meeting.ahead

    def answer(self, request: Request) -> Heard:
        """Answer one request as the server would, and keep what it shows."""
        try:
            listing = self.store.list(Query(request.after, request.limit, request.order))
        except ApiError as error:
            return Heard(Refusal(error.status))
        page = decode(listing.encode(), server_time=int(self.clock()))
        known = frozenset(row.id for row in page.rows if row.id in self.kept)
        self.kept.update({row.id: row.created or 0 for row in page.rows})
        return Heard(page, known)

    def anchors(self, before: int) -> list[Anchor]:
        """Return every row kept that is older than ``before``, newest first."""
        rows = sorted(self.kept.items(), key=lambda item: -item[1])
        return [Anchor(id_, created) for id_, created in rows if created < before]
