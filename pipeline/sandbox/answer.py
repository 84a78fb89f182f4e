"""One HTTP answer as a value: status, headers, body."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

from pipeline.sandbox.body import encode
from pipeline.sandbox.bulk import bomb
from pipeline.sandbox.faults import STATUSES
from pipeline.sandbox.listing import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.sandbox.faults import Fault
    from pipeline.sandbox.house import House

JSON = "application/json"
HTML = "text/html; charset=utf-8"
_PAGE = b"<!doctype html><html><head><title>Just a moment</title></head><body>Checking your browser.</body></html>"
_WORTH_GZIP = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": JSON})

    def with_body(self, body: bytes, **headers: str) -> Answer:
        """Return the answer with another body."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(self.status, body, {**self.headers, **more})

    def zipped(self) -> Answer:
        """Return the answer compressed by gzip; fast rather than small."""
        return self.as_gzip(gzip.compress(self.body, 1, mtime=0))

    def as_gzip(self, body: bytes) -> Answer:
        """Return the answer with a body that is compressed already."""
        return self.with_body(body, content_encoding="gzip", vary="Accept-Encoding")

    def zipped_for(self, accept_encoding: str) -> Answer:
        """Compress the answer where the client takes gzip and it is worth it."""
        worth = "content-encoding" not in self.headers and len(self.body) >= _WORTH_GZIP
        return self.zipped() if worth and "gzip" in accept_encoding else self

    def spoiled(self, fault: Fault) -> Answer:
        """Return the answer with a body that is whole on the wire but not what it says it is."""
        match fault.kind:
            case "html":
                return self.with_body(_PAGE, content_type=HTML)
            case "wrong-type":
                return self.with_body(self.body, content_type=HTML)
            case "truncated-json":
                return self.with_body(self.body[: len(self.body) // 2])
            case "bomb":
                return self.as_gzip(bomb(self.body, fault.number))
            case _:
                zipped = self.zipped()
                return zipped.with_body(zipped.body[: len(zipped.body) // 2])


def of_error(error: ApiError, house: House) -> Answer:
    """Answer with the error body of the house."""
    status, body = house.refusal(error)
    return Answer(status, encode(body))


def of_status(fault: Fault, house: House, now: float) -> Answer:
    """Answer with the status that a fault asks for, and its header."""
    status, kind, code, message = STATUSES[fault.kind]
    answer = of_error(ApiError(status, message, kind=kind, code=code), house)
    if not fault.header:
        return answer
    value = fault.value
    if value.startswith("date+"):
        value = formatdate(now + float(value.removeprefix("date+")), usegmt=True)
    return answer.with_body(answer.body, **{fault.header: value})


def of_redirect(fault: Fault) -> Answer:
    """Send the client to where a fault says."""
    return Answer(int(fault.kind), b"", {"location": fault.value})
