-- Tokens and cost over time
-- What was used and what it cost by UTC day and model; the true cost lies between cost_min and cost.
-- $days (90): how many days, back from the latest one
WITH latest AS (
    SELECT max(day) AS day FROM usage_daily
), used AS (
    SELECT day, coalesce(model, '(none)') AS model, sum(requests)::BIGINT AS requests,
        sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
        sum(total_tokens)::BIGINT AS total_tokens
    FROM usage_daily
    GROUP BY ALL
), spent AS (
    SELECT day, coalesce(model, '(none)') AS model, round(sum(cost_min), 6) AS cost_min, round(sum(cost), 6) AS cost
    FROM cost_daily
    GROUP BY ALL
)
SELECT used.*, spent.cost_min, spent.cost
FROM used LEFT JOIN spent USING (day, model)
WHERE used.day > (SELECT day FROM latest) - $days::INTEGER
ORDER BY day, total_tokens DESC, model
