"""What an answer tells besides what was asked for: an error, the server's clock, its own name of the request."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.extract.transport import Answer

RATE_LIMITED = 429
#: A 429 with one of these is about money: waiting does not help (reference §3).
MONEY = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    }
)
#: Letters of a server's message that are shown: enough for its sentences, not for a page of text.
LONGEST_MESSAGE = 500


class ErrorBody(msgspec.Struct):
    """What an error body says; empty where it says nothing readable."""

    message: str = ""
    type: str | None = None
    code: str | int | None = None

    @classmethod
    def of(cls, body: bytes) -> ErrorBody:
        """Read it."""
        try:
            told = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["error"]
            return msgspec.json.decode(told, type=cls)
        except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError):
            return cls()


def is_about_money(status: int, error: ErrorBody) -> bool:
    """Tell whether the account needs money or a higher limit: waiting does not help."""
    return status == RATE_LIMITED and bool(MONEY & {error.code, error.type})


def place(url: object, answer: Answer | None) -> str:
    """Name where it was asked, and the server's own id of the request."""
    headers: Mapping[str, str] = answer.headers if answer is not None else {}
    request_id = headers.get("x-request-id") or headers.get("apim-request-id")
    return f"{url}{f', request {request_id}' if request_id else ''}"


def one_line(text: str) -> str:
    """Make the server's text fit a log line and steer no terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_MESSAGE])


def server_time(headers: Mapping[str, str]) -> int:
    """Return the server's clock; ours, where it does not tell."""
    try:
        return int(parsedate_to_datetime(headers["date"]).timestamp())
    except (KeyError, ValueError):
        return int(time.time())
