"""The input messages of one source: what the plan says is due is fetched, kept, and never fetched again.

404 for a completion that is younger than ``FRESH`` may be a row that is not visible everywhere yet: a later run asks
again. For an older one the completion itself is asked for, and is gone when it is not found either: unless this run
has just read its part of the list, or the server does not answer for a completion that is listed. One without an
answer waits and holds up no other; several in a row do, when the server has none for any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.archive.plan import Plan
from pipeline.errors import PipelineError
from pipeline.extract.messages import ALONE, SEVERAL, Wanted, fetch, is_not_found, retrieve
from pipeline.extract.walk import Refusal
from pipeline.failpoints import reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.archive.intake import Intake
    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Client
    from pipeline.extract.messages import Fetched, Witness
    from pipeline.stopping import Stop

#: Seconds; rows were seen to become visible 6 s after their answer, and answers take minutes at most.
FRESH = 3600


@dataclass(slots=True)
class Messages:
    """Fetches what is due; ``settle`` is told up to which segment nothing is due, to write it with the rest."""

    archive: Archive
    intake: Intake
    client: Client
    at_once: int
    stop: Stop
    settle: Callable[[int], None]
    lose: Callable[[str, int | None], None]
    """Marks a completion as gone."""
    observe: Callable[[], None]
    """Called after each completion."""
    server_time: int
    read_behind: int | None
    """This run has read what is listed behind this second; None is the beginning."""
    witness: Witness
    waiting: int = 0
    without: int = 0
    """Completions that are there although the server knows no messages of them."""
    unanswered: int = 0
    """Completions that were asked for and have to wait, for ``why``; those too fresh aside."""
    why: str = ""
    is_given_up: bool = False
    """Whether the server has no messages of any, so that the rest was not asked for."""
    _in_a_row: int = 0
    _proven: str | None = None
    """A completion whose messages were fetched in this run."""
    _has_any: bool | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is due."""
        return Plan(self.archive).is_empty

    def run(self) -> None:
        """Fetch until nothing is due, or an error ends it; what was fetched is kept."""
        plan = Plan(self.archive)
        try:
            wanted = (Wanted(due.id, due.created) for due in plan.due())
            for fetched in fetch(self.client, wanted, most=self.at_once, stop=self.stop):
                if self._keep(fetched):
                    plan.done(fetched.wanted.id)
                if self.intake.is_full:
                    self.settle(plan.settled)
                self.observe()
                reach("run.messages")
                if self._in_a_row >= SEVERAL:
                    self._in_a_row = 0
                    self.is_given_up = not self._is_there_any()
                if self.is_given_up:
                    break
        finally:
            self.waiting = plan.waiting
            self.settle(plan.settled)

    def _keep(self, fetched: Fetched) -> bool:
        """Keep an answer; say whether nothing more is due for the completion."""
        id_, created = fetched.wanted.id, fetched.wanted.created
        if fetched.messages is not None:
            self.intake.take_messages(id_, created, fetched.messages)
            self._in_a_row, self._proven = 0, id_
            return True
        if fetched.error is not None:
            return self._leave(fetched.error.message)
        if created is not None and self.server_time - created < FRESH:
            return False
        return self._judge(fetched)

    def _judge(self, fetched: Fetched) -> bool:
        """Find out what it means that the server knows no messages of a completion; only what is certain is done."""
        id_, created = fetched.wanted.id, fetched.wanted.created
        own = retrieve(self.client, id_)
        if isinstance(own, PipelineError):
            return self._leave(own.message)
        if isinstance(own, Refusal):
            if self._has_read(created) or not is_not_found(own) or not self.witness.is_known:
                return self._leave("the list shows it, or may, and the server does not answer for it")
            self.lose(id_, created)
        else:
            if not is_not_found(fetched.refusal) or not self._knows_messages():
                return self._leave("the server answers with no messages, neither for one that it has just listed")
            self.without += 1
            self.intake.take_messages(id_, created, None)
        self._in_a_row = 0
        return True

    def _leave(self, why: str) -> bool:
        """Let a completion wait for a later run."""
        self.unanswered += 1
        self.why = why
        self._in_a_row += 1
        return False

    def _has_read(self, created: int | None) -> bool:
        """Whether this run's walk has read the completion's part of the list: the next run knows if it showed it."""
        return created is None or self.read_behind is None or created > self.read_behind

    def _knows_messages(self) -> bool:
        """Whether the server knows messages of any completion; one that it has just listed is asked for, once."""
        if self._proven is None and self._has_any is None:
            try:
                self._has_any = self._is_there_any()
            except ALONE:
                self._has_any = False
        return self._proven is not None or bool(self._has_any)

    def _is_there_any(self) -> bool:
        """Ask for the messages of one completion that should have some; raises what it fails with."""
        known = self._proven or self.witness.id
        return known is not None and not isinstance(self.client.messages(known), Refusal)
