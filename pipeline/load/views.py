"""The warehouse's views; they are made anew whenever the writer opens the file, so they need no version."""

#: Sums are NULL where no row tells the counter, never 0.
_USAGE = """
    count(*) AS requests,
    count(*) FILTER (total_tokens IS NULL) AS requests_without_usage,
    sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens,
    sum(total_tokens) AS total_tokens,
    sum(prompt_cached_tokens) AS prompt_cached_tokens,
    sum(completion_reasoning_tokens) AS completion_reasoning_tokens
FROM completions
"""

#: By view: what it shows, and its query.
VIEWS: dict[str, tuple[str, str]] = {
    "usage_daily": (
        "Requests and tokens by UTC day, source and model.",
        f"SELECT created_date AS day, source, model, {_USAGE} GROUP BY created_date, source, model",
    ),
    "usage_by_model": (
        "Requests and tokens by source and model.",
        f"SELECT source, model, min(created) AS first, max(created) AS last, {_USAGE} GROUP BY source, model",
    ),
    "freshness": (
        "One row per source: up to when everything is here, what the latest run says about it, and the latest loss.",
        """
        SELECT source, data_through, complete, why_not, started_at, ended_at, run_id, oldest_listed, horizon,
            is_horizon_known, safety, last_value(lost_from IGNORE NULLS) OVER so_far AS lost_from,
            last_value(lost_to IGNORE NULLS) OVER so_far AS lost_to, messages_waiting, missed, swept_through
        FROM runs
        WINDOW so_far AS (PARTITION BY source ORDER BY segment, ended_at)
        QUALIFY row_number() OVER (PARTITION BY source ORDER BY segment DESC, ended_at DESC) = 1
        """,
    ),
    "conversations": (
        "One row per turn of a completion: the input messages, then the answers, in their order.",
        """
        WITH inputs AS (
            SELECT source, completion_id, count(*) AS sent FROM messages GROUP BY source, completion_id
        ), answers AS (
            SELECT *, row_number() OVER (PARTITION BY source, completion_id ORDER BY "index") - 1 AS place
            FROM choices
        ), calls AS (
            SELECT source, completion_id, choice_index, to_json(list({
                'id': id, 'type': type, 'name': name, 'arguments': arguments, 'input': input
            } ORDER BY "index"))::VARCHAR AS tool_calls
            FROM tool_calls GROUP BY source, completion_id, choice_index
        ), turns AS (
            SELECT source, completion_id, created, created_date, "index" AS position, 'input' AS direction,
                NULL::BIGINT AS choice_index, role, content, content_parts, tool_calls
            FROM messages
            UNION ALL
            SELECT source, completion_id, created, created_date, coalesce(sent, 0) + place AS position,
                'answer' AS direction, "index" AS choice_index, role, content, NULL AS content_parts, tool_calls
            FROM (SELECT *, coalesce("index", place) AS choice_index FROM answers) AS answers
            LEFT JOIN inputs USING (source, completion_id)
            LEFT JOIN calls USING (source, completion_id, choice_index)
        )
        SELECT turns.*, completions.gone_at
        FROM turns LEFT JOIN completions ON completions.source = turns.source AND completions.id = turns.completion_id
        """,
    ),
}
