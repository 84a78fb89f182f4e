"""What servers say differently of the same things: the keys of a row, the body of an error, the headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.sandbox.body import encode, glance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from pipeline.sandbox.listing import ApiError

    Row = Mapping[str, Any]
    Messages = Sequence[Mapping[str, Any]]

_BAD_REQUEST = 400
_NOT_IN_AZURE = ("tool_choice", "tools", "input_user", "response_format")
_IN_OGX = ("id", "choices", "object", "created", "model")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the answers say they are for."""

    organization: str = "org-sandbox"
    project: str = "proj_sandbox"


@dataclass(frozen=True, slots=True)
class House:
    """How one maker of servers words things."""

    row: Callable[[Row, Messages], Row]
    """The list row of a completion that is given with the recorded keys, and its input messages."""
    alone: Callable[[bytes], bytes]
    """The answer to retrieve, given the list row."""
    refusal: Callable[[ApiError], tuple[int, Row]]
    """The status and the body of an error."""
    request_id: Callable[[UUID], str]
    headers: Callable[[Identity, str, int], Mapping[str, str]]
    """The headers of every answer, given the request id and the milliseconds it took; the date aside."""
    key_headers: tuple[str, ...] = ("authorization",)
    """Where a key may stand."""


def _openai_refusal(error: ApiError) -> tuple[int, Row]:
    told = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
    return error.status, {"error": told}


def _openai_headers(identity: Identity, request_id: str, milliseconds: int) -> Mapping[str, str]:
    return {
        "openai-organization": identity.organization,
        "openai-processing-ms": str(milliseconds),
        "openai-project": identity.project,
        "openai-version": "2020-10-01",
        "x-request-id": request_id,
    }


def _azure_row(body: Row, _: Messages) -> Row:
    """Null what Azure does not tell of a stored completion; ``object`` is told by retrieve alone."""
    row = {key: value for key, value in body.items() if key not in _NOT_IN_AZURE}
    row |= {"object": None, "service_tier": None}
    if "usage" in body:
        row["usage"] = {**body["usage"], "completion_tokens_details": None, "prompt_tokens_details": None}
    if "choices" in body:
        row["choices"] = [_azure_choice(choice) for choice in body["choices"]]
    return row


def _azure_choice(choice: Row) -> Row:
    return {**choice, "finish_reason": None, "message": {"refusal": None, "audio": None, **choice.get("message", {})}}


def _azure_alone(row: bytes) -> bytes:
    fields = glance(row)
    return row if fields.get("object", "") is not None else encode({**fields, "object": "chat.completion"})


def _azure_refusal(error: ApiError) -> tuple[int, Row]:
    return error.status, {"error": {"code": error.code or str(error.status), "message": error.message}}


def _ogx_row(body: Row, messages: Messages) -> Row:
    """Keep what its table has columns for; the model that answers fills in nulls."""
    columns = {key: body[key] for key in _IN_OGX if key in body}
    return {**columns, "service_tier": None, "system_fingerprint": None, "usage": None, "input_messages": [*messages]}


def _ogx_refusal(error: ApiError) -> tuple[int, Row]:
    """Say what is wrong and no more; a completion that does not exist is a bad value there."""
    return _BAD_REQUEST if error.code == "not_found" else error.status, {"error": {"message": error.message}}


HOUSES = {
    "openai": House(
        row=lambda body, _: body,
        alone=lambda row: row,
        refusal=_openai_refusal,
        request_id=lambda number: f"req_{number.hex}",
        headers=_openai_headers,
    ),
    "azure": House(
        row=_azure_row,
        alone=_azure_alone,
        refusal=_azure_refusal,
        request_id=str,
        headers=lambda _, request_id, __: {"apim-request-id": request_id},
        key_headers=("api-key", "authorization"),
    ),
    "ogx": House(
        row=_ogx_row,
        alone=lambda row: row,
        refusal=_ogx_refusal,
        request_id=lambda number: f"req_{number.hex}",
        headers=lambda _, __, ___: {},
    ),
}
