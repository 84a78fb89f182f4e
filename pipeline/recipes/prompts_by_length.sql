-- Prompts by length
-- How many completions had a prompt of how many tokens, in steps that double, and what such a prompt brought forth.
SELECT CASE WHEN prompt_tokens < 1 THEN 0 ELSE 2 ** floor(log2(prompt_tokens)) END::BIGINT AS prompt_tokens_from,
    greatest(2 * prompt_tokens_from - 1, 0) AS prompt_tokens_to, count(*) AS requests,
    round(count(*) / sum(count(*)) OVER (), 4) AS share_of_requests,
    round(avg(completion_tokens), 1) AS mean_completion_tokens
FROM completions
WHERE prompt_tokens IS NOT NULL
GROUP BY prompt_tokens_from
ORDER BY prompt_tokens_from
