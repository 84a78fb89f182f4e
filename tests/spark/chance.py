"""Archives in which everything that may happen to a completion happens, in an order chosen by chance."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import TYPE_CHECKING

from pipeline.archive import buckets
from pipeline.archive.blobs import Blobs
from pipeline.archive.intake import OVERWRITING, Intake
from pipeline.archive.segments import ADOPTED, API, Archive, Reading
from pipeline.handoff import Account, Bucket, Page, Row, Span

if TYPE_CHECKING:
    from pipeline.folder import DataFolder

NOW, HOUR, DAY = 1_758_000_000, 3_600, 86_400
IDS = 14
_LOGPROBS = {"content": [{"token": "a", "logprob": -0.25, "bytes": [97], "top_logprobs": []}]}


class Chance:
    """Writes the segments of one source as runs would: a page, messages, marks, days of an organization."""

    def __init__(self, folder: DataFolder, source: str, seed: int) -> None:
        self.rng = random.Random(f"{source} {seed}")
        self.archive = Archive(folder.archive, source, scratch=folder.scratch)
        self._blobs = Blobs(folder.blobs, folder.scratch)
        self._ids = [f"{source}-{number}" for number in range(IDS)]
        self._created: dict[str, int | None] = {}
        self._gone: set[str] = set()
        self._clock = NOW + 3 * DAY

    def segments(self, count: int) -> None:
        """Write some more of them."""
        for _ in range(count):
            self._clock += HOUR
            self._organization() if self.rng.random() < 0.2 else self._night()

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock, dt.UTC)

    def _night(self) -> None:
        intake = Intake(self.archive, None, segment_size=2**30, blobs=self._blobs, now=self._now)
        rows = [self._row(id_) for id_ in self.rng.choices(self._ids, k=self.rng.randint(0, 5))]
        for one in rows:  # a page each: an id may come twice in one segment
            page = Page((one,), has_more=False, server_time=self._clock)
            intake.known(page)
            intake.take(page)
            self._created[one.id] = one.created
            self._gone.discard(one.id)
        for id_ in self._some(0.15):
            intake.take_messages(id_, self._created[id_], self._messages())
        for id_ in self._some(0.15) - self._gone:
            reason = self.rng.choice(["deleted", "expired"])
            mark = {"gone_at": self._clock * 10**6, "reason": reason, "last_seen": None, "first_missed": NOW * 10**6}
            intake.mark("gone", id_, self._created[id_], self._now(), json.dumps(mark).encode())
            self._gone.add(id_)
        span = Span(None, self._clock, self._clock, possibly_incomplete=(NOW,) if self.rng.random() < 0.3 else ())
        origin = self.rng.choice([API, API, ADOPTED])
        intake.cut(Reading("f", Account(), (span,), origin), run=(f"run-{self._clock}", self._run()))

    def _some(self, share: float) -> set[str]:
        return {id_ for id_ in sorted(self._created) if self.rng.random() < share}

    def _row(self, id_: str) -> Row:
        created = self.rng.choice([NOW, NOW, NOW + 1, NOW + DAY, NOW - 300 * DAY, -DAY, None])
        created = self._created.get(id_, created) if self.rng.random() < 0.6 else created
        choice = {"index": 0, "message": {"role": "assistant", "content": "żółw 🐢"}, "finish_reason": "stop"}
        call = {"id": "call", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        body = {
            "id": id_,
            "created": created if created is not None else "yesterday",
            "model": self.rng.choice(["m", "n", 7]),  # 7 is a reject
            "choices": [choice] * self.rng.randint(0, 3),
            "usage": {"prompt_tokens": 2**62, "completion_tokens": 2, "total_tokens": 3},
            "seed": -(2**63),
            "temperature": 0.1,
            "metadata": {"b": str(self.rng.randint(0, 3)), "a": ""},
            "new_key": {"deep": [1]},
        }
        if body["choices"]:
            message = {**choice["message"], "tool_calls": [call] * self.rng.randint(1, 2)}
            body["choices"] = [*body["choices"], {"index": 9, "message": message, "logprobs": _LOGPROBS}]
        if created != self._created.get(id_) or self.rng.random() < 0.3:
            # Only servers that send the inputs inline store an id again under another second.
            body["input_messages"] = [{"role": "user", "content": "in"}] * self.rng.randint(0, 2)
            assert OVERWRITING in json.dumps(body).encode()
        return Row(id_, created, json.dumps(body).encode())

    def _messages(self) -> list[bytes] | None:
        told = {"role": "user", "content": f"at {self._clock}", "name": self.rng.choice(["n", 7])}
        many = [json.dumps(told).encode()] * self.rng.randint(0, 3)
        return None if self.rng.random() < 0.2 else many

    def _run(self) -> bytes:
        counts = dict.fromkeys(("new", "changed", "skipped", "pages", "retries", "bytes"), 1)
        times = dict.fromkeys(("started_at", "ended_at", "data_through"), self._clock * 10**6)
        told = {"run_id": "r", "complete": True, "findings": [{"code": "c"}], "version": "1"}
        return json.dumps({**counts, **times, **told}).encode()

    def _organization(self) -> None:
        day = dt.date(2025, 9, self.rng.randint(1, 4))
        amount = {"value": "0.123456789012345", "currency": "usd"}
        results = {
            "usage": [{"model": "m", "input_tokens": 5, "batch": True, "new": 1}] * self.rng.randint(0, 3),
            "costs": [{"line_item": "m", "amount": amount}] * self.rng.randint(0, 2),
        }
        kinds = self.rng.sample(sorted(results), self.rng.randint(1, 2))
        bodies = {kind: json.dumps({"results": results[kind]}) for kind in kinds}
        buckets.keep(self.archive, [Bucket(kind, day, body.encode()) for kind, body in bodies.items()], self._now())
