-- Tokens and cost by metadata key
-- What the completions with each value of one metadata key used and cost; those without the key are (none).
-- $key (optional): the metadata key; without it, the one that most completions have
-- $rows (20): how many values, the dearest first
WITH chosen AS (
    SELECT coalesce($key::VARCHAR, (
        SELECT key FROM (SELECT unnest(map_keys(metadata)) AS key FROM completions)
        GROUP BY key ORDER BY count(*) DESC, key LIMIT 1
    )) AS key
)
SELECT key, value, sum(requests)::BIGINT AS requests, sum(prompt_tokens)::BIGINT AS prompt_tokens,
    sum(completion_tokens)::BIGINT AS completion_tokens, round(sum(cost_min), 6) AS cost_min,
    round(sum(cost), 6) AS cost, sum(unpriced_requests)::BIGINT AS unpriced_requests
FROM cost_by_metadata JOIN chosen USING (key)
GROUP BY key, value, is_tagged
ORDER BY cost DESC NULLS LAST, requests DESC, value
LIMIT $rows::BIGINT
