"""What the benchmark's server lists: believable completions, or small ones, as many as wanted, made once.

Twenty thousand bodies come from the sandbox's generator and are repeated with ids and seconds of their own: far more
than a compressor looks back. An id ends with the completion's place in the list, so that a server needs no index.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pipeline.sandbox.body import encode
from pipeline.sandbox.generate import month
from tests.bench.small import NOW, completion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sandbox.store import Store

DAY = 86_400
DAYS = 29
#: The newest row and the first night's oldest lie that far from NOW, and from the next night.
MARGIN = 600
#: Completions of a night, which lie in a day of their own: however many are held, a night reads the same again.
NIGHT = 1_000
TEMPLATES = 20_000
_ID, _PLACE = 38, 8


@dataclass(slots=True)
class _Collector:
    """What ``month`` needs of a store."""

    bodies: list[dict[str, Any]]

    def clock(self) -> float:
        return NOW

    def add(self, body: dict[str, Any], **_: object) -> None:
        self.bodies.append(body)


@dataclass(frozen=True, slots=True)
class Template:
    """A body, open where id and second stand."""

    parts: tuple[bytes, bytes, bytes]

    @classmethod
    def of(cls, body: dict[str, Any]) -> Template:
        text = encode({**body, "id": "?ID?", "created": "?AT?"})
        head, rest = text.split(b"?ID?", 1)
        middle, tail = rest.split(b'"?AT?"', 1)
        return cls((head, middle, tail))

    def filled(self, id_: bytes, second: int) -> bytes:
        head, middle, tail = self.parts
        return b"%b%b%b%d%b" % (head, id_, middle, second, tail)


class Corpus:
    """``count`` bodies of a month and ``nights`` after it, in the order of their seconds: one text with commas."""

    def __init__(self, count: int, *, small: bool = False, nights: int = 0) -> None:
        rng = random.Random(f"bench {count}")
        self.seconds = array("q", _seconds(rng, count, nights))
        self.starts = array("q", [0])
        templates = _small() if small else _full()
        text = bytearray()
        for place, second in enumerate(self.seconds):
            text += templates[place * 7919 % len(templates)].filled(id_at(place, rng), second)
            text += b","
            self.starts.append(len(text))
        self.text = memoryview(text)

    def __len__(self) -> int:
        return len(self.seconds)

    def rows(self, first: int, last: int) -> memoryview:
        """Return the bodies with first <= place < last, with commas between."""
        return self.text[self.starts[first] : max(self.starts[first], self.starts[last] - 1)]

    def row(self, place: int) -> memoryview:
        """Return one body."""
        return self.rows(place, place + 1)

    def id(self, place: int) -> bytes:
        """Return the id of one completion."""
        text = bytes(self.text[self.starts[place] : self.starts[place] + 100])
        return text.partition(b'"id":"')[2][:_ID]

    def beyond(self, id_: str) -> int:
        """Return the first place in a later second, as the recorded service counts."""
        return bisect_right(self.seconds, self.seconds[place_of(id_)])

    def before(self, id_: str) -> int:
        """Return the place behind the last one in an earlier second."""
        return bisect_left(self.seconds, self.seconds[place_of(id_)])


def id_at(place: int, rng: random.Random) -> bytes:
    """Make an id of the recorded length that tells its place."""
    return b"chatcmpl-%021x%08d" % (rng.getrandbits(84), place)


def place_of(id_: str) -> int:
    """Read the place that an id tells."""
    return int(id_[-_PLACE:])


def _seconds(rng: random.Random, count: int, nights: int) -> Iterator[int]:
    """Yield the seconds of a month that ends now, then those of each day after it."""
    yield from sorted(rng.randrange(NOW - DAYS * DAY, NOW - MARGIN) for _ in range(count))
    for night in range(nights):
        start = NOW + night * DAY
        yield from sorted(rng.randrange(start, start + DAY - MARGIN) for _ in range(NIGHT))


def _full() -> list[Template]:
    collector = _Collector([])
    month(cast("Store", collector), completions=TEMPLATES)
    return [Template.of(body) for body in collector.bodies]


def _small() -> list[Template]:
    """Make bodies of about 250 bytes, with one short answer."""
    bodies = (completion(number, TEMPLATES) for number in range(TEMPLATES))
    return [Template.of({**_less(body), "choices": [_choice(number)]}) for number, body in enumerate(bodies)]


def _less(body: dict[str, Any]) -> dict[str, Any]:
    return {key: body[key] for key in ("id", "created", "model", "usage")}


def _choice(number: int) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": str(number)}, "finish_reason": "stop"}
