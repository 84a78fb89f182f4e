"""The model of the server: what is stored, and what of it the API shows at this moment.

A row is visible from its own ``visible_at`` on, by the store's clock. Until then retrieve, edit and delete answer
404, and a delete that came too early changes nothing: the row surfaces later, as recorded.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from pipeline.sandbox.body import encode, glance
from pipeline.sandbox.house import HOUSES
from pipeline.sandbox.listing import Listing, Query, bad_value, not_found
from pipeline.sandbox.messages import stored_messages
from pipeline.sandbox.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_BY_SECOND = itemgetter(0)
_Keys = list[tuple[int, str]]  # (created, key) of rows


@dataclass(slots=True)
class Stored:
    """One completion in the store."""

    key: str
    """The id; a made-up one where the body has none."""
    id: str | None
    created: int
    """Where the row stands in the list."""
    visible_at: float
    body: bytes
    model: str | None
    metadata: dict[str, Any]
    messages: Sequence[Mapping[str, Any]]
    foreign: bool = False
    """Of another owner: it takes a place on a page, and is left out when the page is shown."""
    listed: bool = False
    """Whether the row is visible; turns true once, when its time has come."""

    def matches(self, query: Query) -> bool:
        """Tell whether the row passes the query's filters."""
        model_fits = query.model is None or query.model == self.model
        return model_fits and all(self.metadata.get(key) == value for key, value in query.metadata.items())

    def answers(self) -> Iterator[Mapping[str, Any]]:
        """Yield what the model said."""
        return (choice["message"] for choice in glance(self.body).get("choices", ()))


class Store:
    """Stored completions of one project; safe to change from a test while a server lists them."""

    def __init__(self, clock: Callable[[], float] = time.time, shape: Shape | None = None, seed: int = 0) -> None:
        self.clock = clock
        self.shape = shape or Shape()
        self.house = HOUSES[self.shape.house]
        self.seed = seed
        self._random = random.Random(seed)
        self._numbers = count(1)
        self._rows: dict[str, Stored] = {}
        self._order: _Keys = []  # of all visible rows, sorted
        self._waiting: list[tuple[float, int, Stored]] = []  # a heap by visible_at
        self._lock = threading.RLock()

    def add(
        self,
        body: Mapping[str, Any] | bytes,
        *,
        created: int | None = None,
        visible_at: float | None = None,
        messages: Sequence[Mapping[str, Any]] = (),
        foreign: bool = False,
    ) -> str:
        """Store a completion and return its id; bytes are served as they are, even where they are no JSON.

        It is visible at once unless ``visible_at`` says when. A known id is replaced, also where ``created`` moves.
        ``created`` is needed only where the body has no usable one. ``foreign`` makes it another owner's.
        """
        fields = glance(body) if isinstance(body, bytes) else body
        text = body if isinstance(body, bytes) else encode(self.house.row(body, messages))
        with self._lock:
            row = self._row(text, fields, created, visible_at, messages)
            row.foreign = foreign
            self._remove(row.key)
            self._rows[row.key] = row
            heapq.heappush(self._waiting, (row.visible_at, next(self._numbers), row))
        return row.key

    def edit(self, completion_id: str, metadata: Mapping[str, str] | None) -> bytes:
        """Replace the metadata and return the new body; a body that holds no object stays as it is."""
        with self._lock:
            row = self._visible(completion_id)
            row.metadata = dict(metadata or {})
            if fields := glance(row.body):
                row.body = encode({**fields, "metadata": row.metadata})
            return self.house.alone(row.body)

    def delete(self, completion_id: str) -> None:
        """Forget a visible completion; 404 for any other."""
        with self._lock:
            self._remove(self._visible(completion_id).key)

    def hide(self, completion_id: str) -> None:
        """Leave a visible completion out of the list; it still answers when it is asked for by its id."""
        with self._lock:
            row = self._visible(completion_id)
            self._order.remove((row.created, row.key))

    def retrieve(self, completion_id: str) -> bytes:
        """Return one completion, as retrieve shows it."""
        with self._lock:
            return self.house.alone(self._visible(completion_id).body)

    def list(self, query: Query | None = None) -> Listing:
        """Return one page of what is visible now."""
        query = query or Query()
        self._check_limit(query)
        with self._lock:
            self._surface()
            anchor = self._rows.get(query.after) if query.after is not None else None
            if query.after is not None and (anchor is None or not anchor.listed):
                return self.without_anchor(query)
            return self._page(query, anchor)

    def without_anchor(self, query: Query, how: str | None = None) -> Listing:
        """Answer a query whose ``after`` names nothing, in the store's own way or as ``how`` says."""
        how = how or self.shape.vanished
        if how == "page1":
            with self._lock:
                self._surface()
                return self._page(query, None)
        if how == "empty":
            return Listing.of((), self.shape)
        if how == "400":
            raise bad_value("after", f"Invalid 'after': no completion with id {query.after}")
        raise not_found(str(query.after))

    def messages(self, completion_id: str, query: Query | None = None) -> Listing:
        """Return one page of the messages, oldest first unless told otherwise."""
        query = query or Query()
        self._check_limit(query)
        with self._lock:
            row = self._visible(completion_id)
        rows = stored_messages(row.key, [*row.messages, *(row.answers() if self.shape.answers else ())])
        if query.order == "desc":
            rows.reverse()
        if query.after is not None:
            ids = [message["id"] for message in rows]
            if query.after not in ids:
                raise not_found(query.after)
            rows = rows[ids.index(query.after) + 1 :]
        page = ((message["id"], encode(message)) for message in rows[: query.limit])
        return Listing.of(page, self.shape, has_more=len(rows) > query.limit)

    def visible_ids(self) -> set[str]:
        """Return the ids that a perfect export holds now."""
        return set(self.bodies())

    def bodies(self) -> dict[str, bytes]:
        """Return every visible completion's JSON text by id: the truth."""
        with self._lock:
            self._surface()
            rows = (self._rows[key] for _, key in self._order)
            return {row.key: row.body for row in rows if not row.foreign}

    def sample(self) -> str | None:
        """Return the id of some visible completion; None where nothing is visible."""
        with self._lock:
            keys = list(self.bodies())
            return self._random.choice(keys) if keys else None

    def __len__(self) -> int:
        """Count what is visible now."""
        return len(self.bodies())

    def _row(
        self,
        text: bytes,
        fields: Mapping[str, Any],
        created: int | None,
        visible_at: float | None,
        messages: Sequence[Mapping[str, Any]],
    ) -> Stored:
        """Read off the body what the store lists and filters by."""
        told_id, told_created, metadata = fields.get("id"), fields.get("created"), fields.get("metadata")
        completion_id = told_id if isinstance(told_id, str) else None
        now = self.clock()
        if created is None:
            created = told_created if isinstance(told_created, int) else int(now)
        return Stored(
            key=completion_id or f"without-id-{next(self._numbers)}",
            id=completion_id,
            created=created,
            visible_at=now if visible_at is None else visible_at,
            body=text,
            model=fields.get("model"),
            metadata=dict(metadata) if isinstance(metadata, dict) else {},
            messages=messages,
        )

    def _visible(self, completion_id: str) -> Stored:
        """Return the row, or answer 404 as for an unknown one."""
        self._surface()
        row = self._rows.get(completion_id)
        if row is None or not row.listed or row.foreign:
            raise not_found(completion_id)
        return row

    def _surface(self) -> None:
        """Put the rows whose time has come into the list."""
        now, found = self.clock(), len(self._order)
        while self._waiting and self._waiting[0][0] <= now:
            _, _, row = heapq.heappop(self._waiting)
            if self._rows.get(row.key) is row:
                row.listed = True
                self._order.append((row.created, row.key))
        if len(self._order) > found:
            self._order.sort()  # two sorted runs at best: cheap

    def _remove(self, key: str) -> None:
        """Take a row out of the list, and out of what waits to be listed."""
        row = self._rows.pop(key, None)
        if row is not None and row.listed:
            del self._order[bisect_left(self._order, (row.created, key))]

    def _check_limit(self, query: Query) -> None:
        """Refuse a limit as sibling endpoints of the real API do."""
        if query.limit < 1:
            message = f"Invalid 'limit': integer below minimum value. Expected a value >= 1, but got {query.limit}."
            raise bad_value("limit", message, code="integer_below_min_value")
        largest = self.shape.max_limit
        if largest is not None and query.limit > largest:
            message = (
                f"Invalid 'limit': integer above maximum value. Expected a value <= {largest}, but got {query.limit}."
            )
            raise bad_value("limit", message, code="integer_above_max_value")

    def _page(self, query: Query, anchor: Stored | None) -> Listing:
        """Gather whole seconds beyond the anchor until the page is full; what is not to be shown is left out last."""
        found: list[Stored] = []
        if not self.shape.by_metadata:
            query = replace(query, metadata={})
        seconds = self._falling if (query.order or self.shape.default_order) == "desc" else self._rising
        for second in seconds(anchor):
            rows = [row for _, key in second if (row := self._rows[key]).matches(query)]
            if self.shape.shuffle and self.shape.cursor == "second":
                self._random.shuffle(rows)
            found += rows
            if len(found) > query.limit:
                break
        shown = ((row.id, row.body) for row in found[: query.limit] if not row.foreign)
        return Listing.of(shown, self.shape, has_more=len(found) > query.limit)

    def _rising(self, anchor: Stored | None) -> Iterator[_Keys]:
        """Yield one second's rows after the other, from the anchor towards the newest."""
        order, start = self._order, 0
        if anchor is not None and self.shape.cursor == "exact":
            start = bisect_right(order, (anchor.created, anchor.key))
        elif anchor is not None:
            start = bisect_right(order, anchor.created, key=_BY_SECOND)
        while start < len(order):
            end = bisect_right(order, order[start][0], lo=start, key=_BY_SECOND)
            yield order[start:end]
            start = end

    def _falling(self, anchor: Stored | None) -> Iterator[_Keys]:
        """Yield one second's rows after the other, from the anchor towards the oldest."""
        order, end = self._order, len(self._order)
        if anchor is not None and self.shape.cursor == "exact":
            end = bisect_left(order, (anchor.created, anchor.key))
        elif anchor is not None:
            end = bisect_left(order, anchor.created, key=_BY_SECOND)
        while end > 0:
            start = bisect_left(order, order[end - 1][0], hi=end, key=_BY_SECOND)
            yield order[start:end][::-1]
            end = start
