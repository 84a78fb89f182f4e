"""What the API lists now against what is held: every difference is explained, or counted as unexplained.

Nothing is written: what was listed and is not held, or has changed, is taken in by the next run or sweep.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pipeline.archive import coverage
from pipeline.archive.held import Held
from pipeline.archive.marks import pending
from pipeline.archive.missing import Missing
from pipeline.extract.walk import Heard, Refusal, Walk
from pipeline.result import Problem

if TYPE_CHECKING:
    from pipeline.archive.content import Content
    from pipeline.archive.held import State
    from pipeline.archive.segments import Archive
    from pipeline.config import Source
    from pipeline.extract.client import Client
    from pipeline.handoff import Page, Row
    from pipeline.proof import Proof

#: Completions compared at a time; of a window of them the ids are in memory.
WINDOW = 20_000
#: Completions asked for one by one, at most: those held and not listed.
ASKED = 2_000
#: Completions listed and not held that are named; all are counted.
NAMED = 20
KIND = "listed-not-held"

_SWEEP = "pipeline sweep"


class Listed:
    """Walks one source from the beginning and compares, page by page."""

    def __init__(self, source: Source, archive: Archive, client: Client, content: Content, proof: Proof) -> None:
        self._source = source
        self._archive = archive
        self._client = client
        self._content = content
        self._proof = proof
        self._position = archive.position(source.fingerprint)
        self._held = Held(archive, window=WINDOW)
        self._walk = Walk([], limit=source.limit)
        self._seen: dict[str, int] = {}
        self._waiting = pending(archive)
        self._asked = 0
        self.problems: list[Problem] = []

    def verify(self) -> None:
        """Compare everything listed; raises what ends the source."""
        self._proof.listed = 0
        missing = Missing(self._held, None, self._position if self._position is not None else -1)
        requests = self._walk.requests()
        heard: Heard | None = None
        shown = 0
        while True:
            try:
                request = next(requests) if heard is None else requests.send(heard)
            except StopIteration:
                break
            answer = self._client.list(request)
            if isinstance(answer, Refusal):
                heard = Heard(answer)
                continue
            heard = Heard(answer, self._compare(answer))
            missing.show(answer)
            shown += len(answer.rows)
            if shown >= WINDOW:
                self._explain(missing)
                shown = 0
        self._explain(missing)

    def _compare(self, page: Page) -> frozenset[str]:
        """Compare what a page shows, each completion once."""
        seconds = [row.created for row in page.rows if row.created is not None]
        if seconds:
            self._held.cover(min(seconds), max(seconds))
        for row in page.rows:
            if row.id not in self._seen:
                self._seen[row.id] = row.created or 0
                self._judge(row, self._held.state(row.id))
        return frozenset(row.id for row in page.rows if self._held.state(row.id))

    def _judge(self, row: Row, state: State | None) -> None:
        self._proof.listed = (self._proof.listed or 0) + 1
        if state is None:
            self._judge_unheld(row)
            return
        self._proof.listed_and_held += 1
        if state.is_gone:
            self._count("listed again since it was found gone")
        elif not state.is_adopted and self._has_changed(row, state):
            self._count("edited since it was last read")

    def _judge_unheld(self, row: Row) -> None:
        if self._archive.tombstones.cover(row.id):
            self._count("forgotten, and not taken in again")
        elif self._position is None or row.created is None or row.created > self._position - self._source.overlap:
            self._count("arrived since the last run")
        else:
            self._proof.unexplained += 1
            if len(self.problems) < NAMED:
                self.problems.append(Problem(KIND, self._archive.source, f"{row.id} is listed, not held", _SWEEP))

    def _has_changed(self, row: Row, state: State) -> bool:
        if hashlib.sha256(self._content.completion(row.body).body).digest() == state.content_hash:
            return False
        body = self._archive.columns(state.segment, ["body"])["body"][state.row].as_py()
        return not self._content.same(body, self._archive.footer(state.segment).reading.content, row.body)

    def _explain(self, missing: Missing) -> None:
        """Explain what is held, should have been listed by now, and was not; let go of what lies behind."""
        if self._walk.completed is None:
            return
        doubts = set(coverage.doubtful(self._archive.spans(self._source.fingerprint))) | set(self._walk.doubtful)
        for id_, state in missing.up_to(self._walk.completed):
            self._count(self._why_unlisted(id_, state, doubts))
        self._held.forget_before(self._walk.completed + 1)
        self._seen = {id_: created for id_, created in self._seen.items() if created > (self._walk.completed or 0)}

    def _why_unlisted(self, id_: str, state: State, doubts: set[int]) -> str:
        if id_ in self._waiting:
            return "not listed, noted by a sweep, to be asked for"
        if state.created in doubts:
            return "not listed, in a second that cannot be shown whole"
        if self._asked >= ASKED:
            return "not listed, not asked for one by one: the next sweep does"
        self._asked += 1
        if isinstance(self._client.retrieve(id_), Refusal):
            return "gone since the last sweep"
        return "not listed, and yet it answers"

    def _count(self, reason: str) -> None:
        self._proof.explained[reason] = self._proof.explained.get(reason, 0) + 1
