"""The fast way to read a completion: whole, and only if nothing about it is unusual."""

from __future__ import annotations

import msgspec

from pipeline.transform.readable import unreadable
from pipeline.transform.shapes import Completion, InputMessage, Logprobs

_decoder = msgspec.json.Decoder(Completion)
_messages = msgspec.json.Decoder(list[InputMessage])
_logprobs = msgspec.json.Decoder(Logprobs | None)
_NULL = msgspec.Raw(b"null")


def decode(body: bytes) -> Completion | None:
    """Return the completion if every value fits and no key is unknown, else None."""
    try:
        completion = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return completion if _are_readable(_texts(completion)) else None


def decode_messages(body: bytes) -> list[InputMessage] | None:
    """Return input messages if every value fits and no key is unknown, else None."""
    try:
        found = _messages.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if _are_readable(_texts_of_messages(found)) else None


def decode_logprobs(raw: bytes) -> Logprobs | None:
    """Return log probabilities if every value fits; None where there are none, or none that fit."""
    try:
        found: Logprobs | None = _logprobs.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found


def _are_readable(texts: list[msgspec.Raw]) -> bool:
    return not any(raw and raw != _NULL and unreadable(bytes(raw)) for raw in texts)


def _texts_of_messages(messages: list[InputMessage]) -> list[msgspec.Raw]:
    texts: list[msgspec.Raw] = []
    for message in messages:
        texts += (message.content, message.content_parts, message.tool_calls, message.refusal)
        texts += (message.audio, message.function_call, message.annotations)
    return texts


def _texts(completion: Completion) -> list[msgspec.Raw]:
    """Return the text of every JSON column, which the decoder skipped."""
    texts = [completion.tools, completion.tool_choice, completion.response_format, completion.moderation]
    for choice in completion.choices:
        message = choice.message
        texts += (choice.logprobs, choice.content_filter_results)
        texts += (message.function_call, message.annotations, message.audio)
    if completion.input_messages:
        texts += _texts_of_messages(completion.input_messages)
    return texts
