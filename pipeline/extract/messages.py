"""The input messages of many completions, fetched side by side; answers come in any order, memory stays flat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.extract.walk import Refusal
from pipeline.extract.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.extract.client import Client
    from pipeline.stopping import Stop


@dataclass(frozen=True, slots=True)
class Wanted:
    """A completion whose input messages are wanted."""

    id: str
    created: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back for it: the messages, byte for byte, or a refusal of its id."""

    wanted: Wanted
    messages: tuple[bytes, ...] | None = None
    refusal: Refusal | None = None


def fetch(client: Client, wanted: Iterable[Wanted], *, most: int, stop: Stop) -> Iterator[Fetched]:
    """Fetch the messages of each completion, at most ``most`` at a time; no more are taken than are being asked for.

    Raises what ends the source (PipelineError), and StoppedError where the run was asked to stop.
    """

    def ask(one: Wanted) -> tuple[bytes, ...] | Refusal:
        return client.messages(one.id)

    with Workers(ask, most=most, stop=stop) as workers:
        for one, answer in workers.all(wanted):
            if isinstance(answer, Refusal):
                yield Fetched(one, refusal=answer)
            else:
                yield Fetched(one, answer)
