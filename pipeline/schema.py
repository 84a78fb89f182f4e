"""Every table's columns as Arrow schemas, each with a sentence: the data dictionary.

Types are declared, never inferred. JSON columns are text that holds valid JSON, as the API sent it.
Absent is NULL, never 0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
INTEGER = pa.int64()
NUMBER = pa.float64()
TEXT = pa.string()
MAP = pa.map_(pa.string(), pa.string())
#: Amounts of money and quantities, exact.
DECIMAL = pa.decimal128(38, 15)


def column(name: str, kind: pa.DataType, description: str, *, required: bool = False) -> pa.Field:
    """Declare a column; ``description`` is what the data dictionary and the DuckDB comment say."""
    return pa.field(name, kind, nullable=not required, metadata={"description": description})


def describe(field: pa.Field) -> str:
    """Return a column's sentence."""
    return str((field.metadata or {}).get(b"description", b""), "utf-8")


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the warehouse and of the Parquet dataset."""

    name: str
    description: str
    columns: pa.Schema
    identity: str
    """The column that says which older rows a new batch replaces: the completion's id, or ``segment`` for logs."""
    replaced_by: str = "completion"
    """What replaces older rows: a new version of the ``completion``, newly fetched ``messages``, a newer fetch of the
    same ``day`` into the same table, or only the same ``segment`` loaded again."""


_SOURCE = column("source", TEXT, "Name of the source in the configuration.", required=True)
_DATE = column(
    "created_date",
    pa.date32(),
    "UTC date of created; 1970-01-01 where created could not be read.",
    required=True,
)
_SEGMENT = column("segment", INTEGER, "Number of the archive segment the row was flattened from.", required=True)
_PARENT = (
    _SOURCE,
    column("completion_id", TEXT, "Id of the completion, as in completions.id.", required=True),
    column("created", TIMESTAMP, "When generation of the completion started."),
    _DATE,
)


def _detail(side: str, name: str, meaning: str) -> pa.Field:
    path = f"usage.{side}_tokens_details.{name}"
    return column(f"{side}_{name}", INTEGER, f"{meaning} ({path}); part of {side}_tokens; NULL where not told.")


COMPLETIONS = Table(
    "completions",
    "One row per completion, its latest version.",
    pa.schema(
        [
            _SOURCE,
            column("id", TEXT, "The API's id; 'no-id:' and the content hash where the API sent none.", required=True),
            column("created", TIMESTAMP, "When generation started; NULL where created is no usable second."),
            column("created_unix", INTEGER, "created as the API sends it: Unix seconds."),
            _DATE,
            column("object", TEXT, "Always 'chat.completion' on the API; NULL on some servers."),
            column("model", TEXT, "The model that answered, as a full snapshot name."),
            column("request_id", TEXT, "Id of the request that made the completion."),
            column("service_tier", TEXT, "The tier that was served."),
            column("system_fingerprint", TEXT, "Backend build."),
            column("input_user", TEXT, "The request's user."),
            column("seed", INTEGER, "Signed 64-bit; assigned by the server where the request had none."),
            column("temperature", NUMBER, "Request echo."),
            column("top_p", NUMBER, "Request echo."),
            column("presence_penalty", NUMBER, "Request echo."),
            column("frequency_penalty", NUMBER, "Request echo."),
            column("prompt_tokens", INTEGER, "usage.prompt_tokens: all input tokens."),
            column("completion_tokens", INTEGER, "usage.completion_tokens: all output tokens."),
            column("total_tokens", INTEGER, "usage.total_tokens: input and output."),
            _detail("prompt", "cached_tokens", "Input tokens read from the cache"),
            _detail("prompt", "cache_write_tokens", "Input tokens written to the cache"),
            _detail("prompt", "audio_tokens", "Audio input tokens"),
            _detail("prompt", "text_tokens", "Text input tokens"),
            _detail("prompt", "image_tokens", "Image input tokens"),
            _detail("completion", "reasoning_tokens", "Hidden reasoning tokens"),
            _detail("completion", "audio_tokens", "Audio output tokens"),
            _detail("completion", "text_tokens", "Text output tokens"),
            _detail("completion", "accepted_prediction_tokens", "Predicted tokens that were used"),
            _detail("completion", "rejected_prediction_tokens", "Predicted tokens that were not used, yet billed"),
            column("metadata", MAP, "The caller's own key-value pairs; the only part that can be edited."),
            column("tools", TEXT, "JSON: request echo."),
            column("tool_choice", TEXT, "JSON: request echo."),
            column("response_format", TEXT, "JSON: request echo."),
            column("moderation", TEXT, "JSON: moderation results, where they were requested."),
            column("extra", TEXT, "JSON object: keys this version does not know, and values that fit no column."),
            _SEGMENT,
            column("first_seen", TIMESTAMP, "When this program first received the completion.", required=True),
            column("fetched_at", TIMESTAMP, "When this program received this version.", required=True),
            column("content_hash", TEXT, "SHA-256 of the stored bytes, in hex.", required=True),
            column(
                "origin", TEXT, "'api', or 'adopted' where it was read from files that somebody saved.", required=True
            ),
            column(
                "gone_at", TIMESTAMP, "When the completion was found gone from the source; NULL while it is listed."
            ),
            column("gone_reason", TEXT, "'deleted' or 'expired', where it is gone."),
            column("gone_last_seen", TIMESTAMP, "When the source last listed it, where it is gone and that is known."),
            column("gone_first_missed", TIMESTAMP, "When a sweep first missed it, where it is gone."),
        ]
    ),
    "id",
)

CHOICES = Table(
    "choices",
    "One row per choice of a completion.",
    pa.schema(
        [
            *_PARENT,
            column("index", INTEGER, "choices[].index."),
            column("finish_reason", TEXT, "stop, length, tool_calls, content_filter, function_call; NULL on Azure."),
            column("role", TEXT, "message.role."),
            column("content", TEXT, "message.content: the answer; NULL with tool calls."),
            column("refusal", TEXT, "message.refusal."),
            column("function_call", TEXT, "JSON: message.function_call (deprecated by the API)."),
            column("annotations", TEXT, "JSON: message.annotations."),
            column("audio", TEXT, "JSON: message.audio."),
            column("logprobs", TEXT, "JSON: token log probabilities."),
            column("content_filter_results", TEXT, "JSON: Azure's content filter."),
            column("extra", TEXT, "JSON object: unknown keys, and values that fit no column."),
            _SEGMENT,
        ]
    ),
    "completion_id",
)

TOOL_CALLS = Table(
    "tool_calls",
    "One row per tool call of a choice.",
    pa.schema(
        [
            *_PARENT,
            column("choice_index", INTEGER, "choices.index of the choice; its position where it has none."),
            column("index", INTEGER, "Position in message.tool_calls, from 0.", required=True),
            column("id", TEXT, "The call's own id."),
            column("type", TEXT, "function or custom."),
            column("name", TEXT, "function.name or custom.name."),
            column("arguments", TEXT, "function.arguments: JSON text as the model wrote it, which may be invalid."),
            column("input", TEXT, "custom.input: free text."),
            column("extra", TEXT, "JSON object: unknown keys, and values that fit no column."),
            _SEGMENT,
        ]
    ),
    "completion_id",
)

MESSAGES = Table(
    "messages",
    "One row per input message of a completion, in the order of the request.",
    pa.schema(
        [
            *_PARENT,
            column("index", INTEGER, "Position in the request, from 0.", required=True),
            column("id", TEXT, "The message's own id."),
            column("role", TEXT, "system, developer, user, assistant, tool or function."),
            column("name", TEXT, "The participant's name."),
            column("content", TEXT, "The text; of content in parts the flattened text, as the API sends it."),
            column("content_parts", TEXT, "JSON array: text, images, audio, files; large ones as references (blob:)."),
            column("tool_calls", TEXT, "JSON array: the calls of an assistant's turn."),
            column("tool_call_id", TEXT, "The call that a tool's turn answers."),
            column("extra", TEXT, "JSON object: unknown keys, and values that fit no column."),
            _SEGMENT,
        ]
    ),
    "completion_id",
    "messages",
)

LOGPROBS = Table(
    "logprobs",
    "One row per token of a choice that came with log probabilities; empty unless destinations.logprobs is on.",
    pa.schema(
        [
            *_PARENT,
            column("choice_index", INTEGER, "choices.index of the choice; its position where it has none."),
            column("part", TEXT, "content or refusal.", required=True),
            column("index", INTEGER, "Position of the token, from 0.", required=True),
            column("token", TEXT, "The token."),
            column("logprob", NUMBER, "Its log probability."),
            column("bytes", TEXT, "JSON array: its UTF-8 bytes."),
            column("top_logprobs", TEXT, "JSON array: the likeliest tokens at this place."),
            _SEGMENT,
        ]
    ),
    "completion_id",
)

METADATA_HISTORY = Table(
    "metadata_history",
    "One row per version of a completion: which metadata it had, and from when to when.",
    pa.schema(
        [
            *_PARENT,
            column("valid_from", TIMESTAMP, "When this version was received.", required=True),
            column("valid_to", TIMESTAMP, "When the next version was received, or it was found gone; NULL is today's."),
            column("metadata", MAP, "The metadata of this version."),
            column("content_hash", TEXT, "SHA-256 of the stored bytes of this version, in hex.", required=True),
            _SEGMENT,
        ]
    ),
    "segment",
    "segment",
)

REJECTS = Table(
    "rejects",
    "One row per value that could not be flattened; the completion itself is in the archive, whole.",
    pa.schema(
        [
            *_PARENT,
            column("path", TEXT, "Where in the completion, such as choices[0].message.content.", required=True),
            column("reason", TEXT, "Why, without the value.", required=True),
            _SEGMENT,
        ]
    ),
    "completion_id",
)

RUNS = Table(
    "runs",
    "One row per run and source: what it did and found.",
    pa.schema(
        [
            _SOURCE,
            column("run_id", TEXT, "One id for all sources of a run.", required=True),
            column("started_at", TIMESTAMP, "When the run began with this source.", required=True),
            column("ended_at", TIMESTAMP, "When the walk of this source ended.", required=True),
            column("created_date", pa.date32(), "UTC date of started_at.", required=True),
            column("data_through", TIMESTAMP, "Every completion created up to here that was visible has been read."),
            column("complete", pa.bool_(), "Whether nothing up to data_through is in doubt.", required=True),
            column("why_not", TEXT, "What is in doubt, or why the walk stopped early."),
            column("new", INTEGER, "Completions not held before.", required=True),
            column("changed", INTEGER, "New versions of completions held.", required=True),
            column("skipped", INTEGER, "Completions received again, unchanged.", required=True),
            column("largest_lateness", INTEGER, "Seconds that the latest late row was late, at least."),
            column("forgotten", INTEGER, "Completions listed that are not taken in again: they were forgotten."),
            column("messages", INTEGER, "Completions whose input messages were fetched."),
            column(
                "messages_waiting", INTEGER, "Completions whose input messages a later run fetches; NULL: not asked."
            ),
            column("gone", INTEGER, "Completions found gone by a sweep."),
            column("missed", INTEGER, "Completions that a sweep missed, not yet asked for one by one."),
            column("swept_through", TIMESTAMP, "How far the latest sweep has read; NULL before the first."),
            column("oldest_listed", TIMESTAMP, "created of the oldest completion that the source still lists."),
            column("horizon", INTEGER, "Seconds back that the source still lists: the age of the oldest listed."),
            column("is_horizon_known", pa.bool_(), "Whether older ones are held, so that horizon is no mere minimum."),
            column("safety", INTEGER, "Seconds that the next run may be late before something unseen could expire."),
            column("lost_from", TIMESTAMP, "What was created after this and before lost_to may have expired unseen."),
            column("lost_to", TIMESTAMP, "See lost_from."),
            column("pages", INTEGER, "Pages received.", required=True),
            column("retries", INTEGER, "Requests that were tried again.", required=True),
            column("bytes", INTEGER, "Bytes of pages received, decompressed.", required=True),
            column("findings", TEXT, "JSON array of facts worth the operator's eye.", required=True),
            column("version", TEXT, "Version of this program.", required=True),
            _SEGMENT,
        ]
    ),
    "segment",
    "segment",
)

COVERAGE = Table(
    "coverage",
    "One row per span of created that was read: the proof of what is complete.",
    pa.schema(
        [
            _SOURCE,
            column("start_unix", INTEGER, "Begins after this second; NULL is the beginning of the list."),
            column("end_unix", INTEGER, "Ends with this second.", required=True),
            column("asked_at", TIMESTAMP, "Server time at which it was read.", required=True),
            column("created_date", pa.date32(), "UTC date of asked_at.", required=True),
            column(
                "possibly_incomplete", pa.list_(INTEGER), "Seconds that could not be shown complete.", required=True
            ),
            column("sweep", INTEGER, "Number of the sweep that read it; NULL is a run's own walk."),
            _SEGMENT,
        ]
    ),
    "segment",
    "segment",
)

_BUCKET = (
    _SOURCE,
    column("created", TIMESTAMP, "First moment of the UTC day.", required=True),
    column("created_date", pa.date32(), "The UTC day.", required=True),
    column("index", INTEGER, "Position in the day, from 0; NULL in the one row of a day on which there was nothing."),
    column("project_id", TEXT, "The project; NULL where the answer is not split by it."),
    column("api_key_id", TEXT, "Id of the API key; NULL where the answer is not split by it."),
    column("user_id", TEXT, "Id of the user; NULL where the answer is not split by it."),
)
_FETCHED = (
    column("extra", TEXT, "JSON object: keys this version does not know, and values that fit no column."),
    column("fetched_at", TIMESTAMP, "When this program received the day.", required=True),
    _SEGMENT,
)


def _counter(name: str, meaning: str) -> pa.Field:
    return column(name, INTEGER, f"{meaning}; NULL where not told.")


ORGANIZATION_USAGE = Table(
    "organization_usage",
    "What the organization's Usage API says of completions: one row per UTC day, model, tier and batch.",
    pa.schema(
        [
            *_BUCKET,
            column("model", TEXT, "The model, as a full snapshot name."),
            column("service_tier", TEXT, "The tier that was served."),
            column("batch", pa.bool_(), "Whether the requests came through the Batch API."),
            _counter("num_model_requests", "Requests, stored or not"),
            _counter("input_tokens", "All input tokens, cached ones too"),
            _counter("output_tokens", "All output tokens"),
            _counter("input_cached_tokens", "Input tokens read from the cache"),
            _counter("input_uncached_tokens", "Input tokens not read from it"),
            _counter("input_cache_write_tokens", "Input tokens written to the cache"),
            _counter("input_text_tokens", "Text input tokens"),
            _counter("input_cached_text_tokens", "Text input tokens read from the cache"),
            _counter("input_audio_tokens", "Audio input tokens"),
            _counter("input_cached_audio_tokens", "Audio input tokens read from the cache"),
            _counter("input_image_tokens", "Image input tokens"),
            _counter("input_cached_image_tokens", "Image input tokens read from the cache"),
            _counter("output_text_tokens", "Text output tokens"),
            _counter("output_audio_tokens", "Audio output tokens"),
            _counter("output_image_tokens", "Image output tokens"),
            *_FETCHED,
        ]
    ),
    "created",
    "day",
)

ORGANIZATION_COSTS = Table(
    "organization_costs",
    "What the organization's Costs API says was billed: one row per UTC day and line item.",
    pa.schema(
        [
            *_BUCKET,
            column("line_item", TEXT, "What was billed, such as a model and its input tokens."),
            column("amount", DECIMAL, "amount.value: what it cost, rounded to 15 places."),
            column("currency", TEXT, "amount.currency: usd."),
            column("quantity", DECIMAL, "How much of it."),
            column("quantity_unit", TEXT, "Of what: tokens, 1000_tokens and others."),
            *_FETCHED,
        ]
    ),
    "created",
    "day",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        COMPLETIONS,
        CHOICES,
        TOOL_CALLS,
        MESSAGES,
        LOGPROBS,
        METADATA_HISTORY,
        REJECTS,
        RUNS,
        COVERAGE,
        ORGANIZATION_USAGE,
        ORGANIZATION_COSTS,
    )
}

#: The kinds of rows in a segment. Of one segment, the first two come before the others.
KINDS = ("completion", "messages", "gone", "missed", "found", "coverage", "run", "usage", "costs")
#: Those that say something of a completion, by its id: forgetting one touches no other row.
ABOUT_COMPLETIONS = KINDS[:5]

SEGMENT = pa.schema(
    [
        column("kind", TEXT, f"One of {', '.join(KINDS)}.", required=True),
        column(
            "id",
            TEXT,
            "Completion id; run id for a run; UTC day for usage and costs; empty for coverage.",
            required=True,
        ),
        column("created", INTEGER, "Unix seconds; NULL where the API sent none that is usable."),
        column("fetched_at", TIMESTAMP, "When it was received.", required=True),
        column("first_seen", TIMESTAMP, "When the first version of it was received.", required=True),
        column("is_version", pa.bool_(), "Whether an earlier version was held.", required=True),
        column("previous_created", INTEGER, "created of the version before, where there is one."),
        column("content_hash", pa.binary(32), "SHA-256 of body.", required=True),
        column("has_messages", pa.bool_(), "Whether body carries the input messages inline.", required=True),
        column("blobs", pa.list_(pa.binary(32)), "SHA-256 of what body refers to as blob:, in order.", required=True),
        column(
            "body", pa.binary(), "JSON as stored: as received, less what the content policy withholds.", required=True
        ),
    ]
)


def digest(*, logprobs: bool = False) -> str:
    """Name the layout of all tables: a destination made with another one is rebuilt from the archive."""
    text = "\n".join(f"{table.name}:{table.columns.to_string(show_field_metadata=False)}" for table in TABLES.values())
    return hashlib.sha256(f"{text}{logprobs or ''}".encode()).hexdigest()[:16]
