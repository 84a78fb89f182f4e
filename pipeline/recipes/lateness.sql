-- Lateness of arrival
-- How long after it was created a completion was first seen: what a nightly run finds is up to a day old.
WITH steps (step, from_hours, lateness) AS (
    VALUES (1, 0, 'up to 1 hour'), (2, 1, '1 to 6 hours'), (3, 6, '6 to 24 hours'), (4, 24, '1 to 2 days'),
        (5, 48, '2 to 7 days'), (6, 168, '7 to 30 days'), (7, 720, 'over 30 days')
), seen AS (
    SELECT source, greatest(date_diff('second', created, first_seen) / 3600, 0) AS hours
    FROM completions
    WHERE created IS NOT NULL AND origin = 'api'
), counted AS (
    SELECT source, step, lateness, count(*) AS completions, round(max(hours), 1) AS largest_hours
    FROM seen ASOF JOIN steps ON hours >= from_hours
    GROUP BY ALL
)
SELECT *, round(completions / sum(completions) OVER (PARTITION BY source), 4) AS share_of_source
FROM counted
ORDER BY source, step
