-- Finish reasons
-- How the choices of each model ended: stop is a whole answer, length one that was cut off.
WITH ended AS (
    SELECT coalesce(model, '(none)') AS model, coalesce(finish_reason, '(none)') AS finish_reason, count(*) AS choices
    FROM choices JOIN completions ON completions.source = choices.source AND completions.id = choices.completion_id
    GROUP BY ALL
)
SELECT *, round(choices / sum(choices) OVER (PARTITION BY model), 4) AS share_of_model
FROM ended
ORDER BY model, choices DESC, finish_reason
