"""The walk: which request follows which answer, so that no completion listed is missed.

Pure decisions, no sockets: ``Walk.requests()`` yields a ``Request`` and is sent what was heard. The rules are those of
the README's section "The rules of the walk"; the one that matters most: on the real service ``after=ID`` means
"strictly beyond that row's ``created`` second", so a walk never continues from the last row of a page, whose
second may hold more rows than the page showed. It continues from the last row of an earlier second.

What makes it stop or take another way (each is tried over real sockets, ``tests/guards.py``):

    a row to begin or continue from that proves nothing   an older one, at last the beginning
    a page larger than is read                            the same question with a quarter of the limit
    has_more on an empty page                             the largest limit; still empty: stop
    has_more: false on a full page                        ask once more
    pages without an id that is new in this walk          stop after a few
    an order not as asked                                 stop
    rows without an id or created                         kept; stop where there is nothing to continue from
    a second that fills the largest page                  read back from the far side; in doubt unless shown whole

``Client`` stops at a filter that is ignored, at a key that answers for another project, and where there is no list.

    begin ──proven──▶ forward ──a page of one second──▶ dense ──▶ forward ──▶ end
      ▲  older anchor    │ ▲   anchor vanished             │ read back
      └──────────────────┘ └── retreat to the one before   └ until nothing new, in doubt
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pipeline.errors import ConfigError, IncompleteError
from pipeline.handoff import Anchor

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from collections.abc import Set as AbstractSet

    from pipeline.handoff import Page, Row

#: Limits to try when a second does not fit a page; 100 is known to work on the real service, more is not known.
WIDER = (1000, 500, 200, 100, 50, 20, 10)
#: Limits to try when the server refuses the configured one; 20 is the API's own default.
NARROWER = (100, 50, 20)
#: The status of a page that is larger than we read; HTTP has the same one for requests.
TOO_LARGE = 413
#: What is answered to a limit that is too large; a 404 speaks of the anchor.
LIMIT_REFUSED = frozenset({400, 422, TOO_LARGE})
#: Read-backs in a row without a new id before a second is left in doubt.
QUIET_READ_BACKS = 20
#: Answers in a row that bring the walk no further before it stops.
STRIKES = 5
#: Anchors remembered behind the walk, so that deletions just behind it do not send it back to the beginning.
TRAIL = 16


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the list endpoint."""

    after: str | None
    limit: int
    order: str | None = "asc"
    """None leaves it to the server: only the doctor does."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server did not take the request: an unknown ``after`` or a ``limit`` too large."""

    status: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, and which of its ids were held before it came."""

    answer: Page | Refusal
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Shown:
    """A page, the question it answers, and what was known of it."""

    page: Page
    request: Request
    known: frozenset[str]

    @property
    def seconds(self) -> list[int]:
        return [row.created for row in self.page.rows if row.created is not None]

    @property
    def is_last(self) -> bool:
        """Whether the list ends here: a full page is never believed to be the last."""
        return not self.page.has_more and len(self.page.rows) < self.request.limit

    @property
    def claims_more_but_is_empty(self) -> bool:
        return self.page.has_more and not self.page.rows


#: A part of the walk: asks, hears, and hands back the page to go on from; None where there is none.
Questions: TypeAlias = "Generator[Request, Heard, _Shown | None]"


class Walk:
    """Reads everything listed beyond the newest anchor that proves itself, oldest first.

    ``anchors`` are held rows, newest first, all older than the position less the overlap. While it runs, ``start``
    and ``completed`` say what has been read: every completion with start < created <= completed; ``doubtful`` lists
    the seconds in between that could not be shown complete. ``until`` ends it at the first row beyond that second, and
    may move while it runs: ids never end a walk. Raises IncompleteError where it cannot go on, and
    ConfigError where the server refuses the list itself.
    """

    def __init__(self, anchors: Sequence[Anchor], *, limit: int, until: int | None = None) -> None:
        self.start: int | None = None
        self.completed: int | None = None
        self.doubtful: list[int] = []
        self._trail: list[Anchor | None] = [None, *reversed(anchors)]
        self._limit = limit
        self.until = until
        self._widest: int | None = None
        self._exact = False
        self._is_limit_doubtful = False
        """Whether an anchor was refused with what is also said to a limit that is too large."""
        self._refused: set[str] = set()
        self._seen: dict[str, int] = {}
        self._strikes = 0

    def requests(self) -> Generator[Request, Heard, None]:
        """Yield each request to make and take what was heard; ends where the list ends."""
        shown = yield from self._begin()
        while shown is not None:
            shown = yield from self._continue(shown)

    # -- begin: prove an anchor, or read from the beginning ------------------------------------------------------

    def _begin(self) -> Questions:
        """Ask behind the newest anchor that proves itself; at last from the beginning.

        Where the server takes only a smaller limit, that may be all that it refused: the anchors are asked once more.
        """
        trail = list(self._trail)
        while True:
            anchor, limit = self._trail[-1], self._limit
            shown = yield from self._ask(anchor)
            if shown is not None and anchor is None and self._limit < limit and self._is_limit_doubtful:
                self._trail, self._is_limit_doubtful = trail, False
                continue
            if shown is not None:
                self.start = anchor.created if anchor else None
                return shown
            self._trail.pop()

    def _ask(self, anchor: Anchor | None, among: AbstractSet[str] | None = None) -> Questions:
        """Ask for what lies behind ``anchor``; None where the answer does not prove it.

        ``among`` are the ids of which the proof must show one; by default all that are held.
        """
        request = Request(anchor.id if anchor else None, self._limit)
        answer = yield from self._hear(request)
        if isinstance(answer, Refusal) and anchor is None:
            answer = yield from self._ask_narrower(answer)
        if isinstance(answer, _Shown) and (answer.claims_more_but_is_empty or _shows_too_little(anchor, answer, among)):
            answer = yield from self._widen(answer)
        if isinstance(answer, Refusal):
            self._is_limit_doubtful = self._is_limit_doubtful or answer.status in LIMIT_REFUSED
            return None
        if answer.claims_more_but_is_empty:
            raise IncompleteError("the server says that more completions follow, and shows none")
        return answer if _proven(anchor, answer, among) else None

    def _ask_narrower(self, refusal: Refusal) -> Generator[Request, Heard, _Shown | Refusal]:
        """Find a limit that the server takes; the request without ``after`` must then succeed."""
        answer: _Shown | Refusal = refusal
        for limit in (narrower for narrower in NARROWER if narrower < self._limit):
            answer = yield from self._hear(Request(None, limit))
            if isinstance(answer, _Shown):
                self._limit = limit
                return answer
        raise ConfigError(
            f"the server refuses the list of completions: {refusal.status} {refusal.message}".rstrip(),
            hint="check base_url and the filters of this source",
        )

    def _hear(self, request: Request) -> Generator[Request, Heard, _Shown | Refusal]:
        """Put one question, with a smaller limit where the answer is too large to be read."""
        answer = yield from self._put(request)
        while isinstance(answer, Refusal) and answer.status == TOO_LARGE:
            if request.limit == 1:
                raise IncompleteError(answer.message, hint="raise page_size of this source")
            smaller = max(1, request.limit // 4)
            self._limit = min(self._limit, smaller)
            if request.limit == self._widest:
                self._widest = smaller
            request = replace(request, limit=smaller)
            answer = yield from self._put(request)
        return answer

    def _put(self, request: Request) -> Generator[Request, Heard, _Shown | Refusal]:
        """Put one question and check that the answer is in the order asked."""
        heard = yield request
        if isinstance(heard.answer, Refusal):
            return heard.answer
        shown = _Shown(heard.answer, request, heard.known)
        if shown.seconds != sorted(shown.seconds, reverse=request.order == "desc"):
            raise IncompleteError(f"the server does not keep the order asked for ({request.order})")
        return shown

    def _widen(self, shown: _Shown) -> Generator[Request, Heard, _Shown | Refusal]:
        """Ask the same with the largest limit that the server takes."""
        ladder = (self._widest,) if self._widest else tuple(limit for limit in WIDER if limit > self._limit)
        for limit in ladder:
            if limit <= shown.request.limit:
                break
            answer = yield from self._put(Request(shown.request.after, limit))
            if isinstance(answer, _Shown):
                self._widest = limit
                return answer
            if answer.status not in LIMIT_REFUSED:
                return answer
        self._widest = self._widest or max(self._limit, shown.request.limit)
        return shown

    # -- forward: from the last row of an earlier second ---------------------------------------------------------

    def _continue(self, shown: _Shown) -> Questions:
        """Go on from a page that was accepted; None at the end of the list."""
        if shown.is_last:
            self._end(shown)
            return None
        if self.until is not None and any(second > self.until for second in shown.seconds):
            self._complete(self.until, shown)
            return None
        self._insist_on_progress(shown)
        anchor = self._anchor_in(shown)
        if anchor is None:
            return (yield from self._dense(shown))
        self._complete(shown.seconds[-1] - 1, shown)
        answer = yield from self._ask(anchor, self._seen.keys())
        if answer is None:
            return (yield from self._retreat_from(anchor.id))
        self._leave_behind(anchor)
        return answer

    def _retreat_from(self, vanished: str) -> Questions:
        """Ask again behind an older anchor, down to the beginning; never use the vanished one again."""
        self._refused.add(vanished)
        while True:
            anchor = self._trail[-1]
            answer = yield from self._ask(anchor)
            if answer is not None:
                return answer
            self._trail.pop()

    def _leave_behind(self, anchor: Anchor) -> None:
        """Remember an anchor that proved itself; the beginning always stays the last resort."""
        self._trail = [None, *self._trail[1:][-TRAIL:], anchor]

    def _insist_on_progress(self, shown: _Shown) -> None:
        """Stop a walk that goes nowhere: ``after`` that does not move, pages that bring no id new in this walk."""
        reach = -(2**63) if self.completed is None else self.completed  # before 1970 too: a mirror negates seconds
        beyond = {row.id: row.created for row in shown.page.rows if row.created is not None and row.created > reach}
        self._strikes = 0 if beyond.keys() - self._seen.keys() else self._strikes + 1
        if self._strikes > STRIKES:
            raise IncompleteError(
                "the walk does not get on: the server repeats its pages or does not follow 'after'",
                hint="what was read is kept; run again, and if it stays so, tell whoever runs the server",
            )
        self._seen = {id_: created for id_, created in self._seen.items() if created > reach} | beyond

    def _anchor_in(self, shown: _Shown) -> Anchor | None:
        """Choose the last row of an earlier second than the page's last one."""
        seconds = shown.seconds
        for row in reversed(shown.page.rows):
            if row.created is not None and row.created < seconds[-1] and self._usable(row):
                return Anchor(row.id, row.created)
        return None

    def _usable(self, row: Row) -> bool:
        return row.created is not None and row.id not in self._refused and not row.id.startswith("no-id:")

    def _complete(self, second: int, shown: _Shown) -> None:
        """Everything up to ``second`` has been read; a second that the server has not reached is never complete."""
        second = min(second, shown.page.server_time)
        self.completed = second if self.completed is None else max(second, self.completed)

    def _end(self, shown: _Shown) -> None:
        """Everything visible when this page was asked for has been read."""
        self._complete(shown.page.server_time, shown)

    # -- dense: a page that holds one second only ----------------------------------------------------------------

    def _dense(self, shown: _Shown) -> Questions:
        """Get through a second that fills a page; what cannot be shown complete is left in doubt."""
        wide = yield from self._widen(shown)
        if isinstance(wide, Refusal) or (wide is not shown and not _proven(self._trail[-1], wide)):
            return (yield from self._retreat_from(shown.request.after or ""))
        if wide.is_last or self._anchor_in(wide):
            return wide
        last = next((row for row in reversed(wide.page.rows) if self._usable(row)), None)
        if last is None or last.created is None:
            raise IncompleteError("the server sends no row with an id and a created second to continue from")
        return (yield from self._beyond(Anchor(last.id, last.created), wide))

    def _beyond(self, last: Anchor, shown: _Shown) -> Questions:
        """Continue from the last row of a second that fills the page: what follows tells how the server continues."""
        answer = yield from self._hear(Request(last.id, self._widest or self._limit))
        if isinstance(answer, Refusal) or _goes_back(answer, last):
            return (yield from self._retreat_from(last.id))
        if not answer.page.rows:
            return (yield from self._end_dense(last, answer))
        if last.created in answer.seconds:
            self._exact = True
            self._complete(last.created - 1, shown)
        else:
            if not self._exact:
                yield from self._read_back(last.created, Anchor(answer.page.rows[0].id, answer.seconds[0]))
            self._complete(last.created, answer)
        self._leave_behind(last)
        return answer

    def _end_dense(self, last: Anchor, answer: _Shown) -> Questions:
        """End behind a second that fills a page, unless reading back from the newest shows more beyond it."""
        more = yield from self._read_back(last.created, None)
        if more:
            return (yield from self._retreat_from(last.id))
        if answer.page.has_more:
            raise IncompleteError("the server says that more completions follow, and shows none")
        self._end(answer)
        return None

    def _read_back(self, second: int, beyond: Anchor | None) -> Generator[Request, Heard, bool]:
        """Read ``second`` from its far side until nothing new comes; in doubt unless a page shows what lies before.

        Returns whether something lies beyond the second.
        """
        quiet = 0
        while quiet < QUIET_READ_BACKS:
            request = Request(beyond.id if beyond else None, self._widest or self._limit, "desc")
            answer = yield from self._hear(request)
            if isinstance(answer, Refusal):
                beyond, quiet = None, quiet + 1
                continue
            later = [row for row in answer.page.rows if row.created is not None and row.created > second]
            if later:
                beyond = Anchor(later[-1].id, later[-1].created or 0)
            if any(created < second for created in answer.seconds):
                return beyond is not None
            quiet = 0 if any(row.id not in answer.known for row in answer.page.rows) else quiet + 1
        self.doubtful.append(second)
        return beyond is not None


def _goes_back(shown: _Shown, anchor: Anchor) -> bool:
    """Tell whether the answer shows the anchor itself or a second before it: the server did not follow ``after``."""
    return any(
        row.id == anchor.id or (row.created is not None and row.created < anchor.created) for row in shown.page.rows
    )


def _proven(anchor: Anchor | None, shown: _Shown, among: AbstractSet[str] | None = None) -> bool:
    """Tell whether the answer follows ``anchor``: a row held beyond it, none before it, and not itself.

    Rows of the anchor's own second are allowed: a server that continues exactly behind a row shows its siblings.
    """
    if anchor is None:
        return True
    proofs = shown.known if among is None else among
    held = (row.created for row in shown.page.rows if row.id in proofs and row.created is not None)
    return not _goes_back(shown, anchor) and any(created > anchor.created for created in held)


def _shows_too_little(anchor: Anchor | None, shown: _Shown, among: AbstractSet[str] | None) -> bool:
    """Tell whether a longer page may yet prove the anchor: rows follow it, and none of them is held."""
    return (
        bool(shown.page.rows)
        and not _proven(anchor, shown, among)
        and (anchor is None or not _goes_back(shown, anchor))
    )
