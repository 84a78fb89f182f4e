-- Cached share
-- Which part of the prompt tokens was read from the cache, by UTC day and model, where the completion tells it.
-- $days (90): how many days, back from the latest one
WITH latest AS (
    SELECT max(created_date) AS day FROM completions
)
SELECT created_date AS day, coalesce(model, '(none)') AS model, count(*) AS requests,
    count(prompt_cached_tokens) AS requests_that_tell,
    sum(prompt_tokens) FILTER (prompt_cached_tokens IS NOT NULL)::BIGINT AS prompt_tokens,
    sum(prompt_cached_tokens)::BIGINT AS cached_tokens,
    round(sum(prompt_cached_tokens) / nullif(sum(prompt_tokens) FILTER (prompt_cached_tokens IS NOT NULL), 0), 4) AS cached_share
FROM completions
WHERE created_date > (SELECT day FROM latest) - $days::INTEGER
GROUP BY day, coalesce(model, '(none)')
ORDER BY day, model
