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
        "One row per source: up to when everything is here, and what the latest run says about it.",
        """
        SELECT source, data_through, complete, why_not, started_at, ended_at, run_id
        FROM runs
        QUALIFY row_number() OVER (PARTITION BY source ORDER BY segment DESC, ended_at DESC) = 1
        """,
    ),
}
