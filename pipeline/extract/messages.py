"""Questions about single completions: their input messages side by side, and whether what is not found is gone.

Answers come in any order, memory stays flat. A question that stays without an answer fails alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import IncompleteError, PipelineError, ServerError
from pipeline.extract.walk import Refusal
from pipeline.extract.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.extract.client import Client
    from pipeline.handoff import Row
    from pipeline.stopping import Stop

#: What may be wrong with one completion alone: a server that fails for it, pages that do not get on.
ALONE = (ServerError, IncompleteError)
#: Completions in a row without an answer before it is asked whether the server answers at all.
SEVERAL = 10
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Wanted:
    """A completion whose input messages are wanted."""

    id: str
    created: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back for it: the messages, byte for byte, a refusal of its id, or an error."""

    wanted: Wanted
    messages: tuple[bytes, ...] | None = None
    refusal: Refusal | None = None
    error: PipelineError | None = None


def fetch(client: Client, wanted: Iterable[Wanted], *, most: int, stop: Stop) -> Iterator[Fetched]:
    """Fetch the messages of each completion, at most ``most`` at a time; no more are taken than are being asked for.

    Raises what ends the source (PipelineError), and StoppedError where the run was asked to stop.
    """

    def ask(one: Wanted) -> tuple[bytes, ...] | Refusal | PipelineError:
        try:
            return client.messages(one.id)
        except ALONE as error:
            return error

    with Workers(ask, most=most, stop=stop) as workers:
        for one, answer in workers.all(wanted):
            if isinstance(answer, Refusal):
                yield Fetched(one, refusal=answer)
            elif isinstance(answer, PipelineError):
                yield Fetched(one, error=answer)
            else:
                yield Fetched(one, answer)


def retrieve(client: Client, id_: str) -> Row | Refusal | PipelineError:
    """Ask for a completion itself; an error that may be its own is handed back. Raises what ends the source."""
    try:
        return client.retrieve(id_)
    except ALONE as error:
        return error


def is_not_found(refusal: Refusal | None) -> bool:
    """Tell whether a refusal says that there is no such completion: 404, or a 400 in those words (OGX)."""
    if refusal is None:
        return False
    return refusal.status == _NOT_FOUND or "not found" in refusal.message.lower()


class Witness:
    """A completion that the list has just shown: "not found" is believed only where the server knows this one.

    None where the list shows nothing: then nothing contradicts it.
    """

    def __init__(self, client: Client, id_: str | None) -> None:
        self.id = id_
        self._client = client
        self._is_known: bool | None = None

    @property
    def is_known(self) -> bool:
        """Whether the server answers for it; asked once."""
        if self._is_known is None:
            answer = None if self.id is None else retrieve(self._client, self.id)
            self._is_known = not isinstance(answer, (Refusal, PipelineError))
        return self._is_known
