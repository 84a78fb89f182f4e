"""The tables that hold completions, from their versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.schema import INTEGER, TEXT
from pipeline.transform.columns import dates, extra, fields, table, texts, timestamps
from pipeline.transform.shapes import CompletionDetails, Custom, Function, PromptDetails, Usage

if TYPE_CHECKING:
    from pipeline.handoff import Segment
    from pipeline.transform.history import Gone
    from pipeline.transform.lenient import Reject
    from pipeline.transform.shapes import Choice, Shape, ToolCall
    from pipeline.transform.versions import Versions

_NO_USAGE = Usage()
_NO_FUNCTION = Function()
_NO_CUSTOM = Custom()


@dataclass(frozen=True, slots=True)
class Parents:
    """What rows take over from the completion, or segment, that they come from."""

    source: str
    segment: int
    id: pa.Array
    created: pa.Array
    created_date: pa.Array

    @classmethod
    def of(cls, segment: Segment, versions: Versions) -> Parents:
        """Take them from all versions, in their order."""
        ids = versions.received["id"].combine_chunks()
        return cls(segment.source, segment.number, ids, versions.created, dates(versions.created))

    @classmethod
    def of_rows(cls, segment: Segment, received: pa.Table) -> Parents:
        """Take them from rows of a segment, in their order."""
        created = timestamps(received["created"].combine_chunks())
        return cls(segment.source, segment.number, received["id"].combine_chunks(), created, dates(created))

    def at(self, rows: list[int]) -> Parents:
        """Keep those at ``rows``."""
        places = pa.array(rows, pa.int64())
        parts = (self.id.take(places), self.created.take(places), self.created_date.take(places))
        return Parents(self.source, self.segment, *parts)

    def own(self) -> dict[str, pa.Array]:
        """Return the columns for the completions themselves."""
        return {
            "id": self.id,
            "created": self.created,
            "created_date": self.created_date,
            **origin(self.source, self.segment, len(self.id)),
        }

    def children(self, rows: list[int] | None) -> dict[str, pa.Array]:
        """Return the columns for rows that belong to the completions at ``rows``; None is one row for each."""
        own = self if rows is None else self.at(rows)
        return {
            "completion_id": own.id,
            "created": own.created,
            "created_date": own.created_date,
            **origin(self.source, self.segment, len(own.id)),
        }


def origin(source: str, segment: int, rows: int) -> dict[str, pa.Array]:
    """Return the columns that say where rows come from."""
    return {"source": pa.repeat(pa.scalar(source, TEXT), rows), "segment": pa.repeat(pa.scalar(segment, INTEGER), rows)}


def completions(parents: Parents, versions: Versions, gone: Gone, origin_: str) -> pa.Table:
    """Make one row per version."""
    received, shapes = versions.received, versions.completions
    return table(
        "completions",
        {
            **parents.own(),
            "created_unix": received["created"].combine_chunks(),
            **fields(shapes, "object", "model", "request_id", "service_tier", "system_fingerprint", "input_user"),
            **fields(shapes, "seed", "temperature", "top_p", "presence_penalty", "frequency_penalty"),
            "metadata": versions.metadata,
            **_usage([shape.usage or _NO_USAGE for shape in shapes]),
            **texts(shapes, "tools", "tool_choice", "response_format", "moderation"),
            **extra(shapes),
            "first_seen": received["first_seen"].combine_chunks(),
            "fetched_at": received["fetched_at"].combine_chunks(),
            "content_hash": versions.content_hash,
            "origin": pa.repeat(pa.scalar(origin_, TEXT), len(received)),
            **(gone.columns(parents.id.to_pylist()) if gone.ids else {}),
        },
    )


def _usage(usages: list[Usage]) -> dict[str, list[Any]]:
    return {
        **fields(usages, "prompt_tokens", "completion_tokens", "total_tokens"),
        **_details([usage.prompt_tokens_details for usage in usages], PromptDetails(), "prompt_"),
        **_details([usage.completion_tokens_details for usage in usages], CompletionDetails(), "completion_"),
    }


def _details(details: list[Any], absent: Shape, prefix: str) -> dict[str, list[Any]]:
    """Return the columns of one side's details; none at all where nobody was told any, as on the API's list."""
    if not any(details):
        return {}
    return fields([detail or absent for detail in details], *absent.known(), prefix=prefix)


def choices(parents: Parents, versions: Versions) -> pa.Table:
    """Make one row per choice."""
    rows = [row for row, shape in enumerate(versions.completions) for _ in shape.choices]
    shapes = [choice for shape in versions.completions for choice in shape.choices]
    messages = [choice.message for choice in shapes]
    return table(
        "choices",
        {
            **parents.children(rows),
            **fields(shapes, "index", "finish_reason"),
            **fields(messages, "role", "content", "refusal"),
            **texts(messages, "function_call", "annotations", "audio"),
            **texts(shapes, "logprobs", "content_filter_results"),
            **extra(shapes),
        },
    )


def tool_calls(parents: Parents, versions: Versions) -> pa.Table:
    """Make one row per tool call."""
    found = [
        (row, index_of(choice, place), number, call)
        for row, shape in enumerate(versions.completions)
        for place, choice in enumerate(shape.choices)
        for number, call in enumerate(choice.message.tool_calls or ())
    ]
    calls = [call for *_, call in found]
    return table(
        "tool_calls",
        {
            **parents.children([row for row, *_ in found]),
            "choice_index": [index for _, index, *_ in found],
            "index": [number for *_, number, _ in found],
            **fields(calls, "id", "type"),
            **_called(calls),
            **extra(calls),
        },
    )


def index_of(choice: Choice, place: int) -> int:
    """Return the index of a choice; its position where it has none."""
    return place if choice.index is None else choice.index


def _called(calls: list[ToolCall]) -> dict[str, list[Any]]:
    functions = [call.function or _NO_FUNCTION for call in calls]
    customs = [call.custom or _NO_CUSTOM for call in calls]
    both = zip(functions, customs, strict=True)
    return {
        "name": [custom.name if function.name is None else function.name for function, custom in both],
        **fields(functions, "arguments"),
        **fields(customs, "input"),
    }


def rejects(parents: Parents, unfit: dict[int, list[Reject]]) -> pa.Table:
    """Make one row per value that fits nowhere; ``unfit`` is by row."""
    found = [(row, *reject) for row, ones in sorted(unfit.items()) for reject in ones]
    return table(
        "rejects",
        {
            **parents.children([row for row, *_ in found]),
            "path": [path for _, path, _ in found],
            "reason": [reason for *_, reason in found],
        },
    )
