"""The input messages of one source: what the plan says is due is fetched, kept, and never fetched again.

404 for a completion that is younger than ``FRESH`` may be a row that is not visible everywhere yet: a later run asks
again. For an older one the completion itself is asked for, and is gone when it is not found either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.archive.plan import Plan
from pipeline.extract.messages import Wanted, fetch
from pipeline.extract.walk import Refusal
from pipeline.failpoints import reach

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.archive.intake import Intake
    from pipeline.archive.segments import Archive
    from pipeline.extract.client import Client
    from pipeline.extract.messages import Fetched
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
    waiting: int = 0
    without: int = 0
    """Completions that are there although the server knows no messages of them."""

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
        finally:
            self.waiting = plan.waiting
            self.settle(plan.settled)

    def _keep(self, fetched: Fetched) -> bool:
        """Keep an answer; say whether nothing more is due for the completion."""
        id_, created = fetched.wanted.id, fetched.wanted.created
        if fetched.messages is not None:
            self.intake.take_messages(id_, created, fetched.messages)
            return True
        if created is not None and self.server_time - created < FRESH:
            return False
        if isinstance(self.client.retrieve(id_), Refusal):
            self.lose(id_, created)
        else:
            self.without += 1
            self.intake.take_messages(id_, created, None)
        return True
