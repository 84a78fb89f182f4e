-- Tool-call success
-- By tool: how many calls have arguments that are valid JSON, and how many were answered in a later prompt.
WITH answers AS (
    SELECT DISTINCT source, tool_call_id AS id FROM messages WHERE tool_call_id IS NOT NULL
)
SELECT coalesce(name, '(none)') AS tool, count(*) AS calls,
    count(*) FILTER (json_valid(arguments)) AS valid_json,
    count(*) FILTER (NOT json_valid(arguments)) AS invalid_json,
    count(*) FILTER (arguments IS NULL) AS without_arguments,
    round(valid_json / nullif(valid_json + invalid_json, 0), 4) AS valid_share,
    count(answers.id) AS answered
FROM tool_calls LEFT JOIN answers USING (source, id)
GROUP BY ALL
ORDER BY calls DESC, tool
