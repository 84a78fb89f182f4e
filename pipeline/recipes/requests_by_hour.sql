-- Requests by hour
-- When people ask: requests and tokens by day of the week and hour.
-- $tz (UTC): whose hours, such as Europe/Berlin
SELECT isodow(created AT TIME ZONE $tz) AS weekday, dayname(created AT TIME ZONE $tz) AS name,
    hour(created AT TIME ZONE $tz) AS hour, count(*) AS requests, sum(total_tokens)::BIGINT AS total_tokens
FROM completions
WHERE created IS NOT NULL
GROUP BY ALL
ORDER BY weekday, hour
