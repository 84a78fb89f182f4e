"""The fast way to read a completion: whole, and only if nothing about it is unusual."""

from __future__ import annotations

import msgspec

from pipeline.transform.readable import unreadable
from pipeline.transform.shapes import Completion

_decoder = msgspec.json.Decoder(Completion)
_NULL = msgspec.Raw(b"null")


def decode(body: bytes) -> Completion | None:
    """Return the completion if every value fits and no key is unknown, else None."""
    try:
        completion = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for raw in _texts(completion):
        if raw and raw != _NULL and unreadable(bytes(raw)):
            return None
    return completion


def _texts(completion: Completion) -> list[msgspec.Raw]:
    """Return the text of every JSON column, which the decoder skipped."""
    texts = [completion.tools, completion.tool_choice, completion.response_format, completion.moderation]
    for choice in completion.choices:
        message = choice.message
        texts += (choice.logprobs, choice.content_filter_results)
        texts += (message.function_call, message.annotations, message.audio)
    return texts
