"""What ``POST /chat/completions`` answers and what is stored of it, which is not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.sandbox.listing import bad_value

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
#: Requested aliases are stored as the snapshot they stand for.
SNAPSHOTS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
}
_ECHOED = ("tool_choice", "tools", "response_format", "service_tier", "top_p", "temperature")
_ANSWER = "Hello! How can I assist you today?"


def random_id(rng: random.Random) -> str:
    """Return an id of the recorded form."""
    return "chatcmpl-" + rng.randbytes(29).translate(_LETTERS).decode()


def random_seed(rng: random.Random) -> int:
    """Return what the server assigns as ``seed``: any signed 64-bit integer."""
    return rng.getrandbits(64) - 2**63


def stored_row(**fields: Any) -> dict[str, Any]:
    """Return a list row with every recorded key, in the recorded order, ``fields`` over the recorded defaults."""
    row: dict[str, Any] = {
        "object": "chat.completion",
        "id": None,
        "model": None,
        "created": None,
        "request_id": None,
        "tool_choice": None,
        "usage": None,
        "seed": None,
        "top_p": 1.0,
        "temperature": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "system_fingerprint": None,
        "input_user": None,
        "service_tier": "default",
        "tools": None,
        "metadata": {},
        "choices": [],
        "response_format": None,
    }
    return {**row, **fields}


def usage(prompt: int, completion: int, **details: Mapping[str, int]) -> dict[str, Any]:
    """Return the three counters that stored rows have, and details where given."""
    counters = {"total_tokens": prompt + completion, "completion_tokens": completion, "prompt_tokens": prompt}
    return {**counters, **details}


def choice(index: int, content: str | None, finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """Return one choice as stored: tool_calls and function_call null, refusal absent, unless given."""
    shown = {"content": content, "role": "assistant", "tool_calls": None, "function_call": None, **message}
    return {"index": index, "message": shown, "finish_reason": finish_reason, "logprobs": None}


def create(request: Mapping[str, Any], *, rng: random.Random, now: int, request_id: str) -> dict[str, Any]:
    """Return the row to store for a create request."""
    model, messages = request.get("model"), request.get("messages")
    if not isinstance(model, str):
        raise bad_value("model", "you must provide a model parameter", code="missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        raise bad_value("messages", "Missing required parameter: 'messages'.", code="missing_required_parameter")
    if request.get("stream"):
        raise bad_value("stream", "The sandbox does not stream.", code="unsupported_value")
    wanted = int(request.get("n") or 1)
    words = sum(len(str(message.get("content", ""))) // 4 + 4 for message in messages)
    return stored_row(
        id=random_id(rng),
        model=SNAPSHOTS.get(model, model),
        created=now,
        request_id=request_id,
        usage=usage(words, 9 * wanted),
        seed=random_seed(rng),
        system_fingerprint="fp_560af6e559",
        metadata=dict(request.get("metadata") or {}),
        choices=[choice(index, _ANSWER) for index in range(wanted)],
        **{key: request[key] for key in _ECHOED if request.get(key) is not None},
    )


def response(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the creating client is told, which has details that the stored row lacks."""
    told = {key: row[key] for key in ("id", "object", "created", "model", "service_tier", "system_fingerprint")}
    choices = [{**one, "message": _told_message(one["message"])} for one in row["choices"]]
    return {
        **told,
        "choices": choices,
        "usage": {
            **row["usage"],
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }


def _told_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as the creating client sees it."""
    return {"role": "assistant", "content": message["content"], "refusal": None, "annotations": []}
