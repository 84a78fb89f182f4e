"""A list request and its answer, and the refusals of the API, without HTTP."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from pipeline.sandbox.body import encode
from pipeline.sandbox.shape import Order, Shape

DEFAULT_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Query:
    """What a list request asks for."""

    after: str | None = None
    limit: int = DEFAULT_LIMIT
    order: Order | None = None
    """None is the server's own default."""
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Pairs that a row's metadata must all have."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of rows or messages, each already JSON text."""

    rows: tuple[bytes, ...] = ()
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    total: int | None = None
    """How many rows the server says there are; None where it does not say."""

    @classmethod
    def of(cls, entries: Iterable[tuple[str | None, bytes]], shape: Shape, *, has_more: bool = False) -> Self:
        """Make a page of (id, JSON text) pairs."""
        ids, rows = zip(*entries, strict=True) if (entries := tuple(entries)) else ((shape.no_id,), ())
        return cls(rows, ids[0], ids[-1], has_more, len(rows) if shape.total else None)

    def encode(self) -> bytes:
        """Return the envelope, the rows in it byte for byte as they are."""
        rest: dict[str, str | int | None] = {
            "first_id": self.first_id,
            "last_id": self.last_id,
            "has_more": self.has_more,
        }
        if self.total is not None:
            rest["total"] = self.total
        return b'{"object":"list","data":[%b],%b' % (b",".join(self.rows), encode(rest)[1:])


class ApiError(Exception):
    """The API refuses: a status, and what the error body says, where it says so much."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code


def not_found(completion_id: str) -> ApiError:
    """Return the recorded answer for an unknown, deleted or not yet visible completion."""
    return ApiError(404, f"Completion {completion_id} not found", param="completion_id", code="not_found")


def bad_value(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """Return the answer for a parameter that the API does not take."""
    return ApiError(400, message, param=param, code=code)
