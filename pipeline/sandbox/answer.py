"""One HTTP answer as a value: status, headers, body."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

from pipeline.sandbox.body import encode
from pipeline.sandbox.faults import STATUSES
from pipeline.sandbox.listing import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.sandbox.faults import Fault

JSON = "application/json"
HTML = b"<!doctype html><html><head><title>Just a moment</title></head><body>Checking your browser.</body></html>"
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
        return self.with_body(gzip.compress(self.body, 1, mtime=0), content_encoding="gzip", vary="Accept-Encoding")

    def zipped_for(self, accept_encoding: str) -> Answer:
        """Compress the answer where the client takes gzip and it is worth it."""
        return self.zipped() if "gzip" in accept_encoding and len(self.body) >= _WORTH_GZIP else self

    def spoiled(self, kind: str) -> Answer:
        """Return the answer with a body that is whole on the wire but not what it says it is."""
        if kind == "html":
            return self.with_body(HTML, content_type="text/html; charset=utf-8")
        if kind == "truncated-json":
            return self.with_body(self.body[: len(self.body) // 2])
        zipped = self.zipped()
        return zipped.with_body(zipped.body[: len(zipped.body) // 2])


def of_error(error: ApiError) -> Answer:
    """Answer with the API's error body."""
    return Answer(error.status, encode(error.body))


def of_status(fault: Fault, now: float) -> Answer:
    """Answer with the status that a fault asks for, and its header."""
    status, kind, code, message = STATUSES[fault.kind]
    answer = of_error(ApiError(status, message, kind=kind, code=code))
    if not fault.header:
        return answer
    value = fault.value
    if value.startswith("date+"):
        value = formatdate(now + float(value.removeprefix("date+")), usegmt=True)
    return answer.with_body(answer.body, **{fault.header: value})
