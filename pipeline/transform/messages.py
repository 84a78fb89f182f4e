"""The input messages of completions, fetched or inline, one row each in the order of the request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.transform import lenient, strict
from pipeline.transform.columns import fields, table, texts
from pipeline.transform.tables import Parents

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.handoff import Segment
    from pipeline.transform.lenient import Reject
    from pipeline.transform.shapes import InputMessage
    from pipeline.transform.versions import Versions

_NULL = msgspec.Raw(b"null")
#: Parts of a message that are rarely there and have no column.
_RARE = ("refusal", "audio", "function_call", "annotations")


@dataclass(frozen=True, slots=True)
class Turns:
    """The input messages that a segment holds, completion by completion."""

    parents: Parents
    messages: list[list[InputMessage]]
    rejects: dict[int, list[Reject]] = field(default_factory=dict)


def fetched(segment: Segment, received: pa.Table) -> Turns:
    """Read what was fetched from the messages route; of several for one completion the last counts."""
    last = {id_: row for row, id_ in enumerate(received["id"].to_pylist())}
    received = received if len(last) == len(received) else received.take(sorted(last.values()))
    messages: list[list[InputMessage]] = []
    rejects: dict[int, list[Reject]] = {}
    for row, body in enumerate(received["body"].to_pylist()):
        found = [] if body == b"null" else strict.decode_messages(body)
        if found is None:
            found, rejects[row] = lenient.read_messages(body)
        messages.append(found)
    return Turns(Parents.of_rows(segment, received), messages, {row: unfit for row, unfit in rejects.items() if unfit})


def inline(parents: Parents, versions: Versions, turns: Turns) -> Turns:
    """Take what came inside completions and was not fetched too; of several versions the last that has any counts."""
    sent = [row for row, shape in enumerate(versions.completions) if shape.input_messages is not None]
    ids = parents.at(sent).id.to_pylist()
    fetched = set(turns.parents.id.to_pylist())
    last = {id_: row for id_, row in zip(ids, sent, strict=True) if id_ not in fetched}
    rows = sorted(last.values())
    return Turns(parents.at(rows), [versions.completions[row].input_messages or [] for row in rows])


def rows(turns: Turns) -> pa.Table:
    """Make one row per message."""
    where = [row for row, found in enumerate(turns.messages) for _ in found]
    shapes = [message for found in turns.messages for message in found]
    contents = [_content(message) for message in shapes]
    return table(
        "messages",
        {
            **turns.parents.children(where),
            "index": [index for found in turns.messages for index in range(len(found))],
            **fields(shapes, "id", "role", "name", "tool_call_id"),
            "content": [text for text, _ in contents],
            "content_parts": [parts for _, parts in contents],
            **texts(shapes, "tool_calls"),
            "extra": [_extra(message) for message in shapes],
        },
    )


def _content(message: InputMessage) -> tuple[str | None, bytes | None]:
    """Return the text, and the parts as JSON: some servers send the parts in place of the text."""
    content, parts = message.content, bytes(message.content_parts) if _is_told(message.content_parts) else None
    if _is_text(content):
        return msgspec.json.decode(content), parts
    return None, parts or (bytes(content) if _is_told(content) else None)


def _is_told(raw: msgspec.Raw) -> bool:
    return bool(raw) and raw != _NULL


def _is_text(raw: msgspec.Raw) -> bool:
    return bytes(raw).startswith(b'"')


def _extra(message: InputMessage) -> str | None:
    """Put together what no column takes."""
    rare: dict[str, Any] = {name: getattr(message, name) for name in _RARE}
    if _is_told(message.content_parts) and not _is_text(message.content):
        rare["content"] = message.content
    found = {name: raw for name, raw in rare.items() if _is_told(raw)}
    if message.extra:
        found |= msgspec.json.decode(message.extra, type=dict[str, msgspec.Raw])
    return msgspec.json.encode(found).decode() if found else None
