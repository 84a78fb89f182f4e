"""The fast way to read completions: whole, and only those about which nothing is unusual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.transform.columns import texts
from pipeline.transform.readable import unreadable
from pipeline.transform.shapes import Completion, InputMessage, Logprobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipeline.transform.shapes import Shape

_decoder = msgspec.json.Decoder(Completion)
_messages = msgspec.json.Decoder(list[InputMessage])
_logprobs = msgspec.json.Decoder(Logprobs | None)
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: By shape: its JSON columns, whose text the decoder skipped.
_OF_COMPLETIONS = ("tools", "tool_choice", "response_format", "moderation")
_OF_CHOICES = ("logprobs", "content_filter_results", "message.function_call", "message.annotations", "message.audio")
_OF_MESSAGES = ("content", "content_parts", "tool_calls", "refusal", "audio", "function_call", "annotations")


def decode(body: bytes) -> Completion | None:
    """Return the completion if every value fits and no key is unknown, else None."""
    return decode_all([body])[0]


def decode_all(bodies: Iterable[bytes | memoryview]) -> list[Completion | None]:
    """Decode each as ``decode``: together, because JSON text that many of them share is looked into once."""
    found = [_decoded(body) for body in bodies]
    whole = [(row, completion) for row, completion in enumerate(found) if completion is not None]
    for row in set(_rows_with_odd_text(whole)):
        found[row] = None
    return found


def decode_messages(body: bytes) -> list[InputMessage] | None:
    """Return input messages if every value fits and no key is unknown, else None."""
    try:
        found = _messages.decode(body)
    except _REFUSED:
        return None
    is_odd = next(_odd_owners([(0, message) for message in found], _OF_MESSAGES), None) is not None
    return None if is_odd else found


def decode_logprobs(raw: bytes) -> Logprobs | None:
    """Return log probabilities if every value fits; None where there are none, or none that fit."""
    try:
        found: Logprobs | None = _logprobs.decode(raw)
    except _REFUSED:
        return None
    return found


def _decoded(body: bytes | memoryview) -> Completion | None:
    try:
        return _decoder.decode(body)
    except _REFUSED:
        return None


def _rows_with_odd_text(whole: Sequence[tuple[int, Completion]]) -> Iterator[int]:
    """Yield the rows of completions that hold JSON text which readers would stumble over."""
    yield from _odd_owners(whole, _OF_COMPLETIONS)
    yield from _odd_owners([(row, choice) for row, one in whole for choice in one.choices], _OF_CHOICES)
    yield from _odd_owners([(row, message) for row, one in whole for message in one.input_messages or ()], _OF_MESSAGES)


def _odd_owners(shapes: Sequence[tuple[int, Shape]], names: Sequence[str]) -> Iterator[int]:
    found = texts([shape for _, shape in shapes], *names)
    for column in found.values():
        if odd := {text for text in set(column) if text and unreadable(text)}:
            yield from (owner for (owner, _), text in zip(shapes, column, strict=True) if text in odd)
