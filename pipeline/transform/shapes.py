"""The API's objects as typed shapes: the only place that knows its field names.

The strict decoder takes a completion only if it is exactly of these shapes; the lenient one reads whatever is not,
value by value, into the same shapes. A field of type ``Raw`` is a JSON column: its text is kept as it came.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]

#: No JSON value fits, so the strict decoder never fills it, and refuses an object that has a key of that name.
Unsent = Annotated[str, msgspec.Meta(min_length=1, max_length=0)]

#: An absent JSON column.
ABSENT = msgspec.Raw()


# No shape can hold itself, so the garbage collector need not look at them: batches are large. Fields stand in the
# order in which the API sends them, because the decoder looks for the next key at the next field.
class Shape(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An object of the API."""

    extra: Unsent = ""
    """What the lenient reader found and no field takes: a JSON object as text, or nothing."""

    @classmethod
    def known(cls) -> tuple[str, ...]:
        """Return the keys that the API gives this object."""
        return tuple(name for name in cls.__struct_fields__ if name != "extra")


class PromptDetails(Shape):
    """``usage.prompt_tokens_details``."""

    cached_tokens: Integer | None = None
    cache_write_tokens: Integer | None = None
    audio_tokens: Integer | None = None
    text_tokens: Integer | None = None
    image_tokens: Integer | None = None


class CompletionDetails(Shape):
    """``usage.completion_tokens_details``."""

    reasoning_tokens: Integer | None = None
    audio_tokens: Integer | None = None
    text_tokens: Integer | None = None
    accepted_prediction_tokens: Integer | None = None
    rejected_prediction_tokens: Integer | None = None


class Usage(Shape):
    """``usage``."""

    total_tokens: Integer | None = None
    completion_tokens: Integer | None = None
    prompt_tokens: Integer | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Function(Shape):
    """``tool_calls[].function``."""

    name: str | None = None
    arguments: str | None = None


class Custom(Shape):
    """``tool_calls[].custom``."""

    name: str | None = None
    input: str | None = None


class ToolCall(Shape):
    """``choices[].message.tool_calls[]``."""

    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Custom | None = None


class Message(Shape):
    """``choices[].message``."""

    content: str | None = None
    role: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: msgspec.Raw = ABSENT
    refusal: str | None = None
    annotations: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT


class Choice(Shape):
    """``choices[]``."""

    index: Integer | None = None
    message: Message = msgspec.field(default_factory=Message)
    finish_reason: str | None = None
    logprobs: msgspec.Raw = ABSENT
    content_filter_results: msgspec.Raw = ABSENT


class InputMessage(Shape):
    """One message of the request, from the messages route or from ``input_messages``."""

    id: str | None = None
    role: str | None = None
    content: msgspec.Raw = ABSENT
    """Text, or an array of parts."""
    name: str | None = None
    content_parts: msgspec.Raw = ABSENT
    tool_calls: msgspec.Raw = ABSENT
    tool_call_id: str | None = None
    refusal: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT
    function_call: msgspec.Raw = ABSENT
    annotations: msgspec.Raw = ABSENT


class Token(Shape):
    """``choices[].logprobs.content[]``."""

    token: str | None = None
    logprob: float | None = None
    bytes: msgspec.Raw = ABSENT
    top_logprobs: msgspec.Raw = ABSENT


class Logprobs(Shape):
    """``choices[].logprobs``; its shape is only looked into where the table is asked for."""

    content: list[Token] | None = None
    refusal: list[Token] | None = None


class Completion(Shape, kw_only=True):
    """A stored chat completion."""

    object: str | None = None
    id: Name
    model: str | None = None
    created: Integer
    request_id: str | None = None
    tool_choice: msgspec.Raw = ABSENT
    usage: Usage | None = None
    seed: Integer | None = None
    top_p: float | None = None
    temperature: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    system_fingerprint: str | None = None
    input_user: str | None = None
    service_tier: str | None = None
    tools: msgspec.Raw = ABSENT
    metadata: dict[str, str] | None = None
    choices: list[Choice]
    response_format: msgspec.Raw = ABSENT
    moderation: msgspec.Raw = ABSENT
    input_messages: list[InputMessage] | None = None
