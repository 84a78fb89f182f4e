-- Most expensive completions
-- The completions that cost most, with their tokens and what the cost rests on.
-- $rows (20): how many
SELECT source, completion_id, created, model, service_tier, prompt_tokens, completion_tokens, cost_min, cost, basis
FROM cost_by_completion
WHERE cost IS NOT NULL
ORDER BY cost DESC, created DESC, completion_id
LIMIT $rows::BIGINT
